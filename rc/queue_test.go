package rc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
)

// Many readers of one node share pipelines. Some of them leave: while they
// wait for their turn, while they send for the others, when their answer is on
// its way. Each gets its own value or its own error.
func TestReadsThatGather(t *testing.T) {
	t.Parallel()
	for _, l1 := range []int{100, rc.Off} {
		t.Run(fmt.Sprintf("L1Size %d", l1), func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m := open(t, srv, calm())
			s := service(t, m, rc.Config[string]{L1Size: l1})
			const keys = 1000
			for i := range keys {
				set(t, s, fmt.Sprint(i), "v"+fmt.Sprint(i))
			}
			var left, answered atomic.Int32
			var wg sync.WaitGroup
			for g := range 64 {
				wg.Go(func() {
					for range 100 {
						ctx, cancel := context.WithCancel(t.Context())
						leaves := g%4 == 0
						if leaves {
							go cancel()
						}
						id := fmt.Sprint(rand.IntN(keys))
						v, found, err := s.Get(ctx, id)
						switch {
						case leaves && errors.Is(err, context.Canceled):
							left.Add(1)
						case err != nil || !found || v != "v"+id:
							t.Errorf("Get(%s) = %q, %v, %v", id, v, found, err)
						default:
							answered.Add(1)
						}
						cancel()
					}
				})
			}
			wg.Wait()
			if left.Load() == 0 || answered.Load() < 4800 {
				t.Errorf("%d readers left, %d were answered: the test is not about that", left.Load(), answered.Load())
			}
			if n := m.Stats().L1Entries; n > 300 {
				t.Errorf("%d entries held by an L1 of 100 at most", n)
			}
		})
	}
}

// After many misses in a row a key is claimed before it is looked for: one
// round trip less. A value that is there all the same is found.
func TestClaimFirstAfterManyMisses(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), rc.Config[string]{})
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	var n atomic.Int32
	load := func(id string) {
		t.Helper()
		before := n.Load()
		if v, err := a.GetOrSet(t.Context(), id, gives("v", &n)); v != "v" || err != nil || n.Load() != before+1 {
			t.Fatalf("GetOrSet(%s) = %q, %v with %d loads", id, v, err, n.Load()-before)
		}
	}
	load("one that learns the namespace's token")
	srv.ResetCommands()
	load("first")
	if c := srv.Commands(); c["PTTL"] != 1 || c["EVALSHA"]+c["EVAL"] < 2 {
		t.Errorf("the first miss sent %v, want a read, a claim and a fill", c)
	}
	for i := range 50 {
		load(fmt.Sprint(i))
	}
	set(t, b, "there", "x")
	srv.ResetCommands()
	load("last")
	if c := srv.Commands(); c["PTTL"] != 0 || c["EVALSHA"] != 2 {
		t.Errorf("a miss among misses sent %v, want no read but a claim and a fill", c)
	}
	if v, err := a.GetOrSet(t.Context(), "there", never(t)); v != "x" || err != nil {
		t.Errorf("GetOrSet of a value that is there = %q, %v", v, err)
	}
	if st := a.Stats(); st.Misses != 53 || st.L2Hits != 1 {
		t.Errorf("Misses = %d, L2Hits = %d, want 53 and 1", st.Misses, st.L2Hits)
	}
}

package rc_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// After a write has returned nil, a reader of the same Manager finds nothing
// older, though the announcement of that write has not arrived yet. Set does
// not return before it has: its own tracked read comes behind.
func TestReadYourWritesBeforeThePush(t *testing.T) {
	t.Parallel()
	for _, v := range verbs[2:] {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m, l := linked(t, srv, quiet())
			a := service(t, m, rc.Config[string]{})
			set(t, a, "k", "old")
			inMemory(t, srv, a, "old")
			held := l.hold()
			if err := v.do(t.Context(), a, "k"); err != nil {
				t.Fatal(err)
			}
			gets := srv.Commands()["GET"]
			read := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
			event(t, held, "the push")
			// The answer of Redis to the read is behind the push: one that comes
			// before is from memory.
			until(t, "the read to ask Redis, or to end", func() bool {
				select {
				case <-read.done:
					return true
				default:
					return srv.Commands()["GET"] > gets
				}
			})
			l.release()
			read.want(t, v.after)
		})
	}
}

// source is what the cache caches: a number that grows.
type source struct{ n atomic.Int64 }

func (s *source) load(context.Context) (int64, error) { return s.n.Load(), nil }

// One writer, many readers of the same and of another instance. A reader of
// the same instance never finds a version older than the newest write that
// had returned before the read began.
func TestReadYourWritesUnderLoad(t *testing.T) {
	t.Parallel()
	type writer struct {
		name string
		do   func(ctx context.Context, s *rc.CacheService[int64], n int64) error
	}
	for _, w := range []writer{
		{"Set", func(ctx context.Context, s *rc.CacheService[int64], n int64) error { return s.Set(ctx, "k", n) }},
		{"SetMany", func(ctx context.Context, s *rc.CacheService[int64], n int64) error {
			return s.SetMany(ctx, map[string]int64{"k": n, "l": n})
		}},
		{"Delete", func(ctx context.Context, s *rc.CacheService[int64], _ int64) error { return s.Delete(ctx, "k") }},
		{"DeleteMany", func(ctx context.Context, s *rc.CacheService[int64], _ int64) error {
			return s.DeleteMany(ctx, []string{"l", "k"})
		}},
		{"Expire", func(ctx context.Context, s *rc.CacheService[int64], _ int64) error { return s.Expire(ctx, "k") }},
	} {
		for _, l1 := range []int{0, rc.Off} {
			t.Run(w.name+map[int]string{0: "", rc.Off: "WithoutL1"}[l1], func(t *testing.T) {
				srv := start(t)
				cfg := rc.Config[int64]{L1Size: l1, StaleFor: time.Hour, LeaseTTL: 50 * time.Millisecond}
				a := service(t, open(t, srv, calm()), cfg)
				b := service(t, open(t, srv, calm()), cfg)
				hammer(t, a, b, w.do)
			})
		}
	}
}

func hammer(t *testing.T, a, b *rc.CacheService[int64], write func(context.Context, *rc.CacheService[int64], int64) error) {
	t.Helper()
	const writes = 60
	var src source
	var acked atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	read := func(s *rc.CacheService[int64], i int) (int64, error) {
		if i%3 == 2 {
			m, err := s.GetOrSetMany(t.Context(), []string{"k", "m" + strconv.Itoa(i%5)}, func(ctx context.Context, ids []string) (map[string]int64, error) {
				n := src.n.Load()
				out := map[string]int64{}
				for _, id := range ids {
					out[id] = n
				}
				return out, nil
			})
			return m["k"], err
		}
		return s.GetOrSet(t.Context(), "k", src.load)
	}
	for i := range 6 {
		wg.Go(func() {
			for n := i; !done.Load(); n++ {
				s, floor := a, acked.Load()
				if i >= 4 {
					s, floor = b, 0
				}
				if got, err := read(s, n); err != nil || got < floor {
					t.Errorf("reader %d found %d, %v, but %d was written before it began", i, got, err, floor)
					return
				}
			}
		})
	}
	for n := int64(1); n <= writes && !t.Failed(); n++ {
		src.n.Store(n)
		if err := write(t.Context(), a, n); err != nil {
			t.Errorf("write = %v", err)
		}
		acked.Store(n)
		if got, err := read(a, int(n)); got < n || err != nil {
			t.Errorf("the writer found %d, %v behind its write of %d", got, err, n)
		}
	}
	done.Store(true)
	wg.Wait()
	until(t, "the other instance to see the last write", func() bool {
		got, err := b.GetOrSet(t.Context(), "k", src.load)
		return err == nil && got == writes
	})
}

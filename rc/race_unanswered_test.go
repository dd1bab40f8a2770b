package rc_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// A claim whose answer is lost, and one whose value Redis did not take, are
// given back: others need not wait for the end of a lease that nobody loads
// under. Each was made with a call for one identifier, and with a batch.
func TestRaceUnansweredClaimIsGivenBack(t *testing.T) {
	t.Parallel()
	const oom = "OOM command not allowed when used memory > 'maxmemory'."
	for name, ids := range map[string][]string{"Single": {"k"}, "Many": {"k", "l"}} {
		for _, lost := range []string{"Claim", "Fill"} {
			t.Run(name+lost, func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				opts := quiet() // whether the node is up is not for beats to say
				opts.OpTimeout = 2 * time.Second
				cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour}
				ma, a := instance(t, srv, opts, cfg)
				_, b := instance(t, srv, calm(), cfg)
				warm(t, a)
				release := func() {}
				if lost == "Claim" {
					_, release = srv.Hold("EVALSHA")
					defer release()
				}
				load := func(context.Context) (string, error) {
					if lost == "Fill" {
						srv.FailNext("EVALSHA", oom, len(ids))
					}
					return "unstored", nil
				}
				f := async(func() (string, error) {
					if name == "Single" {
						return a.GetOrSet(t.Context(), "k", load)
					}
					got, err := a.GetOrSetMany(t.Context(), ids, func(ctx context.Context, missing []string) (map[string]string, error) {
						v, err := load(ctx)
						out := map[string]string{}
						for _, id := range missing {
							out[id] = v
						}
						return out, err
					})
					return got["k"], err
				})
				f.want(t, "unstored")
				release()
				for _, id := range ids {
					f := async(func() (string, error) { return b.GetOrSet(t.Context(), id, gives("stored", new(atomic.Int32))) })
					f.want(t, "stored")
				}
				st := ma.Stats()
				if got, want := st.DegradedLoads, map[string]uint64{"Claim": 1}[lost]; got != want {
					t.Errorf("DegradedLoads = %d, want %d", got, want)
				}
				if got, want := st.FillsFailed, map[string]uint64{"Fill": uint64(len(ids))}[lost]; got != want {
					t.Errorf("FillsFailed = %d, want %d", got, want)
				}
			})
		}
	}
}

// A batch of which a part is loaded without the right to store counts as such.
func TestManyPartlyDegraded(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{})
	warm(t, s)
	fills := m.Stats().Fills
	srv.FailNext("EVALSHA", "ERR once", 1)
	got, _, err := batch(t, s, []string{"k", "l"}, map[string]string{"k": "1", "l": "2"}, nil)
	if len(got) != 2 || err != nil {
		t.Fatalf("GetOrSetMany = %v, %v", got, err)
	}
	if st := m.Stats(); st.DegradedLoads != 1 || st.Fills != fills+1 {
		t.Errorf("DegradedLoads = %d, Fills = %d, want 1, %d", st.DegradedLoads, st.Fills, fills+1)
	}
}

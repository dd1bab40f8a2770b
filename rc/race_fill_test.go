package rc_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// verb is a write, with the value that is cached after it.
type verb struct {
	name  string
	after string
	do    func(ctx context.Context, s *rc.CacheService[string], id string) error
}

var verbs = []verb{
	{"Set", "new", func(ctx context.Context, s *rc.CacheService[string], id string) error { return s.Set(ctx, id, "new") }},
	{"SetMany", "new", func(ctx context.Context, s *rc.CacheService[string], id string) error {
		return s.SetMany(ctx, map[string]string{id: "new", "other": "x"})
	}},
	{"Delete", "", func(ctx context.Context, s *rc.CacheService[string], id string) error { return s.Delete(ctx, id) }},
	{"DeleteMany", "", func(ctx context.Context, s *rc.CacheService[string], id string) error {
		return s.DeleteMany(ctx, []string{"other", id})
	}},
	{"Expire", "", func(ctx context.Context, s *rc.CacheService[string], id string) error { return s.Expire(ctx, id) }},
}

// eachWrite runs a test for each verb, through the Manager that loads and
// through another one.
func eachWrite(t *testing.T, test func(t *testing.T, v verb, through int)) {
	for _, v := range verbs {
		for i, who := range []string{"same", "another"} {
			t.Run(v.name+"ThroughThe"+who, func(t *testing.T) {
				t.Parallel()
				test(t, v, i)
			})
		}
	}
}

// notStored checks that a load that began before a write left nothing behind:
// each instance finds what the write left, or loads anew.
func notStored(t *testing.T, v verb, services ...*rc.CacheService[string]) {
	t.Helper()
	for _, s := range services {
		cached(t, s, "k", v.after)
	}
	if v.after == "" {
		fill(t, services[0], "k", "new")
	}
	for _, s := range services {
		if got, err := s.GetOrSet(t.Context(), "k", never(t)); got != "new" || err != nil {
			t.Errorf("GetOrSet after the write = %q, %v, want %q", got, err, "new")
		}
	}
}

// A loads and has read "old"; W writes; A's loader returns. Those who waited
// get "old", and it is stored nowhere.
func TestRaceStaleFill(t *testing.T) {
	t.Parallel()
	eachWrite(t, func(t *testing.T, v verb, through int) {
		srv := start(t)
		m, a := instance(t, srv, calm(), rc.Config[string]{})
		_, b := instance(t, srv, calm(), rc.Config[string]{})
		old := newLoader()
		lead := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", old.load) })
		old.begin(t)
		ctx, in := joined(t.Context())
		follow := async(func() (string, error) { return a.GetOrSet(ctx, "k", never(t)) })
		event(t, in, "the follower to join")
		if err := v.do(t.Context(), []*rc.CacheService[string]{a, b}[through], "k"); err != nil {
			t.Fatalf("%s = %v", v.name, err)
		}
		old.finish("old", nil)
		lead.want(t, "old")
		follow.want(t, "old")
		notStored(t, v, a, b)
		if st := m.Stats(); st.FillsVoided+st.LeasesLost == 0 {
			t.Errorf("FillsVoided = %d, LeasesLost = %d, want the load to have learned of the write", st.FillsVoided, st.LeasesLost)
		}
	})
}

// The same for a load in the background, of a value that is due or stale.
func TestRaceStaleRefresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  rc.Config[string]
	}{
		{"Early", rc.Config[string]{TTL: time.Hour, EarlyFraction: 0.5}},
		{"Stale", rc.Config[string]{TTL: 30 * time.Minute, StaleFor: time.Hour}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			eachWrite(t, func(t *testing.T, v verb, through int) {
				srv := start(t)
				opts := calm()
				opts.MaxStaleness = 10 * time.Hour
				m, a := instance(t, srv, opts, c.cfg)
				_, b := instance(t, srv, opts, c.cfg)
				set(t, a, "k", "first")
				srv.FastForward(40 * time.Minute)
				old := newLoader()
				if got, err := a.GetOrSet(t.Context(), "k", old.load); got != "first" || err != nil {
					t.Fatalf("GetOrSet of a value that is due = %q, %v, want %q", got, err, "first")
				}
				old.begin(t)
				if err := v.do(t.Context(), []*rc.CacheService[string]{a, b}[through], "k"); err != nil {
					t.Fatalf("%s = %v", v.name, err)
				}
				old.finish("old", nil)
				until(t, "the refresh to end", func() bool { return m.Stats().Refreshes == 1 })
				if st := m.Stats(); st.FillsVoided != 1 || st.RefreshErrors != 0 {
					t.Errorf("FillsVoided = %d, RefreshErrors = %d, want 1, 0", st.FillsVoided, st.RefreshErrors)
				}
				if v.name == "Expire" && c.cfg.StaleFor > 0 {
					// Kept for failures only: the next reader loads.
					fill(t, a, "k", "new")
					cached(t, b, "k", "new")
					return
				}
				notStored(t, v, a, b)
			})
		})
	}
}

// The same for a batch: one of its identifiers is written while they load.
func TestRaceStaleFillMany(t *testing.T) {
	t.Parallel()
	eachWrite(t, func(t *testing.T, v verb, through int) {
		srv := start(t)
		m, a := instance(t, srv, calm(), rc.Config[string]{})
		_, b := instance(t, srv, calm(), rc.Config[string]{})
		old := newLoader()
		lead := async(func() (string, error) {
			got, err := a.GetOrSetMany(t.Context(), []string{"k", "l"}, func(ctx context.Context, ids []string) (map[string]string, error) {
				s, err := old.load(ctx)
				return map[string]string{"k": s, "l": s}, err
			})
			return fmt.Sprint(got["k"], got["l"]), err
		})
		old.begin(t)
		if err := v.do(t.Context(), []*rc.CacheService[string]{a, b}[through], "k"); err != nil {
			t.Fatalf("%s = %v", v.name, err)
		}
		old.finish("old", nil)
		lead.want(t, "oldold")
		notStored(t, v, a, b)
		cached(t, a, "l", "old")
		cached(t, b, "l", "old")
		if st := m.Stats(); st.FillsVoided != 1 {
			t.Errorf("FillsVoided = %d, want 1", st.FillsVoided)
		}
	})
}

// A write lets go of a claim that another instance waits for: that one loads
// at once, and its value is the one that stays.
func TestRaceWaiterElsewhereLoadsAnew(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), rc.Config[string]{LeaseTTL: time.Minute, LockWait: time.Minute})
	mb, b := instance(t, srv, calm(), rc.Config[string]{LeaseTTL: time.Minute, LockWait: time.Minute})
	old, fresh := newLoader(), newLoader()
	lead := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", old.load) })
	old.begin(t)
	wait := async(func() (string, error) { return b.GetOrSet(t.Context(), "k", fresh.load) })
	until(t, "B to wait for A", func() bool { return mb.Stats().Waits == 1 })
	if err := b.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	fresh.begin(t)
	old.finish("old", nil)
	lead.want(t, "old")
	fresh.finish("new", nil)
	wait.want(t, "new")
	cached(t, a, "k", "new")
	cached(t, b, "k", "new")
}

// ABA: load 1 runs, Delete, the same process begins load 2 of the same key,
// load 1 returns first. Its value must not get in under the lease of load 2.
func TestRaceLeaseIdentifiesTheLoad(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, a := instance(t, srv, calm(), rc.Config[string]{})
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	one, two := newLoader(), newLoader()
	first := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", one.load) })
	one.begin(t)
	if err := a.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	second := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", two.load) })
	two.begin(t)
	one.finish("one", nil)
	first.want(t, "one")
	if n := do(t, srv, "EXISTS", key(t, a, "k")); n != int64(0) {
		t.Error("the value of the first load was stored under the lease of the second")
	}
	cached(t, b, "k", "")
	two.finish("two", nil)
	second.want(t, "two")
	cached(t, a, "k", "two")
	cached(t, b, "k", "two")
	if st := m.Stats(); st.FillsVoided != 1 || st.Fills != 1 {
		t.Errorf("FillsVoided = %d, Fills = %d, want 1, 1", st.FillsVoided, st.Fills)
	}
}

// Another instance writes while a load runs here. Readers that come after the
// news has arrived must not join that load.
func TestRaceLateReaderDoesNotJoin(t *testing.T) {
	t.Parallel()
	srv := start(t)
	ma, a := instance(t, srv, calm(), rc.Config[string]{LeaseTTL: time.Hour})
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	old, fresh := newLoader(), newLoader()
	lead := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", old.load) })
	old.begin(t)
	if err := b.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	until(t, "the news of the write", func() bool { return ma.Stats().LeasesLost == 1 })
	late := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", fresh.load) })
	fresh.begin(t)
	old.finish("old", nil)
	fresh.finish("new", nil)
	lead.want(t, "old")
	late.want(t, "new")
	cached(t, a, "k", "new")
	cached(t, b, "k", "new")
}

// One load for many callers in many instances, cold and when a value is due.
func TestRaceOneLoad(t *testing.T) {
	t.Parallel()
	srv := start(t)
	var services []*rc.CacheService[string]
	for range 3 {
		_, s := instance(t, srv, calm(), rc.Config[string]{LockWait: time.Minute, LeaseTTL: time.Minute})
		services = append(services, s)
	}
	var loads atomic.Int32
	gate := make(chan struct{})
	var calls []*future
	for i := range 60 {
		calls = append(calls, async(func() (string, error) {
			return services[i%3].GetOrSet(t.Context(), "k", func(context.Context) (string, error) {
				loads.Add(1)
				<-gate
				return "v", nil
			})
		}))
	}
	until(t, "two instances to wait for the third", func() bool {
		var waits uint64
		for _, s := range services {
			waits += s.Stats().Waits
		}
		return waits == 2
	})
	close(gate)
	for _, c := range calls {
		c.want(t, "v")
	}
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads, want 1", n)
	}
}

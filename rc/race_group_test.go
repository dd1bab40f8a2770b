package rc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// Two services of one Manager share their keys: a write through one is seen
// at once by the other, whose load in flight is neither stored nor joined.
func TestRaceTwoServicesOneNamespace(t *testing.T) {
	t.Parallel()
	for _, v := range verbs {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m := open(t, srv, calm())
			one, two := service(t, m, rc.Config[string]{}), service(t, m, rc.Config[string]{})
			set(t, one, "k", "first")
			cached(t, two, "k", "first")
			if err := one.Delete(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			cached(t, two, "k", "")

			old := newLoader()
			lead := async(func() (string, error) { return two.GetOrSet(t.Context(), "k", old.load) })
			old.begin(t)
			if err := v.do(t.Context(), one, "k"); err != nil {
				t.Fatal(err)
			}
			late := newLoader()
			f := async(func() (string, error) { return two.GetOrSet(t.Context(), "k", late.load) })
			if v.after == "" {
				late.begin(t)
				late.finish("new", nil)
			}
			f.want(t, "new")
			old.finish("old", nil)
			lead.want(t, "old")
			cached(t, one, "k", "new")
			cached(t, two, "k", "new")
		})
	}
}

// Managers in one process have nothing in common but the server.
func TestRaceTwoManagersOneProcess(t *testing.T) {
	t.Parallel()
	srv := start(t)
	ma, a := instance(t, srv, calm(), rc.Config[string]{})
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	set(t, a, "k", "v")
	cached(t, b, "k", "v")
	ma.Close()
	inMemory(t, srv, b, "v")
	if err := b.Delete(t.Context(), "k"); err != nil {
		t.Errorf("Delete after the other Manager was closed = %v", err)
	}
	if _, _, err := a.Get(t.Context(), "k"); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("Get of the closed one = %v, want ErrClosed", err)
	}
}

// Every method fails with ErrClosed after Close, also for what was in memory,
// and Close may be called again.
func TestRaceUseAfterClose(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, rc.Options{}, rc.Config[string]{})
	set(t, s, "k", "v")
	cached(t, s, "k", "v")
	for range 2 {
		if err := m.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	ctx := t.Context()
	load := func(context.Context) (string, error) { t.Error("the loader was called"); return "", nil }
	many := func(context.Context, []string) (map[string]string, error) {
		t.Error("the loader was called")
		return nil, nil
	}
	for name, call := range map[string]func() error{
		"Get":          func() error { _, _, err := s.Get(ctx, "k"); return err },
		"Lookup":       func() error { _, err := s.Lookup(ctx, "k"); return err },
		"Exists":       func() error { _, err := s.Exists(ctx, "k"); return err },
		"TTL":          func() error { _, _, err := s.TTL(ctx, "k"); return err },
		"GetOrSet":     func() error { _, err := s.GetOrSet(ctx, "k", load); return err },
		"GetOrSetCold": func() error { _, err := s.GetOrSet(ctx, "l", load); return err },
		"Refresh":      func() error { _, err := s.Refresh(ctx, "k", load); return err },
		"GetOrSetMany": func() error { _, err := s.GetOrSetMany(ctx, []string{"k"}, many); return err },
		"Set":          func() error { return s.Set(ctx, "k", "w") },
		"SetMany":      func() error { return s.SetMany(ctx, map[string]string{"k": "w"}) },
		"Delete":       func() error { return s.Delete(ctx, "k") },
		"DeleteMany":   func() error { return s.DeleteMany(ctx, []string{"k"}) },
		"Expire":       func() error { return s.Expire(ctx, "k") },
		"Ping":         func() error { return m.Ping(ctx) },
		"New":          func() error { _, err := rc.New(m, "more", rc.Config[string]{}); return err },
	} {
		if err := call(); !errors.Is(err, rc.ErrClosed) {
			t.Errorf("%s after Close = %v, want ErrClosed", name, err)
		}
	}
	if m.Available() {
		t.Error("Available after Close")
	}
}

// Close while loads run and others wait for another process: it returns, and
// they get an error.
func TestRaceCloseWithLoadsInFlight(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour, StaleFor: time.Hour}
	m, a := instance(t, srv, calm(), cfg)
	_, b := instance(t, srv, calm(), cfg)
	theirs := newLoader()
	other := async(func() (string, error) { return b.GetOrSet(t.Context(), "theirs", theirs.load) })
	theirs.begin(t)
	mine, gate := newLoader(), make(chan struct{})
	defer close(gate)
	deaf := make(chan struct{})
	calls := map[string]*future{
		"loading": async(func() (string, error) { return a.GetOrSet(t.Context(), "mine", mine.load) }),
		"loading without heed": async(func() (string, error) {
			return a.GetOrSet(t.Context(), "deaf", func(context.Context) (string, error) { close(deaf); <-gate; return "", nil })
		}),
		"waiting": async(func() (string, error) { return a.GetOrSet(t.Context(), "theirs", never(t)) }),
	}
	mine.begin(t)
	event(t, deaf, "the loader that does not heed its context")
	until(t, "the wait", func() bool { return m.Stats().Waits == 1 })
	closed := async(func() (string, error) { return "", m.Close() })
	closed.want(t, "")
	for name, f := range calls {
		if _, err := f.get(t); err == nil {
			t.Errorf("a call that was %s returned no error", name)
		} else if errors.Is(err, context.Canceled) {
			t.Errorf("a call that was %s got %v, though its own context has not ended", name, err)
		}
	}
	theirs.finish("v", nil)
	other.want(t, "v")
	fill(t, b, "mine", "v") // the claim was given back
}

// The same for a load without Redis, of which no push can tell that it is out
// of date.
func TestRaceTwoServicesDegraded(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	one, two := service(t, m, rc.Config[string]{}), service(t, m, rc.Config[string]{})
	srv.Refuse(true)
	refused(t, m)
	old, fresh := newLoader(), newLoader()
	lead := async(func() (string, error) { return two.GetOrSet(t.Context(), "k", old.load) })
	old.begin(t)
	srv.Refuse(false)
	back(t, m)
	until(t, "Delete to be delivered", func() bool { return one.Delete(t.Context(), "k") == nil })
	late := async(func() (string, error) { return two.GetOrSet(t.Context(), "k", fresh.load) })
	fresh.begin(t)
	fresh.finish("new", nil)
	late.want(t, "new")
	old.finish("old", nil)
	lead.want(t, "old")
	cached(t, two, "k", "new")
}

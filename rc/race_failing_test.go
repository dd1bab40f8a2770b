package rc_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// staleLog keeps why stale values were served.
type staleLog struct {
	rc.NopObserver
	mu      sync.Mutex // protects reasons
	reasons []rc.StaleReason
}

func (l *staleLog) Stale(_ context.Context, e rc.StaleEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reasons = append(l.reasons, e.Reason)
}

func (l *staleLog) last() rc.StaleReason {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.reasons) == 0 {
		return rc.NotStale
	}
	return l.reasons[len(l.reasons)-1]
}

// Many callers in three instances want a value whose source fails. The fleet
// tries once per ErrorBackoff, not each instance in turn, and nobody is given
// the cancellation of somebody else.
func TestRaceFailingLoaderUnderLoad(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{ErrorBackoff: time.Hour, LeaseTTL: time.Hour, LockWait: time.Hour}
	var services []*rc.CacheService[string]
	for range 3 {
		_, s := instance(t, srv, calm(), cfg)
		services = append(services, s)
	}
	var loads atomic.Int32
	var wg sync.WaitGroup
	for i := range 90 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			leaves := i%10 == 0
			if leaves {
				cancel()
			}
			for range 3 {
				_, err := services[i%3].GetOrSet(ctx, "k", fails(errBoom, &loads))
				switch {
				case leaves && errors.Is(err, context.Canceled):
				case errors.Is(err, context.Canceled) || err == nil:
					t.Errorf("GetOrSet = %v for a caller that stayed", err)
				case !errors.Is(err, errBoom) && !errors.Is(err, rc.ErrBackoff):
					t.Errorf("GetOrSet = %v, want the loader's error or ErrBackoff", err)
				}
			}
		})
	}
	wg.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads within one ErrorBackoff, want 1", n)
	}
	var be *rc.BackoffError
	_, err := services[0].GetOrSet(t.Context(), "k", fails(errBoom, &loads))
	if !errors.As(err, &be) || be.Text != "boom" || be.RetryAfter <= 0 || be.Key != key(t, services[0], "k") {
		t.Errorf("GetOrSet = %v, want a BackoffError that tells the key, the failure and the time", err)
	}
	srv.FastForward(2 * time.Hour)
	for _, s := range services {
		if _, err := s.GetOrSet(t.Context(), "k", fails(errBoom, &loads)); err == nil {
			t.Error("GetOrSet with a failing loader = nil")
		}
	}
	if n := loads.Load(); n != 2 {
		t.Errorf("%d loads after the backoff, want one more", n)
	}
	// Writes end the backoff.
	set(t, services[1], "k", "v")
	cached(t, services[0], "k", "v")
}

// The same with a stale value at hand: it is served, and counted.
func TestRaceFailingLoaderServesStale(t *testing.T) {
	t.Parallel()
	srv := start(t)
	log := &staleLog{}
	opts := calm()
	opts.Observer = log
	m, a := instance(t, srv, opts, rc.Config[string]{StaleFor: time.Hour, SoftTimeout: rc.Off, ErrorBackoff: time.Hour})
	set(t, a, "k", "old")
	srv.FastForward(2 * time.Minute)
	var loads atomic.Int32
	for i := range 5 {
		if v, err := a.GetOrSet(t.Context(), "k", fails(errBoom, &loads)); v != "old" || err != nil {
			t.Errorf("GetOrSet = %q, %v, want the stale %q", v, err, "old")
		}
		if st := m.Stats(); st.StaleServed != uint64(i+1) || log.last() != rc.StaleLoadFailed {
			t.Errorf("StaleServed = %d, reason %v, want %d, load failed", st.StaleServed, log.last(), i+1)
		}
	}
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads, want 1", n)
	}
	got, err := a.GetOrSetMany(t.Context(), []string{"k"}, func(context.Context, []string) (map[string]string, error) {
		return nil, errBoom
	})
	if got["k"] != "old" || err != nil {
		t.Errorf("GetOrSetMany = %v, %v, want the stale value", got, err)
	}
}

// A purged value is gone, also as a fallback, also in the memory of others.
func TestRacePurgeBeatsStaleIfError(t *testing.T) {
	t.Parallel()
	for _, v := range verbs[2:4] {
		for i, who := range []string{"same", "another"} {
			t.Run(v.name+"ThroughThe"+who, func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				cfg := rc.Config[string]{StaleFor: time.Hour, SoftTimeout: rc.Off, ErrorBackoff: rc.Off}
				_, a := instance(t, srv, calm(), cfg)
				_, b := instance(t, srv, calm(), cfg)
				set(t, a, "k", "old")
				cached(t, b, "k", "old")
				if err := v.do(t.Context(), []*rc.CacheService[string]{a, b}[i], "k"); err != nil {
					t.Fatal(err)
				}
				until(t, "the push", func() bool {
					_, fa, _ := a.Get(t.Context(), "k")
					_, fb, _ := b.Get(t.Context(), "k")
					return !fa && !fb
				})
				for _, s := range []*rc.CacheService[string]{a, b} {
					var n atomic.Int32
					if got, err := s.GetOrSet(t.Context(), "k", fails(errBoom, &n)); !errors.Is(err, errBoom) || n.Load() != 1 {
						t.Errorf("GetOrSet after %s = %q, %v with %d loads, want the loader's error", v.name, got, err, n.Load())
					}
				}
			})
		}
	}
}

// An expired value is not served as long as the source can be asked, and is
// served when that fails.
func TestRaceExpireKeepsTheFallback(t *testing.T) {
	t.Parallel()
	for i, who := range []string{"same", "another"} {
		t.Run("ThroughThe"+who, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			log := &staleLog{}
			opts := calm()
			opts.Observer = log
			cfg := rc.Config[string]{StaleFor: time.Hour, ErrorBackoff: rc.Off}
			m, a := instance(t, srv, opts, cfg)
			_, b := instance(t, srv, calm(), cfg)
			set(t, a, "k", "old")
			cached(t, b, "k", "old")
			if err := []*rc.CacheService[string]{a, b}[i].Expire(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			until(t, "the push", func() bool { _, found, _ := a.Get(t.Context(), "k"); return !found })
			if v, err := a.GetOrSet(t.Context(), "k", fails(errBoom, new(atomic.Int32))); v != "old" || err != nil {
				t.Errorf("GetOrSet = %q, %v, want the expired value", v, err)
			}
			if log.last() != rc.StaleLoadFailed || m.Stats().StaleServed != 1 {
				t.Errorf("reason %v, StaleServed = %d, want load failed, 1", log.last(), m.Stats().StaleServed)
			}
			fill(t, a, "k", "new")
			cached(t, a, "k", "new")
		})
	}
}

package rc_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/relay"
	"github.com/fleetcache/fleetcache/rc"
)

// TestRaceLateSet: a Set times out, and its bytes stay under way while its
// connection is given up. What is done over the next connection, by this
// process and others, is not undone when they arrive. Found by the chaos suite
// (a blackholed client).
func TestRaceLateSet(t *testing.T) {
	srv := localredis.Standalone(t, localredis.Redis)
	r := relay.New(srv.Addr())
	opts := rc.Options{OpTimeout: 600 * time.Millisecond, MaxStaleness: 1200 * time.Millisecond}
	m, err := rc.OpenClient(t.Context(), rueidis.ClientOption{InitAddress: []string{srv.Addr()}, DialCtxFn: r.Dial}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	s := service(t, m, rc.Config[string]{})
	set(t, s, "k", "before")
	r.Hold()
	var inv *rc.InvalidationError
	if err := s.Set(t.Context(), "k", "late"); !errors.As(err, &inv) || !inv.Queued {
		t.Fatalf("Set = %v, want a queued InvalidationError", err)
	}
	until(t, "the invalidation to be delivered", func() bool { return m.Stats().QueueLen == 0 })
	var n atomic.Int32
	until(t, "the new value to be stored", func() bool {
		v, err := s.GetOrSet(t.Context(), "k", gives("new", &n))
		return v == "new" && err == nil && s.Stats().Fills > 0
	})
	r.Release()
	// The server has ended the old connection, or will execute what came over
	// it and end it then.
	until(t, "the old connections to be gone", func() bool {
		list, err := srv.Do(t.Context(), "CLIENT", "LIST")
		return err == nil && connections(list) <= 2 // ours and the one that asks
	})
	if v, found, err := s.Get(t.Context(), "k"); v != "new" || !found || err != nil {
		t.Errorf("Get = %q, %v, %v, want the new value", v, found, err)
	}
	if st := m.Stats(); st.Unfenced != 0 {
		t.Errorf("Unfenced = %d, want 0", st.Unfenced)
	}
}

func connections(list any) (n int) {
	text, _ := list.(string)
	for _, c := range text {
		if c == '\n' {
			n++
		}
	}
	return n
}

// skipWatch tells when a background load has begun to claim its key.
type skipWatch struct {
	rc.NopObserver
	once sync.Once
	end  chan struct{}
}

func (w *skipWatch) Refresh(_ context.Context, e rc.RefreshEvent) {
	if e.Err != nil {
		w.once.Do(func() { close(w.end) })
	}
}

// TestRaceRefreshThatCannot: a caller that has come to share a background load
// is not given its failure to reach Redis: it loads. Found by the chaos suite
// (a primary frozen for a moment).
func TestRaceRefreshThatCannot(t *testing.T) {
	t.Parallel()
	srv := start(t)
	opts := calm()
	opts.OpTimeout = 2 * time.Second
	w := &skipWatch{end: make(chan struct{})}
	opts.Observer = w
	cfg := rc.Config[string]{TTL: time.Second, StaleFor: time.Hour, Jitter: rc.Off}
	_, s := instance(t, srv, opts, cfg)
	fill(t, s, "k", "old")
	srv.FastForward(2 * time.Second)
	until(t, "the value to be stale", func() bool {
		it, err := s.Lookup(t.Context(), "k")
		return err == nil && it.Stale
	})
	arrived, release := srv.Hold("EVALSHA") // the claim of the refresh
	if v, err := s.GetOrSet(t.Context(), "k", gives("refreshed", new(atomic.Int32))); v != "old" || err != nil {
		t.Fatalf("GetOrSet = %q, %v, want the stale value", v, err)
	}
	event(t, arrived, "the claim of the refresh")
	got := make(chan error, 1)
	go func() {
		v, err := s.GetOrSet(t.Context(), "k", gives("loaded", new(atomic.Int32)), rc.WithMaxStale(rc.Off))
		if err == nil && v != "loaded" {
			err = errors.New("value " + v)
		}
		got <- err
	}()
	until(t, "the caller to wait for the refresh", func() bool { return s.Stats().Misses > 0 })
	event(t, w.end, "the refresh to give up")
	release()
	select {
	case err := <-got:
		if err != nil {
			t.Errorf("GetOrSet that shared the refresh = %v, want a value of its own loader", err)
		}
	case <-time.After(patience):
		t.Error("GetOrSet does not return")
	}
}

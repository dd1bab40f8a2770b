package rc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

func explode(context.Context) (string, error) { panic("kaboom") }

// A loader panics: every caller that waits panics, with the loader's stack,
// and the claim is given back.
func TestRaceHolderPanics(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, a := instance(t, srv, calm(), rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour, ErrorBackoff: rc.Off})
	_, b := instance(t, srv, calm(), rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour})
	begun, gate := make(chan struct{}), make(chan struct{})
	lead := async(func() (string, error) {
		return a.GetOrSet(t.Context(), "k", func(ctx context.Context) (string, error) {
			close(begun)
			<-gate
			return explode(ctx)
		})
	})
	event(t, begun, "the loader")
	ctx, in := joined(t.Context())
	follow := async(func() (string, error) { return a.GetOrSet(ctx, "k", never(t)) })
	event(t, in, "the follower to join")
	close(gate)
	for name, f := range map[string]*future{"leader": lead, "follower": follow} {
		event(t, f.done, "a caller to return")
		text := fmt.Sprint(f.panicked)
		if !strings.Contains(text, "kaboom") || !strings.Contains(text, "explode") {
			t.Errorf("%s panicked with %q, want the value and the loader's stack", name, text)
		}
	}
	if st := m.Stats(); st.LoadPanics != 1 || st.LoadErrors != 1 {
		t.Errorf("LoadPanics = %d, LoadErrors = %d, want 1, 1", st.LoadPanics, st.LoadErrors)
	}
	fill(t, b, "k", "v")
}

// The same for a batch, whose callers have no others to share with.
func TestRaceHolderPanicsMany(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour, ErrorBackoff: rc.Off})
	f := async(func() (string, error) {
		_, err := a.GetOrSetMany(t.Context(), []string{"k", "l"}, func(ctx context.Context, _ []string) (map[string]string, error) {
			_, err := explode(ctx)
			return nil, err
		})
		return "", err
	})
	event(t, f.done, "the batch to return")
	if text := fmt.Sprint(f.panicked); !strings.Contains(text, "kaboom") || !strings.Contains(text, "explode") {
		t.Errorf("panicked with %q, want the value and the loader's stack", text)
	}
	fill(t, a, "k", "v")
	fill(t, a, "l", "v")
}

// A loader ends its goroutine: all callers get ErrGoexit, and the claim is
// given back.
func TestRaceHolderGoexit(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour, ErrorBackoff: rc.Off})
	_, b := instance(t, srv, calm(), rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour})
	begun, gate := make(chan struct{}), make(chan struct{})
	lead := async(func() (string, error) {
		return a.GetOrSet(t.Context(), "k", func(context.Context) (string, error) {
			close(begun)
			<-gate
			runtime.Goexit()
			return "", nil
		})
	})
	event(t, begun, "the loader")
	ctx, in := joined(t.Context())
	follow := async(func() (string, error) { return a.GetOrSet(ctx, "k", never(t)) })
	event(t, in, "the follower to join")
	close(gate)
	for name, f := range map[string]*future{"leader": lead, "follower": follow} {
		if _, err := f.get(t); !errors.Is(err, rc.ErrGoexit) {
			t.Errorf("%s got %v, want ErrGoexit", name, err)
		}
	}
	fill(t, b, "k", "v")
}

// recorder keeps what is logged.
type recorder struct {
	mu  sync.Mutex // protects log
	log strings.Builder
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// A loader panics in the background, where nobody can be told: it is logged
// and counted, and the old value stays.
func TestRaceRefreshPanics(t *testing.T) {
	t.Parallel()
	srv := start(t)
	log := &recorder{}
	opts := calm()
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	m, a := instance(t, srv, opts, rc.Config[string]{StaleFor: time.Hour})
	set(t, a, "k", "old")
	srv.FastForward(2 * time.Minute)
	if v, err := a.GetOrSet(t.Context(), "k", explode); v != "old" || err != nil {
		t.Fatalf("GetOrSet of a stale value = %q, %v, want %q", v, err, "old")
	}
	until(t, "the refresh to fail", func() bool { return m.Stats().RefreshErrors == 1 })
	if st := m.Stats(); st.LoadPanics != 1 {
		t.Errorf("LoadPanics = %d, want 1", st.LoadPanics)
	}
	until(t, "the panic in the log", func() bool { return strings.Contains(log.String(), "kaboom") })
	if s := log.String(); !strings.Contains(s, "explode") {
		t.Errorf("the log has no stack of the loader: %s", s)
	}
	cached(t, a, "k", "old")
}

// The only caller leaves while its claim is on the way. The server executes
// it all the same, so it is given back: nobody waits for the end of a lease
// that nobody loads under.
func TestRaceHolderCancelledWhileAcquiring(t *testing.T) {
	t.Parallel()
	for i, who := range []string{"SameInstance", "AnotherInstance"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour}
			_, a := instance(t, srv, calm(), cfg)
			_, b := instance(t, srv, calm(), cfg)
			warm(t, a)
			arrived, release := srv.Hold("EVALSHA")
			defer release()
			ctx, cancel := context.WithCancel(t.Context())
			f := async(func() (string, error) { return a.GetOrSet(ctx, "k", never(t)) })
			event(t, arrived, "the claim")
			cancel()
			if _, err := f.get(t); !errors.Is(err, context.Canceled) {
				t.Errorf("GetOrSet = %v, want context.Canceled", err)
			}
			release()
			f = async(func() (string, error) {
				return []*rc.CacheService[string]{a, b}[i].GetOrSet(t.Context(), "k", gives("v", new(atomic.Int32)))
			})
			f.want(t, "v")
			cached(t, a, "k", "v")
		})
	}
}

// A loader takes longer than its lease, which is prolonged: one load, and the
// value is stored.
func TestRaceLoaderSlowerThanItsLease(t *testing.T) {
	t.Parallel()
	for _, many := range []bool{false, true} {
		t.Run(map[bool]string{false: "Single", true: "Many"}[many], func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			cfg := rc.Config[string]{LeaseTTL: 2 * time.Second, LockWait: time.Hour}
			ma, a := instance(t, srv, calm(), cfg)
			mb, b := instance(t, srv, calm(), cfg)
			slow := newLoader()
			lead := async(func() (string, error) {
				if !many {
					return a.GetOrSet(t.Context(), "k", slow.load)
				}
				got, err := a.GetOrSetMany(t.Context(), []string{"k"}, func(ctx context.Context, _ []string) (map[string]string, error) {
					v, err := slow.load(ctx)
					return map[string]string{"k": v}, err
				})
				return got["k"], err
			})
			slow.begin(t)
			wait := async(func() (string, error) { return b.GetOrSet(t.Context(), "k", never(t)) })
			// B asks again each time the lease is prolonged, and does not tire of it
			// before LockWait.
			until(t, "B to have waited often", func() bool {
				do(t, srv, "PEXPIRE", leaseKey(t, a, "k"), "2000")
				return mb.Stats().Waits >= 20 // more than a load looks again
			})
			often := mb.Stats().Waits
			until(t, "the holder to have prolonged it for longer than it lasts", func() bool { return mb.Stats().Waits >= often+5 })
			slow.finish("v", nil)
			lead.want(t, "v")
			wait.want(t, "v")
			if st := ma.Stats(); st.Fills != 1 || st.FillsVoided != 0 {
				t.Errorf("Fills = %d, FillsVoided = %d, want 1, 0", st.Fills, st.FillsVoided)
			}
			cached(t, a, "k", "v")
		})
	}
}

// A loader that never returns, and does not heed its context: its callers get
// ErrLoadTimeout, and another instance can load.
func TestRaceLoaderThatHangs(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{LoadTimeout: 50 * time.Millisecond, LeaseTTL: time.Hour, LockWait: time.Hour, ErrorBackoff: rc.Off}
	_, a := instance(t, srv, calm(), cfg)
	cfg.LoadTimeout = 0
	_, b := instance(t, srv, calm(), cfg)
	gate := make(chan struct{})
	defer close(gate)
	for name, call := range map[string]func() error{
		"GetOrSet": func() error {
			_, err := a.GetOrSet(t.Context(), "k", func(context.Context) (string, error) {
				<-gate
				return "late", nil
			})
			return err
		},
		"GetOrSetMany": func() error {
			_, err := a.GetOrSetMany(t.Context(), []string{"l"}, func(context.Context, []string) (map[string]string, error) {
				<-gate
				return nil, nil
			})
			return err
		},
	} {
		f := async(func() (string, error) { return "", call() })
		if _, err := f.get(t); !errors.Is(err, rc.ErrLoadTimeout) {
			t.Errorf("%s = %v, want ErrLoadTimeout", name, err)
		}
	}
	f := async(func() (string, error) {
		fill(t, b, "k", "v")
		fill(t, b, "l", "v")
		return "", nil
	})
	f.want(t, "")
}

// The leader's context ends: the load goes on for those who wait. A follower's
// context ends: only that one fails. All end: all fail, with their own error.
func TestRaceCallersLeave(t *testing.T) {
	t.Parallel()
	type caller struct {
		f      *future
		cancel context.CancelFunc
	}
	for _, c := range []struct {
		name  string
		leave []int // of three callers, the first of which leads
	}{
		{"Leader", []int{0}},
		{"Follower", []int{1}},
		{"LeaderAndFollower", []int{0, 2}},
		{"All", []int{0, 1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, a := instance(t, srv, calm(), rc.Config[string]{})
			l := newLoader()
			var callers []caller
			for i := range 3 {
				cctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ctx, in := joined(cctx)
				callers = append(callers, caller{async(func() (string, error) { return a.GetOrSet(ctx, "k", l.load) }), cancel})
				event(t, in, "a caller to join")
				if i == 0 {
					l.begin(t)
				}
			}
			left := map[int]bool{}
			for _, i := range c.leave {
				left[i] = true
				callers[i].cancel()
				if _, err := callers[i].f.get(t); !errors.Is(err, context.Canceled) {
					t.Errorf("caller %d = %v, want its own context.Canceled", i, err)
				}
			}
			l.finish("v", nil)
			for i := range callers {
				if !left[i] {
					callers[i].f.want(t, "v")
				}
			}
			// Another process might have been waiting: the load ends as usual.
			until(t, "the value in Redis", func() bool { return do(t, srv, "EXISTS", key(t, a, "k")) == int64(1) })
			if n := l.calls.Load(); n != 1 {
				t.Errorf("%d loads, want 1", n)
			}
		})
	}
}

// The leader leaves while it only waits for another process: what it was
// doing for its followers goes on, and none of them sees its cancellation.
func TestRaceLeaderLeavesWhileWaiting(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour}
	_, a := instance(t, srv, calm(), cfg)
	mb, b := instance(t, srv, calm(), cfg)
	l := newLoader()
	load := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	lctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lead := async(func() (string, error) { return b.GetOrSet(lctx, "k", never(t)) })
	until(t, "B to wait for A", func() bool { return mb.Stats().Waits == 1 })
	fctx, in := joined(t.Context())
	follow := async(func() (string, error) { return b.GetOrSet(fctx, "k", never(t)) })
	event(t, in, "the follower to join")
	cancel()
	if _, err := lead.get(t); !errors.Is(err, context.Canceled) {
		t.Errorf("the leader got %v, want context.Canceled", err)
	}
	l.finish("v", nil)
	load.want(t, "v")
	follow.want(t, "v")
}

// The one that sends a read for others leaves: they ask for themselves.
func TestRaceReaderLeaves(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), rc.Config[string]{L1Size: rc.Off})
	set(t, a, "k", "v")
	arrived, release := srv.Hold("GET")
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := async(func() (string, error) { v, _, err := a.Get(ctx, "k"); return v, err })
	event(t, arrived, "the read")
	w := &waiting{Context: t.Context(), in: "(*core).fetch", ch: make(chan struct{})}
	second := async(func() (string, error) { v, _, err := a.Get(w, "k"); return v, err })
	event(t, w.ch, "the second reader to join the read")
	cancel()
	if _, err := first.get(t); !errors.Is(err, context.Canceled) {
		t.Errorf("the first reader got %v, want context.Canceled", err)
	}
	release()
	second.want(t, "v")
}

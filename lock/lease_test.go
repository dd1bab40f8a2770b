package lock

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

const leaseKey = "cache:lock:{n}"

// Never two holders, and tokens in the order of the grants.
func TestLeaseExcludes(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		var (
			inside atomic.Int32
			mu     sync.Mutex
			tokens []uint64
			wg     sync.WaitGroup
		)
		for range 3 { // what is handed over lasts for Grace, until it is extended
			l := open(t, s, Config{TTL: time.Minute, OpTimeout: 5 * time.Second, Grace: 10 * time.Second})
			for range 4 {
				wg.Go(func() {
					for range 5 {
						err := l.Do(limited(t), "n", func(ctx context.Context) error {
							if inside.Add(1) != 1 {
								t.Error("two holders")
							}
							mu.Lock()
							tokens = append(tokens, FromContext(ctx).Token())
							mu.Unlock()
							inside.Add(-1)
							return nil
						})
						if err != nil {
							t.Errorf("Do = %v", err)
						}
					}
				})
			}
		}
		wg.Wait()
		if len(tokens) != 60 || !slices.IsSorted(tokens) || len(slices.Compact(slices.Clone(tokens))) != 60 {
			t.Fatalf("tokens = %v, want 60 that grow", tokens)
		}
	})
}

// TryAcquire, Release, and what the second of each says.
func TestLeaseTryAndRelease(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		a, b := open(t, s, quick()), open(t, s, quick())
		k, err := a.TryAcquire(t.Context(), "n")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.TryAcquire(t.Context(), "n")
		mustErr(t, "TryAcquire of a held lock", err, ErrNotAcquired)
		if !SafeToRetry(err) {
			t.Error("SafeToRetry(ErrNotAcquired) = false")
		}
		release(t, k)
		mustErr(t, "second Release", k.Release(t.Context()), ErrReleased)
		mustErr(t, "cause", context.Cause(k.Context()), ErrReleased)
		if time.Until(k.Until()) > 0 || exists(t, s, leaseKey) {
			t.Error("something is left of a released lock")
		}
	})
}

// The token grows also when the counter is lost, and when the clock is behind it.
func TestLeaseTokenGrows(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, quick())
		var last uint64
		for _, prepare := range [][]string{
			{"PING"},
			{"DEL", leaseKey + ":n"},
			{"SET", leaseKey + ":n", "4000000000000000"},
		} {
			do(t, s, prepare...)
			for range 2 {
				k := acquire(t, l, "n")
				if k.Token() <= last {
					t.Errorf("after %v: token %d, want more than %d", prepare, k.Token(), last)
				}
				last = k.Token()
				release(t, k)
			}
		}
		if last != 4000000000000002 {
			t.Errorf("token %d, want the counter's", last)
		}
	})
}

// A release wakes the first waiter, by a message: the TTL is far longer than the
// test waits.
func TestLeaseHandOver(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		cfg := Config{TTL: time.Hour, OpTimeout: 5 * time.Second, Grace: time.Minute}
		k := acquire(t, open(t, s, cfg), "n")
		got := make(chan int, 3)
		var waiters sync.WaitGroup
		for i := range 3 {
			l := open(t, s, cfg)
			waiters.Go(func() {
				k, err := l.Acquire(limited(t), "n")
				got <- i
				if err == nil {
					err = k.Release(context.Background())
				}
				if err != nil {
					t.Errorf("waiter %d: %v", i, err)
				}
			})
			queued(t, s, "n", int64(i+1))
		}
		release(t, k)
		for want := range 3 {
			if i := event(t, "the next holder", got); i != want {
				t.Errorf("waiter %d, want %d", i, want)
			}
		}
		waiters.Wait() // before their Lockers are closed
	})
}

// A waiter whose connection died is passed over at once.
func TestLeaseDeadWaiter(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		cfg := Config{TTL: time.Hour, OpTimeout: 5 * time.Second, Grace: time.Minute}
		k := acquire(t, open(t, s, cfg), "n")
		do(t, s, "ZADD", leaseKey+":q", "0", "dead")
		l := open(t, s, cfg)
		next := async(func() error { _, err := l.Acquire(limited(t), "n"); return err })
		queued(t, s, "n", 2)
		release(t, k)
		mustErr(t, "Acquire", event(t, "the lock", next), nil)
	})
}

// A waiter that listens but does not answer delays the next by the grace.
func TestLeaseStuckWaiter(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		cfg := Config{TTL: time.Hour, OpTimeout: 5 * time.Second, Grace: 300 * time.Millisecond}
		holder := open(t, s, cfg)
		k := acquire(t, holder, "n")
		deaf, mute := context.WithCancel(t.Context())
		defer mute()
		c := newCall()
		holder.start(func() { holder.hear(deaf, holder.engine.stations("n", "stuck")[0], c) })
		event(t, "the subscription", c.now)
		do(t, s, "ZADD", leaseKey+":q", "0", "stuck")
		l := open(t, s, cfg)
		next := async(func() error { _, err := l.Acquire(limited(t), "n"); return err })
		queued(t, s, "n", 2)
		release(t, k)
		event(t, "the grant to the stuck waiter", c.given)
		mustErr(t, "Acquire", event(t, "the lock", next), nil)
	})
}

// Nobody releases: the next holder comes when the time to live is over.
func TestLeaseDeadHolder(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, quick())
		start := time.Now()
		if r := l.engine.try(t.Context(), "n", "dead", false); !r.granted {
			t.Fatal(r)
		}
		k := acquire(t, l, "n")
		if d := time.Since(start); d < quick().TTL-drift(quick().TTL) {
			t.Errorf("got the lock of a dead holder after %v", d)
		}
		release(t, k)
	})
}

// A lock that is held outlives its TTL.
func TestLeaseExtends(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		a, b := open(t, s, quick()), open(t, s, quick())
		k := acquire(t, a, "n")
		ctx, cancel := context.WithTimeout(t.Context(), quick().TTL*3/2)
		defer cancel()
		_, err := b.Acquire(ctx, "n")
		mustErr(t, "Acquire of a held lock", err, context.DeadlineExceeded)
		if time.Until(k.Until()) <= 0 || k.Context().Err() != nil {
			t.Errorf("remaining %v, context %v", time.Until(k.Until()), context.Cause(k.Context()))
		}
		release(t, k)
	})
}

// Whatever takes the lock away cancels its context while the lock still is ours.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *localredis.Server) error
		ours bool // nobody else could have had it
	}{
		{"key deleted", func(t *testing.T, s *localredis.Server) error { do(t, s, "DEL", leaseKey); return nil }, false},
		{"server frozen", func(t *testing.T, s *localredis.Server) error { return s.Freeze() }, true},
		{"server killed", func(t *testing.T, s *localredis.Server) error { return s.Kill() }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			flavors(t, func(t *testing.T, s *localredis.Server) {
				k := acquire(t, open(t, s, Config{TTL: 9 * time.Second, OpTimeout: 900 * time.Millisecond}), "n")
				if err := c.do(t, s); err != nil {
					t.Fatal(err)
				}
				event(t, "the end of the context", k.Context().Done())
				if left := time.Until(k.Until()); c.ours && left <= 0 {
					t.Errorf("cancelled %v after the end", -left)
				}
				if !Lost(k.Context()) {
					t.Errorf("cause = %v", context.Cause(k.Context()))
				}
				mustErr(t, "Release", k.Release(t.Context()), ErrLost)
			})
		})
	}
}

// A caller that gives up leaves nothing behind, whatever was on its way.
func TestLeaseCancelled(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, Config{TTL: time.Hour, OpTimeout: 900 * time.Millisecond}) // nothing expires
		release(t, acquire(t, l, "n"))                                             // connected, script known
		if err := s.Freeze(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		tried := async(func() error { _, err := l.TryAcquire(ctx, "n"); return err })
		cancel()
		mustErr(t, "TryAcquire", event(t, "the end of TryAcquire", tried), context.Canceled)
		_, err := l.TryAcquire(t.Context(), "n")
		var node *NodeError
		if !asNode(err, &node) || node.Node != s.Addr() || !SafeToRetry(err) {
			t.Errorf("TryAcquire on a frozen server = %v", err)
		}
		if err := s.Thaw(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		until(t, "the key to be gone", func() bool { return !exists(t, s, leaseKey) })
	})
}

// A waiter that gives up leaves the queue, and passes on what was reserved.
func TestLeaseWaiterLeaves(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, Config{TTL: time.Hour, OpTimeout: 900 * time.Millisecond}) // nothing expires
		k := acquire(t, l, "n")
		ctx, cancel := context.WithCancel(t.Context())
		waiting := async(func() error { _, err := l.Acquire(ctx, "n"); return err })
		queued(t, s, "n", 1)
		cancel()
		mustErr(t, "Acquire", event(t, "the end of Acquire", waiting), context.Canceled)
		queued(t, s, "n", 0)
		release(t, k)
		do(t, s, "SET", leaseKey, "w", "PX", "60000")
		if held, err := l.engine.release("n", "w", true); err != nil || !held || exists(t, s, leaseKey) {
			t.Errorf("release = %v, %v, or what was granted is left", held, err)
		}
	})
}

// Close gives back what is held, and ends who waits.
func TestClose(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, quick())
		k := acquire(t, l, "n")
		var waiting []<-chan error
		for range 3 {
			waiting = append(waiting, async(func() error { _, err := l.Acquire(limited(t), "n"); return err }))
		}
		queued(t, s, "n", 1)
		mustErr(t, "Close", l.Close(), nil)
		mustErr(t, "second Close", l.Close(), nil)
		for _, w := range waiting {
			mustErr(t, "Acquire", event(t, "the end of Acquire", w), ErrClosed)
		}
		mustErr(t, "cause", context.Cause(k.Context()), ErrReleased)
		_, err := l.TryAcquire(t.Context(), "n")
		mustErr(t, "TryAcquire after Close", err, ErrClosed)
		if exists(t, s, leaseKey) {
			t.Error("a key is left")
		}
	})
}

// What Do says about what its function did.
func TestDo(t *testing.T) {
	t.Parallel()
	s := localredis.Standalone(t, localredis.Redis)
	l := open(t, s, quick())
	boom := fmt.Errorf("boom: %w", &NodeError{Op: opAcquire, Err: ErrNotAcquired})
	for _, c := range []struct {
		name string
		fn   func(ctx context.Context) error
		want error
	}{
		{"nothing", func(ctx context.Context) error { return nil }, nil},
		{"released inside", func(ctx context.Context) error { return FromContext(ctx).Release(ctx) }, nil},
		{"error of the function", func(ctx context.Context) error { return boom }, boom},
		{"lost", func(ctx context.Context) error {
			do(t, s, "DEL", leaseKey)
			<-ctx.Done()
			if !Lost(ctx) {
				t.Errorf("cause = %v", context.Cause(ctx))
			}
			return nil
		}, ErrLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := l.Do(limited(t), "n", c.fn)
			mustErr(t, "Do", err, c.want)
			if SafeToRetry(err) {
				t.Error("SafeToRetry after the function has run")
			}
		})
	}
	func() {
		defer func() { _ = recover() }()
		_ = l.Do(limited(t), "n", func(context.Context) error { panic("boom") })
	}()
	if exists(t, s, leaseKey) {
		t.Error("a panic kept the lock")
	}
}

// Who does not wait does not overtake who does, when a lock ends by itself.
func TestLeaseQueueFirst(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, Config{TTL: time.Hour, OpTimeout: 5 * time.Second, Grace: time.Minute})
		ctx, mute := context.WithCancel(t.Context())
		defer mute()
		c := newCall()
		l.start(func() { l.hear(ctx, l.engine.stations("n", "first")[0], c) })
		event(t, "the subscription", c.now)
		do(t, s, "ZADD", leaseKey+":q", "0", "first")
		_, err := l.TryAcquire(t.Context(), "n")
		mustErr(t, "TryAcquire", err, ErrNotAcquired)
		g := event(t, "the grant to the waiter", c.given)
		r := l.engine.try(t.Context(), "n", "first", true)
		if !r.granted || r.token != g.token {
			t.Errorf("the first in the queue got %+v", r)
		}
	})
}

// late keeps the answers to attempts from callers until they leave.
type late struct {
	engine
	granted chan struct{}
}

func (e *late) try(ctx context.Context, name, id string, queue bool) answer {
	e.engine.try(ctx, name, id, queue)
	close(e.granted)
	<-ctx.Done()
	return answer{err: ctx.Err()}
}

// The lock that is granted to a caller who has left is given back.
func TestLeaseGrantedTooLate(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, Config{TTL: time.Hour, OpTimeout: patience})
		e := &late{l.engine, make(chan struct{})}
		l.engine = e
		ctx, cancel := context.WithCancel(t.Context())
		tried := async(func() error { _, err := l.TryAcquire(ctx, "n"); return err })
		event(t, "the grant", e.granted)
		if !exists(t, s, leaseKey) {
			t.Error("nothing was granted")
		}
		cancel()
		mustErr(t, "TryAcquire", event(t, "the end of TryAcquire", tried), context.Canceled)
		until(t, "the key to be gone", func() bool { return !exists(t, s, leaseKey) })
	})
}

// The same with Redlock: its votes come from frozen nodes when they are thawed.
func TestRedlockGrantedTooLate(t *testing.T) {
	t.Parallel()
	servers, opts := trio(t)
	l := openRedlock(t, opts, Config{TTL: time.Hour, OpTimeout: patience})
	for _, s := range servers {
		mustErr(t, "Freeze", s.Freeze(), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tried := async(func() error { _, err := l.TryAcquire(ctx, "n"); return err })
	cancel()
	mustErr(t, "TryAcquire", event(t, "the end of TryAcquire", tried), context.Canceled)
	for _, s := range servers {
		mustErr(t, "Thaw", s.Thaw(), nil)
	}
	mustErr(t, "Close", l.Close(), nil)
	for _, s := range servers {
		until(t, "the votes to be gone", func() bool { return !exists(t, s, redlockKey) })
	}
}

// The key of a rival is neither extended nor released by one who held it before.
func TestLeaseRivalsKey(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		k := acquire(t, open(t, s, long()), "n")
		do(t, s, "SET", leaseKey, "rival", "PX", "60000")
		mustErr(t, "Extend", k.Extend(t.Context()), ErrLost)
		mustErr(t, "Release", k.Release(t.Context()), ErrLost)
		if do(t, s, "GET", leaseKey) != "rival" || do(t, s, "PTTL", leaseKey).(int64) > 60000 {
			t.Error("the rival's lock was touched")
		}
	})
}

package lock

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/leak"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// patience is how long a test waits for an event that has to come.
const patience = 15 * time.Second

// TestMain fails the package if its goroutines outlive its tests.
func TestMain(m *testing.M) { leak.Main(m, "github.com/fleetcache/fleetcache/lock", nil) }

// flavors runs a test on each server there is.
func flavors(t *testing.T, f func(t *testing.T, s *localredis.Server)) {
	for _, fl := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		t.Run(string(fl), func(t *testing.T) {
			t.Parallel()
			f(t, localredis.Standalone(t, fl))
		})
	}
}

func option(addrs ...string) rueidis.ClientOption { return rueidis.ClientOption{InitAddress: addrs} }

// quick is the Config of most tests: a TTL that can be waited for, and time for
// servers that others keep busy.
func quick() Config { return Config{TTL: 3 * time.Second, OpTimeout: 900 * time.Millisecond} }

// open opens a Locker for the duration of the test.
func open(tb testing.TB, s *localredis.Server, cfg Config) *Locker {
	tb.Helper()
	l, err := Open(tb.Context(), option(s.Addr()), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() }) // some servers are dead by then
	return l
}

// limited returns a context for something that has to come.
func limited(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

func acquire(tb testing.TB, l *Locker, name string) *Lock {
	tb.Helper()
	k, err := l.Acquire(limited(tb), name)
	if err != nil {
		tb.Fatalf("Acquire(%q) = %v", name, err)
	}
	return k
}

func release(tb testing.TB, k *Lock) {
	tb.Helper()
	if err := k.Release(tb.Context()); err != nil {
		tb.Fatalf("Release = %v", err)
	}
}

func mustErr(tb testing.TB, what string, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Fatalf("%s = %v, want %v", what, got, want)
	}
}

// async runs f and returns a channel with its result.
func async[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// event waits for something that has to come.
func event[T any](tb testing.TB, what string, c <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		tb.Fatalf("waited %v for %s", patience, what)
	}
	return v
}

// until waits for a condition.
func until(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func do(tb testing.TB, s *localredis.Server, args ...string) any {
	tb.Helper()
	v, err := s.Do(tb.Context(), args...)
	if err != nil {
		tb.Fatalf("%v: %v", args, err)
	}
	return v
}

// queued waits until n waiters are in the queue of a lease.
func queued(tb testing.TB, s *localredis.Server, name string, n int64) {
	tb.Helper()
	until(tb, fmt.Sprintf("%d waiters", n), func() bool { return do(tb, s, "ZCARD", "cache:lock:{"+name+"}:q") == n })
}

func exists(tb testing.TB, s *localredis.Server, key string) bool {
	tb.Helper()
	return do(tb, s, "EXISTS", key) == int64(1)
}

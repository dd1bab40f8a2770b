package lock_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/lock"
	"github.com/fleetcache/fleetcache/rctest"
	"github.com/redis/rueidis"
)

// A service that uses locks can be tested without a server: on rctest a lease is
// handed over, and a Redlock is taken at once.
func TestOnFake(t *testing.T) {
	t.Parallel()
	var opts []rueidis.ClientOption
	for range 3 {
		s := rctest.Start()
		t.Cleanup(s.Close)
		opts = append(opts, s.ClientOption())
	}
	cfg := lock.Config{TTL: time.Minute, OpTimeout: 15 * time.Second, Grace: 15 * time.Second}
	l, err := lock.Open(t.Context(), opts[0], cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r, err := lock.OpenRedlock(t.Context(), opts, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	for name, l := range map[string]*lock.Locker{"lease": l, "Redlock": r} {
		k, err := l.TryAcquire(t.Context(), "n")
		if err != nil {
			t.Fatalf("%s: TryAcquire = %v", name, err)
		}
		next := make(chan error)
		go func() { next <- l.Do(t.Context(), "n", func(context.Context) error { return nil }) }()
		if err := k.Release(t.Context()); err != nil {
			t.Errorf("%s: Release = %v", name, err)
		}
		if err := <-next; err != nil {
			t.Errorf("%s: Do = %v", name, err)
		}
	}
}

// readme: begin

func leader(ctx context.Context, l *lock.Locker, report func(ctx context.Context, token uint64) error) error {
	err := l.Do(ctx, "nightly-report", func(ctx context.Context) error {
		return report(ctx, lock.FromContext(ctx).Token()) // ctx ends if the lock is lost
	})
	if lock.SafeToRetry(err) { // held by somebody, or a node failed, and nothing ran
		return nil
	}
	return err
}

// readme: end

// A leader for as long as its work takes: others wait, and what it writes to
// refuses the writes of leaders before it.
func ExampleLocker_Do() {
	srv := rctest.Start()
	defer srv.Close()
	ctx := context.Background()
	l, err := lock.Open(ctx, srv.ClientOption(), lock.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	var highest uint64 // of the store that is written to
	report := func(_ context.Context, token uint64) error {
		if token < highest {
			return fmt.Errorf("token %d is from before %d", token, highest)
		}
		highest = token
		return nil
	}
	fmt.Println("done:", leader(ctx, l, report))
	// Output: done: <nil>
}

// TryAcquire tells a held lock from one of which nothing is known.
func ExampleLocker_TryAcquire() {
	srv := rctest.Start()
	defer srv.Close()
	ctx := context.Background()
	l, err := lock.Open(ctx, srv.ClientOption(), lock.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	held, err := l.TryAcquire(ctx, "cron:cleanup")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer held.Release(ctx)
	_, err = l.TryAcquire(ctx, "cron:cleanup")
	fmt.Println(err, "- worth another try:", lock.SafeToRetry(err))
	// Output: lock: not acquired: "cron:cleanup" - worth another try: true
}

package lock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/lock"
	"github.com/fleetcache/fleetcache/rctest"
	"github.com/redis/rueidis"
)

// Close may come at any moment: while locks are asked for, waited for, held,
// extended and released. Nothing hangs, and nothing stays in Redis.
func TestCloseStress(t *testing.T) {
	t.Parallel()
	srv := rctest.Start()
	t.Cleanup(srv.Close)
	opt := srv.ClientOption()
	cfg := lock.Config{TTL: time.Hour, OpTimeout: time.Minute} // a busy machine is no fault
	for range 10 {
		lockers := []*lock.Locker{}
		for _, open := range []func() (*lock.Locker, error){
			func() (*lock.Locker, error) { return lock.Open(t.Context(), opt, cfg) },
			func() (*lock.Locker, error) {
				return lock.OpenRedlock(t.Context(), []rueidis.ClientOption{opt, opt, opt}, cfg)
			},
		} {
			l, err := open()
			if err != nil {
				t.Fatal(err)
			}
			lockers = append(lockers, l)
		}
		var wg sync.WaitGroup
		begun := make(chan struct{}, 100)
		for i := range 50 {
			l := lockers[i%2]
			wg.Go(func() {
				for {
					err := l.Do(t.Context(), string(rune('a'+i%6)), func(ctx context.Context) error {
						select {
						case begun <- struct{}{}:
						default:
						}
						return lock.FromContext(ctx).Extend(ctx)
					})
					if errors.Is(err, lock.ErrClosed) {
						return
					}
				}
			})
		}
		<-begun
		for _, l := range lockers {
			wg.Go(func() {
				if err := l.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		}
		wg.Wait()
	}
	for _, pattern := range []string{"cache:lock:{?}", "cache:redlock:*:*"} {
		keys, err := srv.Do("KEYS", pattern)
		if list, _ := keys.([]any); err != nil || len(list) != 0 {
			t.Errorf("KEYS %s = %v, %v, want none", pattern, keys, err)
		}
	}
}

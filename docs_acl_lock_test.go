package fleetcache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/lock"
	"github.com/redis/rueidis"
)

// Locks work for a user with the documented rules, and with any one less
// something fails.
func TestACLOfLock(t *testing.T) {
	t.Parallel()
	onFlavors(t, func(t *testing.T, srv *localredis.Server) {
		eachRule(t, []aclNode{srv}, nil, aclRules(t, "lock"), func(name string) error {
			return exerciseLock(t.Context(), name, []aclNode{srv}, func(ctx context.Context, cfg lock.Config) (*lock.Locker, error) {
				return lock.Open(ctx, lockUser(name, srv.Addr()), cfg)
			})
		})
	})
}

func TestACLOfRedlock(t *testing.T) {
	t.Parallel()
	onFlavors(t, func(t *testing.T, srv *localredis.Server) {
		flavor := localredis.Redis
		if strings.HasSuffix(t.Name(), string(localredis.Valkey)) {
			flavor = localredis.Valkey
		}
		servers := []aclNode{srv}
		addrs := []string{srv.Addr()}
		for range 2 {
			s := localredis.Standalone(t, flavor)
			servers, addrs = append(servers, s), append(addrs, s.Addr())
		}
		eachRule(t, servers, nil, aclRules(t, "redlock"), func(name string) error {
			return exerciseLock(t.Context(), name, servers, func(ctx context.Context, cfg lock.Config) (*lock.Locker, error) {
				var opts []rueidis.ClientOption
				for _, a := range addrs {
					opts = append(opts, lockUser(name, a))
				}
				return lock.OpenRedlock(ctx, opts, cfg)
			})
		})
	})
}

func lockUser(name string, addrs ...string) rueidis.ClientOption {
	return rueidis.ClientOption{InitAddress: addrs, Username: name, Password: "pw"}
}

// exerciseLock takes, extends, and passes a lock on through two waiters, and says
// what did not work.
func exerciseLock(ctx context.Context, user string, servers []aclNode, open func(context.Context, lock.Config) (*lock.Locker, error)) error {
	limit, cfg := 5*time.Second, lock.Config{TTL: 900 * time.Millisecond, OpTimeout: 300 * time.Millisecond}
	if user == "full" { // it has to work, on a busy machine too
		limit, cfg = 30*time.Second, lock.Config{TTL: 3 * time.Second, OpTimeout: time.Second, Grace: time.Second}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, s := range servers { // what is sent first must be allowed too
		_, err1 := s.Do(ctx, "FLUSHALL")
		_, err2 := s.Do(ctx, "SCRIPT", "FLUSH")
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
	}
	var lockers []*lock.Locker
	for range 3 {
		l, err := open(ctx, cfg)
		if err != nil {
			return err
		}
		defer l.Close()
		lockers = append(lockers, l)
	}
	k, err := lockers[0].Acquire(ctx, "n") // a new server abstains at first
	if err != nil {
		return err
	}
	if err := k.Extend(ctx); err != nil {
		return err
	}
	done := make(chan error, 2)
	for _, l := range lockers[1:] {
		go func() { done <- l.Do(ctx, "n", func(context.Context) error { return nil }) }() // joined below
		waits := func() bool { return l.Stats().Refused >= 2 }
		if err := soon(ctx, "a waiter", waits); err != nil {
			return errors.Join(err, errOf(done))
		}
	}
	if err := k.Release(ctx); err != nil {
		return err
	}
	if err := errors.Join(<-done, <-done); err != nil {
		return err
	}
	for _, l := range lockers {
		if err := l.Close(); err != nil {
			return err
		}
		if st := l.Stats(); st.ExtendErrors+st.ReleaseErrors+st.AcquireErrors+st.Resubscribed > 0 {
			return fmt.Errorf("something failed: %+v", st)
		}
	}
	return nil
}

// errOf returns an error that is there already.
func errOf(done chan error) error {
	select {
	case err := <-done:
		return err
	default:
		return nil
	}
}

package locks

import (
	"context"
	"fmt"
	"time"

	"github.com/bsm/redislock"
	"github.com/fleetcache/fleetcache/lock"
	"github.com/go-redsync/redsync/v4"
	redsyncgo "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// The names of the contenders.
const (
	Lease   = "fleetcache lease"
	Redlock = "fleetcache Redlock, 3 shards"
	Redsync = "redsync, one pool"
	Bsm     = "bsm/redislock"
)

// Names returns the contenders in the order of the tables.
func Names() []string { return []string{Lease, Redlock, Redsync, Bsm} }

// ttl is that of all contenders: redsync's default.
const ttl = 8 * time.Second

// A Contender is a library of locks on a cluster, as one process has it.
type Contender struct {
	// Acquire waits for a lock, and returns how to give it back.
	Acquire func(ctx context.Context, name string) (release func() error, err error)
	Close   func()
	// sends are the commands that it sends, as INFO commandstats has them.
	// Those that scripts call are counted there too, and left out.
	sends []string
}

// Open opens the contender of a name. Each is set up as its README does, but for
// the time to live, and for the number of tries, which must not end.
//
// rueidislock, which issue 6 names, is not here: no version of it was served to
// the machine this was written on.
func Open(ctx context.Context, name string, addrs []string) (*Contender, error) {
	opt := rueidis.ClientOption{InitAddress: addrs}
	cfg := lock.Config{TTL: ttl, OpTimeout: 2 * time.Second}
	switch name {
	case Lease:
		l, err := lock.Open(ctx, opt, cfg)
		return ours(l, err, "evalsha", "eval", "ssubscribe", "sunsubscribe")
	case Redlock:
		l, err := lock.OpenShards(ctx, opt, 3, cfg)
		return ours(l, err, "evalsha", "eval", "ssubscribe", "sunsubscribe", "spublish")
	case Redsync:
		c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: addrs})
		rs := redsync.New(redsyncgo.NewPool(c))
		return &Contender{
			sends: []string{"set", "evalsha", "eval"},
			Close: func() { _ = c.Close() },
			Acquire: func(ctx context.Context, name string) (func() error, error) {
				m := rs.NewMutex(name, redsync.WithExpiry(ttl), redsync.WithTries(1<<20))
				if err := m.LockContext(ctx); err != nil {
					return nil, err
				}
				return func() error { _, err := m.Unlock(); return err }, nil
			},
		}, nil
	case Bsm:
		c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: addrs})
		client := redislock.New(c)
		return &Contender{
			sends: []string{"evalsha", "eval"},
			Close: func() { _ = c.Close() },
			Acquire: func(ctx context.Context, name string) (func() error, error) {
				l, err := client.Obtain(ctx, name, ttl, &redislock.Options{RetryStrategy: redislock.LinearBackoff(100 * time.Millisecond)})
				if err != nil {
					return nil, err
				}
				return func() error { return l.Release(context.Background()) }, nil
			},
		}, nil
	}
	return nil, fmt.Errorf("locks: no contender %q", name)
}

func ours(l *lock.Locker, err error, sends ...string) (*Contender, error) {
	if err != nil {
		return nil, err
	}
	return &Contender{
		sends: sends,
		Close: func() { _ = l.Close() },
		Acquire: func(ctx context.Context, name string) (func() error, error) {
			k, err := l.Acquire(ctx, name)
			if err != nil {
				return nil, err
			}
			return func() error { return k.Release(context.Background()) }, nil
		},
	}, nil
}

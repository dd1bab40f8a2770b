package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// Redsync is a get-or-set written by hand on go-redis, with a mutex of redsync
// around the load, as its README makes one: look up, lock, look up again, load,
// store, unlock. The lock lasts as long as a load may, or redsync's 8 s if that
// is more.
//
// It has no memory, remembers nothing about what does not exist, and a load
// may store what was invalidated while it ran. Those who wait for the lock
// poll every 50 to 250 ms, up to 32 times.
type Redsync struct {
	client *redis.ClusterClient
	locks  *redsync.Redsync
	s      Settings
}

func openRedsync(ctx context.Context, s Settings) (Cache, error) {
	c, err := openGoRedisClient(ctx, s)
	if err != nil {
		return nil, err
	}
	return &Redsync{client: c, locks: redsync.New(goredis.NewPool(c)), s: s}, nil
}

// Name implements Cache.
func (r *Redsync) Name() string { return "go-redis+redsync" }

// GetOrLoad implements Cache.
func (r *Redsync) GetOrLoad(ctx context.Context, id string, load Load) (v subject.Product, err error) {
	key := r.s.key(id)
	if v, ok, err := r.get(ctx, key); ok || err != nil {
		return v, err
	}
	m := r.locks.NewMutex("lock:"+key, redsync.WithExpiry(max(8*time.Second, r.s.LoadTimeout)))
	if err := m.LockContext(ctx); err != nil {
		return v, fmt.Errorf("lock %s: %w", key, err)
	}
	defer func() {
		if ok, e := m.UnlockContext(context.WithoutCancel(ctx)); !ok || e != nil {
			err = errors.Join(err, fmt.Errorf("unlock %s: %v, %w", key, ok, e))
		}
	}()
	if v, ok, err := r.get(ctx, key); ok || err != nil {
		return v, err
	}
	if v, err = load(ctx); err != nil {
		return v, err
	}
	return v, r.Set(ctx, id, v)
}

func (r *Redsync) get(ctx context.Context, key string) (v subject.Product, found bool, err error) {
	b, err := r.client.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return v, false, nil
	}
	if err == nil {
		v, err = decode(b)
	}
	return v, err == nil, err
}

// Many is a pipeline of GET, since a cluster has no MGET over slots, and one of
// SET for what was loaded, without a lock.
func (r *Redsync) Many(ctx context.Context, ids []string, load LoadMany) (map[string]subject.Product, error) {
	// The error of Pipelined is that of the first command, a nil reply included.
	cmds, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range ids {
			p.Get(ctx, r.s.key(id))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	out := make(map[string]subject.Product, len(ids))
	var missing []string
	for i, id := range ids {
		b, err := cmds[i].(*redis.StringCmd).Bytes()
		if errors.Is(err, redis.Nil) {
			missing = append(missing, id)
			continue
		}
		if err != nil {
			return nil, err
		}
		if out[id], err = decode(b); err != nil {
			return nil, err
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	loaded, err := load(ctx, missing)
	if err != nil {
		return nil, err
	}
	_, err = r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range missing {
			v, ok := loaded[id]
			if !ok {
				continue
			}
			out[id] = v
			b, err := encode(&v)
			if err != nil {
				return err
			}
			p.Set(ctx, r.s.key(id), b, r.s.TTL)
		}
		return nil
	})
	return out, err
}

// Set implements Setter.
func (r *Redsync) Set(ctx context.Context, id string, v subject.Product) error {
	b, err := encode(&v)
	if err != nil {
		return err
	}
	return r.client.Set(ctx, r.s.key(id), b, r.s.TTL).Err()
}

// Invalidate is DEL.
func (r *Redsync) Invalidate(ctx context.Context, id string) error {
	return r.client.Del(ctx, r.s.key(id)).Err()
}

// Close implements Cache.
func (r *Redsync) Close() error { return r.client.Close() }

package peer

import (
	"context"
	"time"

	"github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// GoRedis is go-redis/cache as its README has it: Once, msgpack, and TinyLFU
// as the local cache, whose entries live for a minute there. Here they live
// for TTL if that is less. Its client is the cluster client of go-redis.
//
// Memory is not told of changes, and its time does not begin with that of the
// value, so a value can be twice as old as TTL. It remembers nothing about what
// does not exist, has no batches and no stale values, and takes a TTL of less
// than a second for an hour. Loads are shared in the process.
type GoRedis struct {
	client *redis.ClusterClient
	cache  *cache.Cache
	s      Settings
}

func openGoRedis(ctx context.Context, s Settings) (Cache, error) {
	c, err := openGoRedisClient(ctx, s)
	if err != nil {
		return nil, err
	}
	o := &cache.Options{Redis: c}
	if s.L1Size > 0 {
		o.LocalCache = cache.NewTinyLFU(s.L1Size, min(time.Minute, s.TTL))
	}
	return &GoRedis{client: c, cache: cache.New(o), s: s}, nil
}

// openGoRedisClient returns a client with the defaults of go-redis that has
// reached the cluster.
func openGoRedisClient(ctx context.Context, s Settings) (*redis.ClusterClient, error) {
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: s.Addrs})
	if err := c.Ping(ctx).Err(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Name implements Cache.
func (g *GoRedis) Name() string { return "go-redis/cache" }

// GetOrLoad is Once.
func (g *GoRedis) GetOrLoad(ctx context.Context, id string, load Load) (v subject.Product, err error) {
	err = g.cache.Once(&cache.Item{Ctx: ctx, Key: g.s.key(id), Value: &v, TTL: g.s.TTL, Do: func(*cache.Item) (any, error) {
		v, err := load(ctx)
		if err != nil {
			return nil, err
		}
		return &v, nil
	}})
	return v, err
}

// Set implements Setter.
func (g *GoRedis) Set(ctx context.Context, id string, v subject.Product) error {
	return g.cache.Set(&cache.Item{Ctx: ctx, Key: g.s.key(id), Value: &v, TTL: g.s.TTL})
}

// Invalidate is Delete.
func (g *GoRedis) Invalidate(ctx context.Context, id string) error {
	return g.cache.Delete(ctx, g.s.key(id))
}

// Close implements Cache.
func (g *GoRedis) Close() error { return g.client.Close() }

package subject

import (
	"context"
	"errors"

	"github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
)

// A GoRedis is go-redis/cache with its local TinyLFU: encoded values in
// memory, decoded (msgpack) with every read, and not told of changes.
type GoRedis struct {
	client *redis.Client
	cache  *cache.Cache
}

// OpenGoRedis connects to a server.
func OpenGoRedis(addr string, size int) *GoRedis {
	c := redis.NewClient(&redis.Options{Addr: addr})
	return &GoRedis{client: c, cache: cache.New(&cache.Options{
		Redis:      c,
		LocalCache: cache.NewTinyLFU(size, TTL),
	})}
}

// Close ends the client.
func (g *GoRedis) Close() error { return g.client.Close() }

// Fill stores the products of ids, in memory too.
func (g *GoRedis) Fill(ctx context.Context, ids []string) error {
	for i, id := range ids {
		err := g.cache.Set(&cache.Item{Ctx: ctx, Key: "gr:" + id, Value: NewProduct(int64(i)), TTL: TTL})
		if err != nil {
			return err
		}
	}
	return nil
}

// Hit is Once of what is in memory.
func (g *GoRedis) Hit(ids []string, run func(op func(int) error) Bench) Bench {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = "gr:" + id
	}
	ctx := context.Background()
	return run(func(i int) error {
		var p Product
		return g.cache.Once(&cache.Item{Ctx: ctx, Key: keys[i%len(keys)], Value: &p, TTL: TTL, Do: goRedisLoad})
	})
}

func goRedisLoad(*cache.Item) (any, error) {
	return nil, errors.New("a hit benchmark ran the loader")
}

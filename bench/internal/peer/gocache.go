package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/ristretto"
	"github.com/eko/gocache/lib/v4/cache"
	"github.com/eko/gocache/lib/v4/marshaler"
	"github.com/eko/gocache/lib/v4/store"
	redisstore "github.com/eko/gocache/store/redis/v4"
	ristrettostore "github.com/eko/gocache/store/ristretto/v4"
	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// GoCache is eko/gocache as its README puts the parts together: a loadable
// cache over a chain of Ristretto and Redis, and its marshaler (msgpack) on top,
// without which Redis cannot hold structs. The memory tier has as many counters
// as the README of Ristretto asks for, ten for each entry.
//
// A loadable cache has one load function for all keys, so the one of a call
// travels in its context. What is loaded is stored in the background, one after
// the other, so an Invalidate or a Set soon after a load may come too early.
// Memory is not told of changes; it gets the rest of a value's TTL from Redis in
// whole seconds, and keeps what has less than half a second left for good. It
// gets no tags from there, so what it has read from Redis outlives them. What
// does not exist is not remembered, and there are no batches. Loads are shared
// in the process. The goroutine of its chain cannot be ended.
type GoCache struct {
	rdb      *redis.ClusterClient
	memory   *ristretto.Cache
	loadable *cache.LoadableCache[any]
	marshal  *marshaler.Marshaler
	s        Settings
}

type loadKey struct{}

// loadOf is what a call of GetOrLoad has in its context.
type loadOf struct {
	id   string
	load Load
}

func openGoCache(ctx context.Context, s Settings) (Cache, error) {
	c, err := openGoRedisClient(ctx, s)
	if err != nil {
		return nil, err
	}
	g := &GoCache{rdb: c, s: s}
	tiers := []cache.SetterCacheInterface[any]{cache.New[any](redisstore.NewRedis(c, store.WithExpiration(s.TTL)))}
	if s.L1Size > 0 {
		g.memory, err = ristretto.NewCache(&ristretto.Config{NumCounters: int64(10 * s.L1Size), MaxCost: int64(s.L1Size), BufferItems: 64, IgnoreInternalCost: true})
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		l1 := cache.New[any](ristrettostore.NewRistretto(g.memory, store.WithExpiration(s.TTL), store.WithCost(1)))
		tiers = append([]cache.SetterCacheInterface[any]{l1}, tiers...)
	}
	g.loadable = cache.NewLoadable(g.load, cache.NewChain(tiers...))
	g.marshal = marshaler.New(g.loadable)
	return g, nil
}

// load runs the load of the call it is in.
func (g *GoCache) load(ctx context.Context, key any) (any, []store.Option, error) {
	l, ok := ctx.Value(loadKey{}).(loadOf)
	if !ok {
		return nil, nil, fmt.Errorf("no load for %v", key)
	}
	v, err := l.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	b, err := msgpack.Marshal(&v)
	return b, g.options(l.id, v), err
}

func (g *GoCache) options(id string, v subject.Product) []store.Option {
	o := []store.Option{store.WithExpiration(g.s.TTL), store.WithCost(1)}
	if g.s.Tags != nil {
		o = append(o, store.WithTags(g.s.Tags(id, v)))
	}
	return o
}

// Name implements Cache.
func (g *GoCache) Name() string { return "gocache" }

// GetOrLoad is Get of the marshaler.
func (g *GoCache) GetOrLoad(ctx context.Context, id string, load Load) (v subject.Product, err error) {
	_, err = g.marshal.Get(context.WithValue(ctx, loadKey{}, loadOf{id, load}), g.s.key(id), &v)
	return v, err
}

// Set implements Setter.
func (g *GoCache) Set(ctx context.Context, id string, v subject.Product) error {
	return g.marshal.Set(ctx, g.s.key(id), &v, g.options(id, v)...)
}

// Invalidate is Delete.
func (g *GoCache) Invalidate(ctx context.Context, id string) error {
	return g.marshal.Delete(ctx, g.s.key(id))
}

// InvalidateTag implements Tagger. It reads the set of the tag's keys and
// deletes one after the other.
func (g *GoCache) InvalidateTag(ctx context.Context, tag string) error {
	return g.marshal.Invalidate(ctx, store.WithInvalidateTags([]string{tag}))
}

// Close implements Cache. The memory tier is emptied and not closed: the
// goroutine of the chain, which goes on, would send on its closed channel.
func (g *GoCache) Close() error {
	err := g.loadable.Close()
	if g.memory != nil {
		g.memory.Clear()
	}
	return errors.Join(err, g.rdb.Close())
}

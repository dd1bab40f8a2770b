package peer

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"
	"github.com/viccon/sturdyc"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// Sturdy is sturdyc with the shards and the share of evictions of its README,
// which also stores that records are missing. Its continuous evictions are off,
// as the README suggests where capacity is not exceeded, because nothing ends
// their goroutine.
//
// With "+stale" it has the early refreshes of the README: in the background
// from four fifths of TTL on, and for as long as StaleFor after it. The README's
// base of the pauses between them, 10 ms, begins several refreshes of a value
// that takes longer than that to load: here it is a tenth of TTL. With "+redis"
// it has the distributed storage of the README behind it; with both, that
// storage refreshes early too.
//
// Memory is not told of changes, and loads are shared in the process only,
// with Redis or without. What is stored in Redis is stored in the background,
// so an Invalidate soon after a load may come too early, and an error of Redis
// is a miss, because the interface has no place for one.
type Sturdy struct {
	cache   *sturdyc.Client[subject.Product]
	storage *sturdyStorage // nil without Redis
	name    string
	s       Settings
}

func openSturdy(name string, withRedis, staleToo bool) func(context.Context, Settings) (Cache, error) {
	return func(_ context.Context, s Settings) (Cache, error) {
		c := &Sturdy{name: name, s: s}
		options := []sturdyc.Option{sturdyc.WithNoContinuousEvictions(), sturdyc.WithMissingRecordStorage()}
		keep := s.TTL
		if staleToo {
			keep += s.StaleFor
			early := time.Duration(earlyAfter * float64(s.TTL))
			options = append(options, sturdyc.WithEarlyRefreshes(early, s.TTL, keep, s.TTL/10))
		}
		if withRedis {
			client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: s.Addrs})
			if err != nil {
				return nil, err
			}
			c.storage = &sturdyStorage{client: client, ttl: keep, s: s}
			if staleToo {
				options = append(options, sturdyc.WithDistributedStorageEarlyRefreshes(c.storage, s.TTL))
			} else {
				options = append(options, sturdyc.WithDistributedStorage(c.storage))
			}
		}
		c.cache = sturdyc.New[subject.Product](max(1, s.L1Size), 10, keep, 10, options...)
		return c, nil
	}
}

// Name implements Cache.
func (c *Sturdy) Name() string { return c.name }

// GetOrLoad is GetOrFetch.
func (c *Sturdy) GetOrLoad(ctx context.Context, id string, load Load) (subject.Product, error) {
	v, err := c.cache.GetOrFetch(ctx, id, load)
	return v, c.err(err)
}

// err takes a value that could not be refreshed for one, as the README says
// one may, and has our name for one that does not exist.
func (c *Sturdy) err(err error) error {
	if err == nil || errors.Is(err, sturdyc.ErrOnlyCachedRecords) {
		return nil
	}
	return absent(err, sturdyc.ErrMissingRecord, sturdyc.ErrNotFound)
}

func sameKey(id string) string { return id }

// Many is GetOrFetchBatch.
func (c *Sturdy) Many(ctx context.Context, ids []string, load LoadMany) (map[string]subject.Product, error) {
	return c.cache.GetOrFetchBatch(ctx, ids, sameKey, load)
}

// Set stores in memory. The distributed storage gets only what is loaded, so
// with it what others have stored there is deleted first.
func (c *Sturdy) Set(ctx context.Context, id string, v subject.Product) error {
	if c.storage != nil {
		if err := c.storage.del(ctx, id); err != nil {
			return err
		}
	}
	c.cache.Set(id, v)
	return nil
}

// Invalidate is Delete, in Redis first and then in memory.
func (c *Sturdy) Invalidate(ctx context.Context, id string) (err error) {
	if c.storage != nil {
		err = c.storage.del(ctx, id)
	}
	c.cache.Delete(id)
	return err
}

// Close implements Cache.
func (c *Sturdy) Close() error {
	if c.storage != nil {
		c.storage.client.Close()
	}
	return nil
}

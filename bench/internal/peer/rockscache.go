package peer

import (
	"context"
	"errors"
	"time"

	"github.com/dtm-labs/rockscache"
	"github.com/redis/go-redis/v9"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// Rocks is rockscache with its default options, eventual consistency, on the
// cluster client of go-redis, and JSON, since it stores strings.
//
// Three things are not its defaults, so that it means the same by a TTL as the
// others: it is asked for TTL and Delay, because it takes off the latter; its
// jitter is a tenth of TTL and not of the sum, and none below 10 s, because it
// cuts off to whole seconds; and a lock lasts for LoadTimeout, as the comment of
// LockExpire asks for.
//
// It has no memory. Those who wait for another's load poll every 100 ms, but
// after an Invalidate the old value is served while a new one is loaded, for up
// to Delay, 10 s. Its batches are a script with keys of different slots, which a
// cluster refuses. Loads it has in the background do not end with Close.
type Rocks struct {
	rdb    *redis.ClusterClient
	client *rockscache.Client
	s      Settings
	expire time.Duration
}

func openRocks(ctx context.Context, s Settings) (Cache, error) {
	c, err := openGoRedisClient(ctx, s)
	if err != nil {
		return nil, err
	}
	o := rockscache.NewDefaultOptions()
	o.LockExpire = max(o.LockExpire, s.LoadTimeout)
	o.EmptyExpire = max(time.Second, s.NegativeTTL)
	expire := s.TTL + o.Delay
	o.RandomExpireAdjustment *= float64(s.TTL) / float64(expire)
	if s.TTL < 10*time.Second {
		o.RandomExpireAdjustment = 0
	}
	return &Rocks{rdb: c, client: rockscache.NewClient(c, o), s: s, expire: expire}, nil
}

// Name implements Cache.
func (r *Rocks) Name() string { return "rockscache" }

// GetOrLoad is Fetch, which has a context without an end. An empty string
// stands for what does not exist.
func (r *Rocks) GetOrLoad(ctx context.Context, id string, load Load) (v subject.Product, err error) {
	// Loads in the background have the context of the call that began them:
	// with one that ends when the request does, old values would stay for
	// Delay.
	ctx = context.WithoutCancel(ctx)
	text, err := r.client.Fetch2(ctx, r.s.key(id), r.expire, func() (string, error) {
		v, err := load(ctx)
		if err != nil {
			if errors.Is(err, ErrNotFound) {
				return "", nil
			}
			return "", err
		}
		b, err := encode(&v)
		return string(b), err
	})
	switch {
	case err != nil:
		return v, err
	case text == "":
		return v, ErrNotFound
	}
	return decode([]byte(text))
}

// Invalidate is TagAsDeleted.
func (r *Rocks) Invalidate(ctx context.Context, id string) error {
	return r.client.TagAsDeleted2(ctx, r.s.key(id))
}

// Close implements Cache.
func (r *Rocks) Close() error { return r.rdb.Close() }

package peer

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// Aside is rueidisaside with its typed client, made as its README does: the
// defaults of rueidis, JSON, and a nil value for what does not exist. That nil
// gets NegativeTTL by OverrideCacheTTL, which the README does not mention.
//
// Memory has the reply of Redis, which is decoded with every read. It has no
// stale values, no early refresh, no batches and no Set of its own. A call
// without a deadline ends after TTL.
type Aside struct {
	client rueidisaside.CacheAsideClient
	typed  rueidisaside.TypedCacheAsideClient[subject.Product]
	s      Settings
}

func openAside(_ context.Context, s Settings) (Cache, error) {
	c, err := rueidisaside.NewClient(rueidisaside.ClientOption{
		ClientOption: rueidis.ClientOption{InitAddress: s.Addrs},
	})
	if err != nil {
		return nil, err
	}
	return &Aside{client: c, s: s, typed: rueidisaside.NewTypedCacheAsideClient(c,
		func(v *subject.Product) (string, error) {
			b, err := encode(v)
			return rueidis.BinaryString(b), err
		},
		func(text string) (v *subject.Product, err error) {
			err = json.Unmarshal([]byte(text), &v)
			return v, err
		})}, nil
}

// Name implements Cache.
func (a *Aside) Name() string { return "rueidisaside" }

// GetOrLoad is Get of the typed client.
func (a *Aside) GetOrLoad(ctx context.Context, id string, load Load) (v subject.Product, err error) {
	p, err := a.typed.Get(ctx, a.s.TTL, a.s.key(id), func(ctx context.Context, _ string) (*subject.Product, error) {
		v, err := load(ctx)
		if err != nil && errors.Is(err, ErrNotFound) {
			rueidisaside.OverrideCacheTTL(ctx, a.s.NegativeTTL)
			return nil, nil
		}
		return &v, err
	})
	switch {
	case err != nil:
		return v, err
	case p == nil:
		return v, ErrNotFound
	}
	return *p, nil
}

// Invalidate is Del.
func (a *Aside) Invalidate(ctx context.Context, id string) error {
	return a.client.Del(ctx, a.s.key(id))
}

// Close implements Cache.
func (a *Aside) Close() error {
	a.client.Close()
	return nil
}

package subject

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"
)

// An Aside is rueidisaside, the cache-aside helper of rueidis: a value is in
// memory as the reply of Redis, and decoded with every read.
type Aside struct {
	raw   rueidisaside.CacheAsideClient
	typed rueidisaside.TypedCacheAsideClient[Product]
}

// OpenAside connects to a server.
func OpenAside(addr string) (*Aside, error) {
	c, err := rueidisaside.NewClient(rueidisaside.ClientOption{
		ClientOption: rueidis.ClientOption{InitAddress: []string{addr}},
	})
	if err != nil {
		return nil, err
	}
	return &Aside{raw: c, typed: rueidisaside.NewTypedCacheAsideClient(c,
		func(p *Product) (string, error) {
			b, err := json.Marshal(p)
			return string(b), err
		},
		func(s string) (*Product, error) {
			p, err := decode([]byte(s))
			return &p, err
		})}, nil
}

// Close ends the client.
func (a *Aside) Close() { a.raw.Close() }

func asideLoad(context.Context, string) (*Product, error) {
	p := theProduct
	return &p, nil
}

// Fill loads the products of ids.
func (a *Aside) Fill(ctx context.Context, ids []string) error {
	for range 2 { // the second time puts them into memory
		for _, id := range ids {
			if _, err := a.typed.Get(ctx, TTL, id, asideLoad); err != nil {
				return err
			}
		}
	}
	return nil
}

// Hit is a read of the typed client that finds its value in memory.
func (a *Aside) Hit(ids []string, run func(op func(int) error) Bench) Bench {
	ctx := context.Background()
	return run(func(i int) error {
		_, err := a.typed.Get(ctx, TTL, ids[i%len(ids)], func(context.Context, string) (*Product, error) {
			return nil, errors.New("a hit benchmark ran the loader")
		})
		return err
	})
}

// HitRaw is a read of the untyped client: the bytes, not decoded.
func (a *Aside) HitRaw(ids []string, run func(op func(int) error) Bench) Bench {
	ctx := context.Background()
	return run(func(i int) error {
		_, err := a.raw.Get(ctx, TTL, ids[i%len(ids)], func(context.Context, string) (string, error) {
			return "", errors.New("a hit benchmark ran the loader")
		})
		return err
	})
}

// Miss is a read of what is nowhere, with a free loader.
func (a *Aside) Miss(run func(op func(int) error) Bench) Bench {
	ctx := context.Background()
	return run(func(int) error {
		_, err := a.typed.Get(ctx, TTL, freshID(), asideLoad)
		return err
	})
}

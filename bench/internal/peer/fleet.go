package peer

import (
	"context"
	"errors"
	"strings"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

// FleetCache is fleetcache with the defaults of rc.Config, but for what
// Settings say: a memory tier of rc.DefaultL1Size, jitter of a tenth, early
// refresh by XFetch, one load per key in the fleet.
//
// With "+stale" a value is loaded again in the background once four fifths of
// its TTL have passed, and served for StaleFor after its end meanwhile.
type FleetCache struct {
	Manager *rc.Manager
	Service *rc.CacheService[subject.Product]
	name    string
}

// earlyAfter is the part of its TTL after which the flavours with "+stale"
// load a value again in the background.
const earlyAfter = 0.8

func openFleet(name string, staleToo bool) func(context.Context, Settings) (Cache, error) {
	return func(ctx context.Context, s Settings) (Cache, error) {
		cfg := rc.Config[subject.Product]{
			TTL: s.TTL, NegativeTTL: s.NegativeTTL, LoadTimeout: s.LoadTimeout, L1Size: s.L1Size, Tags: s.Tags,
		}
		if staleToo {
			cfg.StaleFor, cfg.EarlyFraction = s.StaleFor, earlyAfter
		}
		m, err := rc.Open(ctx, "redis://"+strings.Join(s.Addrs, ","), rc.Options{Prefix: s.Prefix, OpTimeout: s.OpTimeout})
		if err != nil {
			return nil, err
		}
		svc, err := rc.New(m, "products", cfg)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		return &FleetCache{Manager: m, Service: svc, name: name}, nil
	}
}

// Name implements Cache.
func (f *FleetCache) Name() string { return f.name }

// GetOrLoad is GetOrSet.
func (f *FleetCache) GetOrLoad(ctx context.Context, id string, load Load) (subject.Product, error) {
	v, err := f.Service.GetOrSet(ctx, id, load)
	if err != nil {
		err = absent(err, rc.ErrNotFound)
	}
	return v, err
}

// Many is GetOrSetMany.
func (f *FleetCache) Many(ctx context.Context, ids []string, load LoadMany) (map[string]subject.Product, error) {
	return f.Service.GetOrSetMany(ctx, ids, load)
}

// Set implements Setter.
func (f *FleetCache) Set(ctx context.Context, id string, v subject.Product) error {
	return f.Service.Set(ctx, id, v)
}

// Invalidate is Delete.
func (f *FleetCache) Invalidate(ctx context.Context, id string) error {
	return f.Service.Delete(ctx, id)
}

// InvalidateTag implements Tagger.
func (f *FleetCache) InvalidateTag(ctx context.Context, tag string) error {
	return f.Manager.InvalidateTag(ctx, tag)
}

// Close implements Cache.
func (f *FleetCache) Close() error { return f.Manager.Close() }

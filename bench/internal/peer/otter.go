package peer

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// Otter is otter as a loading cache, with expiry after the write. With "+stale"
// it has the refresh of its README too: in the background from four fifths of
// TTL on, and a value lasts for StaleFor longer.
//
// It is memory only: nothing is shared between processes, and an Invalidate is
// heard by nobody else. What does not exist is not remembered. Loads are shared
// in the process.
type Otter struct {
	cache *otter.Cache[string, subject.Product]
	name  string
}

func openOtter(name string, staleToo bool) func(context.Context, Settings) (Cache, error) {
	return func(_ context.Context, s Settings) (Cache, error) {
		o := &otter.Options[string, subject.Product]{
			MaximumSize:      max(1, s.L1Size),
			ExpiryCalculator: otter.ExpiryWriting[string, subject.Product](s.TTL),
			Logger:           quiet{},
		}
		if staleToo {
			o.ExpiryCalculator = otter.ExpiryWriting[string, subject.Product](s.TTL + s.StaleFor)
			o.RefreshCalculator = otter.RefreshWriting[string, subject.Product](time.Duration(earlyAfter * float64(s.TTL)))
		}
		c, err := otter.New(o)
		if err != nil {
			return nil, err
		}
		return &Otter{cache: c, name: name}, nil
	}
}

// quiet drops what refreshes that failed say.
type quiet struct{}

func (quiet) Warn(context.Context, string, error)  {}
func (quiet) Error(context.Context, string, error) {}

// A loader is a Load as otter wants it. It is a func and no closure around
// one, so that a hit allocates nothing for it.
type loader func(ctx context.Context) (subject.Product, error)

func (l loader) Load(ctx context.Context, _ string) (subject.Product, error) { return l(ctx) }

func (l loader) Reload(ctx context.Context, _ string, _ subject.Product) (subject.Product, error) {
	return l(ctx)
}

// Name implements Cache.
func (o *Otter) Name() string { return o.name }

// GetOrLoad is Get.
func (o *Otter) GetOrLoad(ctx context.Context, id string, load Load) (subject.Product, error) {
	v, err := o.cache.Get(ctx, id, loader(load))
	if err != nil {
		err = absent(err, otter.ErrNotFound)
	}
	return v, err
}

// Many is BulkGet.
func (o *Otter) Many(ctx context.Context, ids []string, load LoadMany) (map[string]subject.Product, error) {
	return o.cache.BulkGet(ctx, ids, otter.BulkLoaderFunc[string, subject.Product](load))
}

// Set implements Setter.
func (o *Otter) Set(_ context.Context, id string, v subject.Product) error {
	o.cache.Set(id, v)
	return nil
}

// Invalidate is Invalidate.
func (o *Otter) Invalidate(_ context.Context, id string) error {
	o.cache.Invalidate(id)
	return nil
}

// Close implements Cache.
func (o *Otter) Close() error {
	o.cache.StopAllGoroutines()
	return nil
}

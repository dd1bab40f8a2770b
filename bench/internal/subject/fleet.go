package subject

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// A Fleet is fleetcache: one Manager and one service.
type Fleet struct {
	Manager *rc.Manager
	Service *rc.CacheService[Product]
}

// OpTimeout is what benchmarks give fleetcache, raised: with some hundred goroutines on a busy machine the
// default ends operations that are only waiting for a core.
const OpTimeout = 5 * time.Second

// OpenFleet connects to a server. l1Size is rc.Config.L1Size.
func OpenFleet(ctx context.Context, addr string, l1Size int) (*Fleet, error) {
	m, err := rc.Open(ctx, "redis://"+addr, rc.Options{OpTimeout: OpTimeout})
	if err != nil {
		return nil, err
	}
	s, err := rc.New(m, "products", rc.Config[Product]{TTL: TTL, L1Size: l1Size})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &Fleet{Manager: m, Service: s}, nil
}

// Close ends the Manager.
func (f *Fleet) Close() error { return f.Manager.Close() }

// Fill stores the products of ids in Redis.
func (f *Fleet) Fill(ctx context.Context, ids []string) error {
	for len(ids) > 0 {
		n := min(512, len(ids))
		batch := make(map[string]Product, n)
		for i, id := range ids[:n] {
			batch[id] = NewProduct(int64(i))
		}
		if err := f.Service.SetMany(ctx, batch); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// Warm reads ids until all of them are in memory.
func (f *Fleet) Warm(ctx context.Context, ids []string) error {
	return awaitHits(ids, func(id string) (bool, error) {
		it, err := f.Service.Lookup(ctx, id)
		return it.Source == rc.FromL1, err
	})
}

// errLoaded is what the loader of hit benchmarks returns: it must not run.
var errLoaded = errors.New("a hit benchmark ran the loader")

func mustNotLoad(context.Context) (Product, error) { return Product{}, errLoaded }

// inMemory runs a benchmark of L1 hits and fails if more than one in a hundred
// went to Redis: a beat may be late on a busy machine, but then the run says
// something about Redis and not about L1.
func (f *Fleet) inMemory(run Bench) Bench {
	return func(b *testing.B) error {
		before := f.Service.Stats()
		err := run(b)
		after := f.Service.Stats()
		l1, l2 := after.L1Hits-before.L1Hits, after.L2Hits-before.L2Hits
		if err == nil && l2*100 > l1 {
			err = fmt.Errorf("%d of %d hits were not in memory", l2, l1+l2)
		}
		return err
	}
}

// Hit is GetOrSet of what is in memory, in one goroutine.
func (f *Fleet) Hit(ids []string) Bench {
	return f.inMemory(func(b *testing.B) (err error) {
		ctx, i, mask := context.Background(), 0, len(ids)-1
		b.ReportAllocs()
		for b.Loop() {
			if _, e := f.Service.GetOrSet(ctx, ids[i&mask], mustNotLoad); e != nil {
				err = e
			}
			i++
		}
		return err
	})
}

// HitGet is Get of what is in memory, in one goroutine.
func (f *Fleet) HitGet(ids []string) Bench {
	return f.inMemory(func(b *testing.B) (err error) {
		ctx, i, mask := context.Background(), 0, len(ids)-1
		b.ReportAllocs()
		for b.Loop() {
			if _, ok, e := f.Service.Get(ctx, ids[i&mask]); e != nil || !ok {
				err = errors.Join(errMiss, e)
			}
			i++
		}
		return err
	})
}

// HitParallel is GetOrSet of what is in memory, in one goroutine per core.
func (f *Fleet) HitParallel(ids []string) Bench {
	return f.inMemory(func(b *testing.B) error {
		errs := make(chan error, 1)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			ctx, i, mask := context.Background(), offset(len(ids)), len(ids)-1
			var err error
			for pb.Next() {
				if _, e := f.Service.GetOrSet(ctx, ids[i&mask], mustNotLoad); e != nil {
					err = e
				}
				i++
			}
			report(errs, err)
		})
		return first(errs)
	})
}

// Read is GetOrSet of what is in Redis. It fails if more than one read in
// twenty was answered from memory.
func (f *Fleet) Read(ids []string) Bench {
	ctx := context.Background()
	run := Parallel(PerCore, func(i int) error {
		_, err := f.Service.GetOrSet(ctx, ids[i%len(ids)], mustNotLoad)
		return err
	})
	return func(b *testing.B) error {
		before := f.Service.Stats()
		err := run(b)
		after := f.Service.Stats()
		if l1 := after.L1Hits - before.L1Hits; err == nil && l1*20 > uint64(b.N)+20 {
			err = fmt.Errorf("%d of %d reads were answered from memory", l1, b.N)
		}
		return err
	}
}

// Miss is GetOrSet of what is nowhere, with a free loader. It fails if a load
// was not stored: that would be less work.
func (f *Fleet) Miss(run func(op func(int) error) Bench) Bench {
	ctx := context.Background()
	body := run(func(int) error {
		_, err := f.Service.GetOrSet(ctx, freshID(), freeLoad)
		return err
	})
	return func(b *testing.B) error {
		before := f.Service.Stats()
		err := body(b)
		after := f.Service.Stats()
		if fills := after.Fills - before.Fills; err == nil && fills != uint64(b.N) {
			err = fmt.Errorf("%d of %d loads were stored", fills, b.N)
		}
		return err
	}
}

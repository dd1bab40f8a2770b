package subject

import (
	"context"
	"testing"

	"github.com/viccon/sturdyc"
)

// A Sturdy is sturdyc, an in-process cache with a loading API, no Redis.
type Sturdy struct{ cache *sturdyc.Client[Product] }

// NewSturdy returns a cache that has the products of ids. Its evictions are
// off, because nothing could end their goroutine.
func NewSturdy(size int, ids []string) *Sturdy {
	c := sturdyc.New[Product](size, 64, TTL, 10, sturdyc.WithNoContinuousEvictions())
	for i, id := range ids {
		c.Set(id, NewProduct(int64(i)))
	}
	return &Sturdy{cache: c}
}

// Hit is GetOrFetch of what is in memory.
func (s *Sturdy) Hit(ids []string, run func(op func(int) error) Bench) Bench {
	ctx := context.Background()
	return run(func(i int) error {
		_, err := s.cache.GetOrFetch(ctx, ids[i%len(ids)], mustNotLoad)
		return err
	})
}

// HitLoop is the same in one goroutine, without a call between.
func (s *Sturdy) HitLoop(ids []string) Bench {
	return func(b *testing.B) (err error) {
		ctx, i, mask := context.Background(), 0, len(ids)-1
		b.ReportAllocs()
		for b.Loop() {
			if _, e := s.cache.GetOrFetch(ctx, ids[i&mask], mustNotLoad); e != nil {
				err = e
			}
			i++
		}
		return err
	}
}

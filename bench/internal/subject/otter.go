package subject

import (
	"testing"

	"github.com/maypok86/otter/v2"
)

// An Otter is otter with entries that expire after they were written: the
// fastest in-process cache there is a reason to compare with. V is Product, as
// in every other subject, or *Product: otter copies a value several times for
// one read, so it is faster with pointers.
type Otter[V any] struct{ cache *otter.Cache[string, V] }

// NewOtter returns a cache that has the products of ids.
func NewOtter(size int, ids []string) *Otter[Product] {
	return newOtter(size, ids, NewProduct)
}

// NewOtterPointers returns a cache that has pointers to the products of ids.
func NewOtterPointers(size int, ids []string) *Otter[*Product] {
	return newOtter(size, ids, func(n int64) *Product {
		p := NewProduct(n)
		return &p
	})
}

func newOtter[V any](size int, ids []string, value func(int64) V) *Otter[V] {
	c := otter.Must(&otter.Options[string, V]{
		MaximumSize:      size,
		ExpiryCalculator: otter.ExpiryWriting[string, V](TTL),
	})
	for i, id := range ids {
		c.Set(id, value(int64(i)))
	}
	return &Otter[V]{cache: c}
}

// Close ends the cache's goroutine.
func (o *Otter[V]) Close() { o.cache.StopAllGoroutines() }

// Hit is GetIfPresent in one goroutine.
func (o *Otter[V]) Hit(ids []string) Bench {
	return func(b *testing.B) (err error) {
		i, mask := 0, len(ids)-1
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := o.cache.GetIfPresent(ids[i&mask]); !ok {
				err = errMiss
			}
			i++
		}
		return err
	}
}

// HitParallel is GetIfPresent in one goroutine per core.
func (o *Otter[V]) HitParallel(ids []string) Bench {
	return func(b *testing.B) error {
		errs := make(chan error, 1)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			var err error
			i, mask := offset(len(ids)), len(ids)-1
			for pb.Next() {
				if _, ok := o.cache.GetIfPresent(ids[i&mask]); !ok {
					err = errMiss
				}
				i++
			}
			report(errs, err)
		})
		return first(errs)
	}
}

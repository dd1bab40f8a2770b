package subject

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strconv"
	"sync"

	"github.com/maypok86/otter/v2"
)

// Overhead is what one cached entry costs, in bytes.
type Overhead struct {
	// Value is the value alone, as decoding makes it, boxed in an interface.
	Value float64
	// Fleet is what an entry of fleetcache's L1 costs beyond that, Otter what
	// one of otter with expiry costs beyond that. The identifier is the
	// caller's in both and not counted; its hash table slot is.
	Fleet, Otter float64
}

// MeasureOverhead fills memory with n entries, three times.
func MeasureOverhead(ctx context.Context, addr string, n int) (o Overhead, err error) {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = "memory:" + strconv.Itoa(i)
	}
	per := func(before uint64) float64 { return (float64(Heap()) - float64(before)) / float64(n) }
	if o.Value, err = valueBytes(n, per); err != nil {
		return o, err
	}
	fill, err := OpenFleet(ctx, addr, -1)
	if err != nil {
		return o, err
	}
	if err := errors.Join(fill.Fill(ctx, ids), fill.Close()); err != nil {
		return o, err
	}
	f, err := OpenFleet(ctx, addr, n+n/2)
	if err != nil {
		return o, err
	}
	before := Heap()
	if err := f.readAll(ctx, ids); err != nil {
		return o, errors.Join(err, f.Close())
	}
	o.Fleet = per(before) - o.Value
	if got := f.Manager.Stats().L1Entries; got < n {
		err = errors.New("only " + strconv.Itoa(got) + " of " + strconv.Itoa(n) + " entries are in memory")
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return o, err
	}
	o.Otter, err = otterBytes(ids, per)
	o.Otter -= o.Value
	return o, err
}

func decoded(i int) (Product, error) {
	b, err := json.Marshal(NewProduct(int64(i)))
	if err != nil {
		return Product{}, err
	}
	return decode(b)
}

func valueBytes(n int, per func(uint64) float64) (bytes float64, err error) {
	values := make([]any, n)
	before := Heap()
	for i := range values {
		p, err := decoded(i)
		if err != nil {
			return 0, err
		}
		values[i] = p
	}
	bytes = per(before)
	runtime.KeepAlive(values)
	return bytes, nil
}

func otterBytes(ids []string, per func(uint64) float64) (bytes float64, err error) {
	before := Heap()
	c := otter.Must(&otter.Options[string, Product]{
		MaximumSize:      len(ids) + len(ids)/2,
		ExpiryCalculator: otter.ExpiryWriting[string, Product](TTL),
	})
	for i, id := range ids {
		p, err := decoded(i)
		if err != nil {
			return 0, err
		}
		c.Set(id, p)
	}
	c.CleanUp()
	bytes = per(before)
	c.StopAllGoroutines()
	return bytes, nil
}

// readAll reads ids once, by as many goroutines as keep the connection busy.
func (f *Fleet) readAll(ctx context.Context, ids []string) error {
	return each(PerCore, len(ids), func(i int) error {
		_, err := f.Service.GetOrSet(ctx, ids[i], mustNotLoad)
		return err
	})
}

// each calls do with 0 to n-1, in several goroutines, until one call fails.
func each(goroutines, n int, do func(i int) error) error {
	var (
		mu   sync.Mutex // protects next, err
		next int
		err  error
		wg   sync.WaitGroup
	)
	take := func(e error) (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if e != nil && err == nil {
			err = e
		}
		next++
		return next - 1, next <= n && err == nil
	}
	for range goroutines {
		wg.Go(func() { // ends with the last number, or the first error
			for i, ok := take(nil); ok; {
				i, ok = take(do(i))
			}
		})
	}
	wg.Wait()
	return err
}

package compare

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// An Op is one operation of a benchmark. i is different in each call of one
// goroutine.
type Op = func(i int) error

// A Runner makes a benchmark of an operation: subject.Serial, Cores or Crowd.
type Runner = func(Op) subject.Bench

// Cores runs an operation in one goroutine per core.
func Cores(op Op) subject.Bench { return subject.Parallel(1, op) }

// Crowd runs it in so many that every connection's pipeline is full.
func Crowd(op Op) subject.Bench { return subject.Parallel(subject.PerCore, op) }

var errLoaded = errors.New("a read that should hit ran the load")

func mustNotLoad(context.Context) (subject.Product, error) { return subject.Product{}, errLoaded }

func noneMustLoad(context.Context, []string) (map[string]subject.Product, error) {
	return nil, errLoaded
}

var theProduct = subject.NewProduct(42)

func freeLoad(context.Context) (subject.Product, error) { return theProduct, nil }

// fresh numbers identifiers that no run has used before.
var fresh atomic.Int64

func freshID() string { return "fresh:" + strconv.FormatInt(fresh.Add(1), 10) }

// mask is what takes a number to the index of one of some identifiers. Their
// number is a power of two, so that this is no division.
func mask(ids []string) int {
	if len(ids)&(len(ids)-1) != 0 {
		panic(fmt.Sprintf("compare: %d identifiers are no power of two", len(ids)))
	}
	return len(ids) - 1
}

// Hit reads what is cached, whether in memory or in Redis. The number of ids, as
// of all benchmarks here, is a power of two.
func Hit(c peer.Cache, ids []string) Op {
	ctx, mask := context.Background(), mask(ids)
	return func(i int) error {
		_, err := c.GetOrLoad(ctx, ids[i&mask], mustNotLoad)
		return err
	}
}

// Absent reads what is known not to exist.
func Absent(c peer.Cache, ids []string) Op {
	ctx, mask := context.Background(), mask(ids)
	return func(i int) error {
		_, err := c.GetOrLoad(ctx, ids[i&mask], mustNotLoad)
		if errors.Is(err, peer.ErrNotFound) {
			return nil
		}
		return fmt.Errorf("a read of what does not exist returned: %w", err)
	}
}

// Miss reads what is nowhere, with a load that costs nothing.
func Miss(c peer.Cache) Op {
	ctx := context.Background()
	return func(int) error {
		_, err := c.GetOrLoad(ctx, freshID(), freeLoad)
		return err
	}
}

// HitMany reads n identifiers at once, all of which are cached.
func HitMany(c peer.Batcher, ids []string, n int) Op {
	ctx := context.Background()
	return func(i int) error {
		at := i * n % (len(ids) - n + 1)
		got, err := c.Many(ctx, ids[at:at+n], noneMustLoad)
		if err == nil && len(got) != n {
			err = fmt.Errorf("%d of %d values", len(got), n)
		}
		return err
	}
}

// HitLoop reads the same one after the other.
func HitLoop(c peer.Cache, ids []string, n int) Op {
	hit := Hit(c, ids)
	return func(i int) error {
		at := i * n % (len(ids) - n + 1)
		for k := range n {
			if err := hit(at + k); err != nil {
				return err
			}
		}
		return nil
	}
}

// MissMany reads n identifiers at once that are nowhere.
func MissMany(c peer.Batcher, n int) Op {
	ctx := context.Background()
	load := func(_ context.Context, missing []string) (map[string]subject.Product, error) {
		out := make(map[string]subject.Product, len(missing))
		for _, id := range missing {
			out[id] = theProduct
		}
		return out, nil
	}
	return func(int) error {
		ids := make([]string, n)
		for k := range ids {
			ids[k] = freshID()
		}
		got, err := c.Many(ctx, ids, load)
		if err == nil && len(got) != n {
			err = fmt.Errorf("%d of %d values", len(got), n)
		}
		return err
	}
}

// MissLoop reads as many one after the other.
func MissLoop(c peer.Cache, n int) Op {
	miss := Miss(c)
	return func(i int) error {
		for range n {
			if err := miss(i); err != nil {
				return err
			}
		}
		return nil
	}
}

// Set stores values, over others.
func Set(c peer.Setter, ids []string) Op {
	ctx, mask := context.Background(), mask(ids)
	return func(i int) error { return c.Set(ctx, ids[i&mask], theProduct) }
}

// Delete invalidates identifiers.
func Delete(c peer.Cache, ids []string) Op {
	ctx, mask := context.Background(), mask(ids)
	return func(i int) error { return c.Invalidate(ctx, ids[i&mask]) }
}

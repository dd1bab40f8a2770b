package scaling

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// zipf is how much more often than others the first keys are asked for.
const zipf = 1.1

// mix makes requests, one after the other.
func (in *instance) mix(ctx context.Context, a mixArgs) (out mixed, err error) {
	random := rand.New(rand.NewPCG(a.Seed, 1))
	keys := rand.NewZipf(random, zipf, 1, uint64(a.Keys-1))
	product := subject.NewProduct(1)
	load := func(context.Context) (subject.Product, error) { return product, nil }
	if a.Warm {
		for i := range a.Keys {
			if _, err := in.service.GetOrSet(ctx, mixID(uint64(i)), load); err != nil {
				return out, err
			}
		}
	}
	before, cpu := in.service.Stats(), ownUsage().cpu
	out.Began = workers.Now()
	for range a.Requests {
		id := mixID(keys.Uint64())
		if random.Float64() < a.Writes {
			out.Writes++
			err = in.service.Delete(ctx, id)
		} else {
			out.Reads++
			var p subject.Product
			if p, err = in.service.GetOrSet(ctx, id, load); err == nil && p.ID != product.ID {
				err = fmt.Errorf("%s is product %d", id, p.ID)
			}
		}
		if err != nil {
			return out, err
		}
	}
	out.Ended = workers.Now()
	after, usage := in.service.Stats(), ownUsage()
	out.CPU, out.Resident = usage.cpu-cpu, usage.resident
	out.L1, out.L2, out.Misses = after.L1Hits-before.L1Hits, after.L2Hits-before.L2Hits, after.Misses-before.Misses
	if after.DegradedLoads != before.DegradedLoads || after.InvalidationErrors != before.InvalidationErrors {
		return out, fmt.Errorf("Redis did not answer all: %+v", after)
	}
	return out, nil
}

func mixID(i uint64) string { return "mix:" + strconv.FormatUint(i, 10) }

// expire lets callers ask for a value, all at the time given.
func (in *instance) expire(ctx context.Context, a expireArgs) (out expired, err error) {
	var (
		loads   atomic.Int64
		slowest atomic.Int64
		wg      sync.WaitGroup
		errs    = make(chan error, a.Callers) // one of each
	)
	next := subject.NewProduct(a.N + 1)
	load := func(ctx context.Context) (subject.Product, error) {
		loads.Add(1)
		select {
		case <-time.After(time.Duration(a.Load)):
			return next, nil
		case <-ctx.Done():
			return subject.Product{}, ctx.Err()
		}
	}
	time.Sleep(time.Duration(a.At - workers.Now()))
	for range a.Callers {
		wg.Go(func() {
			began := workers.Now()
			p, err := in.service.GetOrSet(ctx, a.ID, load)
			took := workers.Now() - began
			for s := slowest.Load(); took > s && !slowest.CompareAndSwap(s, took); s = slowest.Load() {
			}
			if err == nil && p.ID != next.ID {
				err = fmt.Errorf("%s is product %d after its time has ended, want %d", a.ID, p.ID, next.ID)
			}
			if err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return expired{int(loads.Load()), slowest.Load()}, <-errs
}

package scaling

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/rc"
)

// pair is two Managers of one deployment: what the first has in memory, the
// second reads from Redis, because it keeps nothing.
type pair struct{ near, far *rc.Manager }

func openPair(ctx context.Context, url string, end *rounds.Closers) (p pair, err error) {
	for _, m := range []**rc.Manager{&p.near, &p.far} {
		if *m, err = rc.Open(ctx, url, rc.Options{OpTimeout: opTimeout}); err != nil {
			return p, err
		}
		end.Add((*m).Close)
	}
	return p, nil
}

// services is the same namespace in both Managers of a pair.
type services[T any] struct{ near, far *rc.CacheService[T] }

// in makes both services. l1 is how many values the first keeps in memory.
func in[T any](p pair, namespace string, cfg rc.Config[T], l1 int) (s services[T], err error) {
	cfg.L1Size = l1
	s.near, err = rc.New(p.near, namespace, cfg)
	if err != nil {
		return s, err
	}
	cfg.L1Size = rc.Off
	s.far, err = rc.New(p.far, namespace, cfg)
	return s, err
}

// warm reads ids until all are in the memory of the first service. What was read
// before the first beat of a connection was answered is not kept.
func (s services[T]) warm(ctx context.Context, ids []string) error {
	const passes = 20
	for range passes {
		var missed atomic.Int64
		_, err := parallel(len(ids), func(i int) error {
			it, err := s.near.Lookup(ctx, ids[i])
			switch {
			case err != nil:
				return err
			case !it.Found:
				return fmt.Errorf("value %s is not there", ids[i])
			case it.Source != rc.FromL1:
				missed.Add(1)
			}
			return nil
		})
		if err != nil || missed.Load() == 0 {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(min(100*time.Millisecond, time.Duration(missed.Load())*time.Millisecond)) // for a beat
	}
	return fmt.Errorf("not all of %d values are in memory after %d passes", len(ids), passes)
}

// hits returns the microseconds of one hit in memory. A read that went to Redis
// takes as long as a thousand hits, so that one in ten thousand is too many: a
// beat was late, and it is measured again.
func (s services[T]) hits(ctx context.Context, n int, id func(i int) string) (us float64, err error) {
	load := mustNotLoad[T]
	for range 10 {
		err = expect(s.near, "hits in memory", l1Hits, n, 0.9999, func() error {
			us, err = serial(n, func(i int) error {
				_, err := s.near.GetOrSet(ctx, id(i), load)
				return err
			})
			return err
		})
		if !errors.Is(err, errOther) {
			break
		}
	}
	return us, err
}

// reads returns the microseconds of one hit in Redis, of n that how makes.
func (s services[T]) reads(ctx context.Context, n int, how func(int, func(int) error) (float64, error), id func(i int) string) (us float64, err error) {
	load := mustNotLoad[T]
	err = expect(s.far, "hits in Redis", l2Hits, n, 1, func() error {
		us, err = how(n, func(i int) error {
			_, err := s.far.GetOrSet(ctx, id(i), load)
			return err
		})
		return err
	})
	return us, err
}

// fills returns the microseconds of one read that finds nothing, loads v for
// free and stores it.
func (s services[T]) fills(ctx context.Context, n int, v T, id func(i int) string) (us float64, err error) {
	load := func(context.Context) (T, error) { return v, nil }
	err = expect(s.near, "fills", fills, n, 1, func() error {
		us, err = serial(n, func(i int) error {
			_, err := s.near.GetOrSet(ctx, id(i), load)
			return err
		})
		return err
	})
	return us, err
}

func mustNotLoad[T any](context.Context) (v T, err error) { return v, errLoaded }

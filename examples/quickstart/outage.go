package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// errorBackoff is for how long the library does not repeat a failed load.
const errorBackoff = rc.DefaultErrorBackoff

// actRedis cuts the links to Redis, reads and renames products meanwhile, and
// mends them.
func (s *show) actRedis(ctx context.Context) error {
	s.title(5, "redis down", "the links of all instances to Redis are cut")
	names, err := s.warm(ctx, products(outageProduct))
	if err != nil {
		return err
	}
	s.store.ResetCounts()
	const next = "renamed in the dark"
	h := &healing{old: names[0], writer: s.instances[0]}
	began, cut := time.Now(), s.links.cut()
	defer s.links.mend()
	c := s.startCrowd(ctx, products(outageProduct), h.seen)
	defer c.leave()
	// What was on its way when the links were cut is tried again until its
	// OpTimeout is over.
	if err := s.watch(ctx, c, 2*s.opTimeout, c.answered); err != nil {
		return err
	}
	first := time.Since(began)
	if err := s.watch(ctx, c, s.ttl/2, nil); err != nil {
		return err
	}
	renamed := h.writer.products.Rename(ctx, outageProduct, next)
	h.renamedAt.Store(time.Now().UnixNano())
	if err := s.askForUncached(ctx, c); err != nil {
		return err
	}
	dark, behind := c.answers.Load(), h.behind.Load()
	bound, most := instanceCount*fallbackLoads, s.store.MaxConcurrent()
	s.fact("%s cut, %s answers without Redis, the first after %s; %s", plural(cut, "connection", "connections"), count(dark), brief(first), s.queries())
	s.fact("renamed on one instance; the others could not know: %s with the old name", plural(behind, "answer", "answers"))

	s.links.mend()
	healed, ok := s.until(ctx, s.healLimit, func(ctx context.Context, in *instance) bool {
		p, err := in.products.GetProduct(ctx, outageProduct)
		return err == nil && p.Name == next
	})
	h.healedAt.Store(time.Now().UnixNano())
	if err := s.watch(ctx, c, s.ttl/2, nil); err != nil {
		return err
	}
	c.leave()
	s.result.errors += c.errors.Load()
	late := h.late()
	s.result.staleAfterBound += late

	s.claim(dark > 0 && c.errors.Load() == 0, "answers kept coming, no errors")
	s.claim(most <= bound, "at most %s at a time (limit %d)", plural(most, "query", "queries"), bound)
	var inv *rc.InvalidationError
	s.claim(errors.As(renamed, &inv) && inv.Queued, "Delete said that it could not be delivered, and is queued")
	s.claim(h.own.Load() == 0, "the instance that renamed the product never saw the old name again")
	s.claim(ok, "%sall instances had the new name %s after the links were back", unless(ok), brief(healed))
	s.claim(h.again.Load() == 0 && late == 0, "and kept it")
	return nil
}

// askForUncached asks each instance at once for many products that nobody has
// cached.
func (s *show) askForUncached(ctx context.Context, c *crowd) error {
	var wg sync.WaitGroup
	var failed atomic.Int64
	for _, in := range s.instances {
		for i := range s.cold {
			wg.Go(func() {
				if _, err := in.products.GetProduct(ctx, int64(firstUncached+i)); err != nil {
					failed.Add(1)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { // ends with the calls
		wg.Wait()
		close(done)
	}()
	err := s.watch(ctx, c, time.Minute, done)
	<-done
	c.errors.Add(failed.Load())
	return err
}

// healing looks at the answers before, during and after an outage.
type healing struct {
	old    string
	writer *instance

	renamedAt, healedAt atomic.Int64 // Unix nanoseconds, 0 until then
	own                 atomic.Int64 // old names on the writer after it renamed
	behind              atomic.Int64 // old names on the others after that
	again               atomic.Int64 // old names after all instances had the new one
	lastOld             atomic.Int64 // when the last read began that got the old name
}

func (h *healing) seen(a answer) {
	if a.product.Name != h.old {
		return
	}
	began := a.began.UnixNano()
	raise(&h.lastOld, began)
	if t := h.renamedAt.Load(); t != 0 && began > t {
		if a.from == h.writer {
			h.own.Add(1)
		} else {
			h.behind.Add(1)
		}
	}
	if t := h.healedAt.Load(); t != 0 && began > t {
		h.again.Add(1)
	}
}

// late returns 1 if a read got the old name that began more than the bound
// after the queued invalidation was delivered, else 0.
func (h *healing) late() int64 {
	delivered := h.writer.events.replayedAt.Load()
	if delivered != 0 && h.lastOld.Load()-delivered > int64(maxStaleness) {
		return 1
	}
	return 0
}

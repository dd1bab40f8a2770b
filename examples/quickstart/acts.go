package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The products that the acts are about.
const (
	coldProduct    = 1
	expiryProduct  = 2
	updateProduct  = 3
	failingProduct = 4
	outageProduct  = 5
	firstUncached  = 100
)

// products and offers return a read of a product through an instance.
func products(id int64) func(context.Context, *instance) (Product, error) {
	return func(ctx context.Context, in *instance) (Product, error) { return in.products.GetProduct(ctx, id) }
}

func offers(id int64) func(context.Context, *instance) (Product, error) {
	return func(ctx context.Context, in *instance) (Product, error) { return in.offers.GetProduct(ctx, id) }
}

// actCold lets all callers ask for a product at the same time that nobody has
// cached.
func (s *show) actCold(ctx context.Context) error {
	s.title(1, "cold", "%s callers on each instance ask for one product at once", count(s.callers))
	var wrong, errors atomic.Int64
	start := make(chan struct{})
	var wg sync.WaitGroup
	for _, in := range s.instances {
		for range s.callers {
			wg.Go(func() {
				<-start
				p, err := in.products.GetProduct(ctx, coldProduct)
				switch {
				case err != nil:
					errors.Add(1)
				case p.ID != coldProduct || p.Name == "":
					wrong.Add(1)
				}
			})
		}
	}
	began := time.Now()
	close(start)
	wg.Wait()
	took := time.Since(began)
	s.result.loadsCold = s.store.Queries()
	s.result.errors += errors.Load()
	s.fact("%s answers in %s, %s", count(instanceCount*s.callers), brief(took), s.queries())
	s.claim(s.result.loadsCold == 1, "one query for all of them")
	s.claim(wrong.Load()+errors.Load() == 0, "everybody got the product")
	return nil
}

// actExpiry reads a product all the time while it expires several times.
func (s *show) actExpiry(ctx context.Context) error {
	s.title(2, "expiry", "a product is fresh for %s and is read all the time", brief(s.ttl))
	if _, err := s.warm(ctx, offers(expiryProduct)); err != nil {
		return err
	}
	s.store.ResetCounts()
	waited := s.waited()
	c := s.startCrowd(ctx, offers(expiryProduct), nil)
	defer c.leave()
	if err := s.watch(ctx, c, s.ttl*7/2, nil); err != nil {
		return err
	}
	c.leave()
	waited = s.waited() - waited

	bursts := s.store.Bursts(s.ttl / 2)
	if len(bursts) > 0 {
		s.result.loadsExpiry = slices.Max(bursts)
	}
	s.result.errors += c.errors.Load()
	s.fact("%s answers, %s, %s", count(c.answers.Load()), plural(len(bursts), "expiry", "expiries"), s.queries())
	slowest, note := time.Duration(c.slowest.Load()), ""
	if slowest > s.queryTime && waited == 0 {
		note = ", but it did not wait for one"
	}
	s.fact("the slowest answer took %s, a query takes %s%s", brief(slowest), s.queryTime, note)
	s.claim(s.result.loadsExpiry == 1 && len(bursts) >= 2, "one query per expiry")
	s.claim(waited == 0, "nobody waited for a query")
	s.claim(c.errors.Load() == 0, "no errors")
	return nil
}

// actUpdate renames a product on one instance and watches the others, in many
// rounds.
func (s *show) actUpdate(ctx context.Context) error {
	s.title(3, "update", "a product is renamed on one instance, %s times", count(s.rounds))
	before := s.result.staleAfterBound
	names, err := s.warm(ctx, products(updateProduct))
	if err != nil {
		return err
	}
	var own, again int
	for n, old := 0, names[0]; n < s.rounds; n++ {
		next := fmt.Sprintf("renamed %d times", n+1)
		r, err := s.updateRound(ctx, s.instances[n%instanceCount], old, next)
		if err != nil {
			s.quiet()
			return err
		}
		old = next
		s.result.lags = append(s.result.lags, r.lags...)
		s.result.staleAfterBound += r.late
		if r.own {
			own++
		}
		again += r.again
		s.live("%s of %s", count(n+1), count(s.rounds))
	}
	s.quiet()
	slices.Sort(s.result.lags)
	lags := s.result.lags
	s.fact("the other three had the old name for %s after Delete returned (median),",
		brief(lags[len(lags)/2]))
	s.fact("%s at 99 %%, %s at most; %s", brief(lags[len(lags)*99/100]), brief(lags[len(lags)-1]), s.queries())
	s.claim(s.result.staleAfterBound == before, "nobody saw the old name after %s", maxStaleness)
	s.claim(own == 0, "the instance that renamed it saw the new name at once")
	s.claim(again == 0, "once gone, the old name never came back")
	s.claim(s.store.Queries() == s.rounds+1, "one query per update")
	return nil
}

// actDatabase reads a product while it expires and the database fails.
func (s *show) actDatabase(ctx context.Context) error {
	s.title(4, "database down", "queries fail, and the product expires")
	if _, err := s.warm(ctx, offers(failingProduct)); err != nil {
		return err
	}
	s.store.ResetCounts()
	stale, _ := s.staleServed()
	s.store.Fail(true)
	c := s.startCrowd(ctx, offers(failingProduct), nil)
	defer c.leave()
	if err := s.watch(ctx, c, s.ttl*2, nil); err != nil {
		return err
	}
	queries := s.store.Queries()
	after, oldest := s.staleServed()
	stale = after - stale

	s.store.Fail(false)
	healed, ok := s.until(ctx, s.healLimit, func(ctx context.Context, in *instance) bool {
		fresh, err := in.offers.IsFresh(ctx, failingProduct)
		return err == nil && fresh
	})
	c.leave()
	s.result.errors += c.errors.Load()
	s.fact("%s answers, %s of them stale, up to %s old; %s tried", count(c.answers.Load()),
		count(stale), brief(oldest), plural(queries, "query", "queries"))
	s.claim(stale > 0 && c.errors.Load() == 0, "stale answers instead of errors")
	s.claim(queries > 0 && queries <= 2+int(s.ttl*2/errorBackoff), "the failing database was not hammered")
	s.claim(ok, "%sfresh again on all instances %s after it came back", unless(ok), brief(healed))
	return nil
}

package rc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/flight"
	"github.com/fleetcache/fleetcache/internal/lease"
)

// claim claims the missing items. It returns those to be loaded here, and
// those that somebody else loads, has just loaded, or failed to load.
func (b *batch) claim(ctx context.Context, missing []*item) (own, elsewhere []*item) {
	c := b.c
	var ask []*item
	var claims []lease.Claim
	for _, it := range missing {
		if it.cause != nil {
			own = append(own, it) // without a token: loaded, not stored
			continue
		}
		cl := lease.Claim{Key: it.k.rk, Token: newToken()}
		if it.d != nil {
			cl.Seen = it.d.seen
		}
		ask, claims = append(ask, it), append(claims, cl)
	}
	var lost []lease.Claim
	octx, cancel := c.m.opMany(ctx, len(ask))
	defer cancel()
	for i, g := range c.m.redis.AcquireMany(octx, claims, c.cfg.lease) {
		it := ask[i]
		switch {
		case g.Err != nil:
			it.cause = c.m.done(ctx, c.m.topo.For(it.k.rk), g.Err)
			own, lost = append(own, it), append(lost, claims[i])
		case g.State == lease.Granted:
			it.token = claims[i].Token
			own = append(own, it)
		default:
			elsewhere = append(elsewhere, it)
		}
	}
	c.giveBackLater(ctx, lost) // they may have been granted, and the answers lost
	return own, elsewhere
}

// await brings the items that others load, each on the way of a single one.
func (b *batch) await(ctx context.Context, items []*item) {
	slots := make(chan struct{}, manyWaiters)
	var wg sync.WaitGroup
	for _, it := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			defer func() {
				if p := recover(); p != nil { // of a loader: an error of its identifier
					b.fail(it.k.id, fmt.Errorf("rc: load %s: panic: %v", b.c.name(it.k), p))
				}
			}()
			a, err := b.c.await(ctx, b.single(it), it.d)
			if err != nil {
				b.fail(it.k.id, err)
				return
			}
			b.put(it.k.id, a)
		})
	}
	wg.Wait()
}

// loadOwn loads the items of this process with one call, and stores what it
// holds a claim for. The error, if any, is a panic of the loader.
func (b *batch) loadOwn(ctx context.Context, own []*item) error {
	if len(own) == 0 {
		return nil
	}
	c := b.c
	defer b.unlock(own)
	b.capture(ctx, own)
	degraded := slices.ContainsFunc(own, func(it *item) bool { return it.token == "" })
	if degraded {
		release, err := c.fallbackSlot(ctx, len(own))
		if err != nil {
			b.giveUp(ctx, own, err)
			return nil
		}
		defer release()
	}
	m, l := b.run(ctx, own, degraded)
	if l.err == nil {
		b.store(ctx, own, m, l)
		return nil
	}
	b.giveUp(ctx, own, l.err)
	var p *flight.PanicError
	if errors.As(l.err, &p) {
		return p
	}
	return nil
}

// capture reads the tokens before the load. Where they cannot be read, the claims
// are given back: nothing may be stored.
func (b *batch) capture(ctx context.Context, own []*item) {
	var keys []string
	for _, it := range own {
		if it.token != "" {
			keys = append(keys, it.k.rk)
		}
	}
	if len(keys) == 0 {
		return
	}
	var err error
	b.before, err = b.c.capture(ctx, keys, b.o.tags)
	var lost []*item
	for _, it := range own {
		cause := err
		if cause == nil && it.token != "" {
			cause = b.before.ns[b.c.nsGroup(it.k.rk)].err
		}
		if it.token != "" && cause != nil {
			lost, it.cause = append(lost, it), cause
		}
	}
	b.release(ctx, lost, "")
	for _, it := range lost {
		it.token = ""
	}
}

// giveUp ends items that could not be loaded.
func (b *batch) giveUp(ctx context.Context, own []*item, err error) {
	c := b.c
	b.release(ctx, own, c.backoffText(ctx, err))
	for _, it := range own {
		if it.d.grade(c.m.now(), b.o.maxStale) >= fallback {
			b.put(it.k.id, c.serveStale(ctx, it.k.id, it.d, StaleLoadFailed))
		} else {
			b.fail(it.k.id, err)
		}
	}
}

// run runs the loader and prolongs the claims meanwhile.
func (b *batch) run(ctx context.Context, own []*item, degraded bool) (map[string]any, loaded) {
	c := b.c
	ids := make([]string, len(own))
	var claims []lease.Claim
	for i, it := range own {
		ids[i] = it.k.id
		if it.token != "" {
			claims = append(claims, lease.Claim{Key: it.k.rk, Token: it.token})
		}
	}
	r := c.beginMany(ctx, ids, b.underLocks(own), degraded)
	tick := time.NewTicker(c.cfg.lease / 3)
	defer tick.Stop()
	for {
		select {
		case l := <-r.done:
			l = r.end(l)
			m, _ := l.value.(map[string]any)
			return m, l
		case <-r.ctx.Done():
			return nil, r.end(r.givenUp())
		case <-tick.C:
			if len(claims) > 0 {
				octx, cancel := c.m.opMany(ctx, len(claims))
				c.m.redis.ExtendMany(octx, claims, c.cfg.lease)
				cancel()
			}
		}
	}
}

// release gives the claims of a batch back.
func (b *batch) release(ctx context.Context, own []*item, text string) {
	var claims []lease.Claim
	for _, it := range own {
		if it.token != "" {
			claims = append(claims, lease.Claim{Key: it.k.rk, Token: it.token})
		}
	}
	b.c.giveBack(ctx, claims, text)
}

// giveBack is core.release of many claims.
func (c *core) giveBack(ctx context.Context, claims []lease.Claim, text string) {
	if len(claims) == 0 {
		return
	}
	octx, cancel := c.m.opMany(context.WithoutCancel(ctx), len(claims))
	defer cancel()
	c.m.redis.ReleaseMany(octx, claims, text, c.cfg.errorBackoff)
}

// giveBackLater gives claims back that nothing will be stored under, without
// delay for those who have their values: others need not wait for their end.
func (c *core) giveBackLater(ctx context.Context, claims []lease.Claim) {
	if len(claims) > 0 {
		c.m.wg.Go(func() { c.giveBack(ctx, claims, "") })
	}
}

// store answers the loaded items and stores them under their claims. An
// identifier that the loader did not return does not exist at the source; one
// that it returned unasked is ignored.
func (b *batch) store(ctx context.Context, own []*item, m map[string]any, l loaded) {
	c := b.c
	ctx = context.WithoutCancel(l.ctx)
	defer func() {
		if p := recover(); p != nil { // as in core.settle
			b.release(ctx, own, "")
			panic(p)
		}
	}()
	ttl, version, skip, added := l.info.get()
	var (
		filled []*item
		writes []lease.Write
		tokens []string
		cands  []*cand
		drop   []*item
	)
	c.warmValues(ctx, m, added)
	for _, it := range own {
		v, ok := m[it.k.id]
		p := parcel{k: it.k, value: v, negative: !ok, ttl: c.cfg.ttl, load: l.took, version: version}
		switch {
		case !ok:
			p.ttl, p.version = c.cfg.negativeTTL, 0
			c.n.notFound.Add(1)
		case ttl > 0:
			p.ttl, p.exact = ttl, true
		case b.o.ttl > 0:
			p.ttl = b.o.ttl
		}
		b.put(it.k.id, answer{value: v, negative: !ok})
		if it.token == "" {
			continue
		}
		if ok && version == 0 && c.types.version != nil {
			p.version = c.types.version(v)
		}
		if skip || p.ttl <= 0 {
			drop = append(drop, it)
			c.refused(ctx, b.single(it), FillUnwanted, nil)
			continue
		}
		if err := c.tag(ctx, &p, b.before, b.o.tags, added); err != nil {
			drop = append(drop, it)
			c.refused(ctx, b.single(it), stampReason(err), err)
			continue
		}
		w, d, err := c.pack(p)
		if err != nil {
			drop = append(drop, it)
			c.refused(ctx, b.single(it), packReason(err), err)
			continue
		}
		filled, writes = append(filled, it), append(writes, w)
		tokens, cands = append(tokens, it.token), append(cands, d)
	}
	b.release(ctx, drop, "")
	b.fill(ctx, filled, writes, tokens, cands)
}

func packReason(err error) FillReason {
	if errors.Is(err, ErrTooLarge) {
		return FillTooLarge
	}
	return FillUnencodable
}

func (b *batch) fill(ctx context.Context, items []*item, writes []lease.Write, tokens []string, cands []*cand) {
	if len(items) == 0 {
		return
	}
	c := b.c
	var lost []lease.Claim
	octx, cancel := c.m.opMany(ctx, len(items))
	defer cancel()
	for i, w := range c.m.redis.FillMany(octx, writes, tokens) {
		it := items[i]
		switch {
		case w.Err != nil:
			c.refused(ctx, b.single(it), FillFailed, c.m.done(ctx, c.m.topo.For(it.k.rk), w.Err))
			lost = append(lost, lease.Claim{Key: it.k.rk, Token: tokens[i]})
		case w.Outcome == lease.Refused:
			c.refused(ctx, b.single(it), FillVoided, nil)
		case w.Outcome == lease.Superseded:
			c.refused(ctx, b.single(it), FillSuperseded, nil)
		default:
			c.filled(ctx, it.k.id)
			c.keep(it.k, w.Entry, cands[i], c.m.queue.holds(it.k.rk))
		}
	}
	c.giveBackLater(ctx, lost)
}

// beginMany is [core.begin] for a batch.
func (c *core) beginMany(ctx context.Context, ids []string, load func(context.Context, []string) (map[string]any, error), degraded bool) *running {
	r := &running{c: c, began: c.m.now(), done: make(chan loaded, 1)}
	r.event = LoadStartEvent{Namespace: c.ns, IDs: ids, Degraded: degraded}
	r.start(ctx, &timeoutError{core: c, many: len(ids)}, func(ctx context.Context) (any, error) { return load(ctx, ids) })
	return r
}

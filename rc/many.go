package rc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/flight"
	"github.com/fleetcache/fleetcache/internal/lease"
)

// manyWaiters bounds how many identifiers of a batch wait for other processes
// side by side.
const manyWaiters = 64

// batch is one GetOrSetMany on its way.
type batch struct {
	c    *core
	o    call
	load func(context.Context, []string) (map[string]any, error)

	mu     sync.Mutex // protects values, errs
	values map[string]any
	errs   map[string]error
}

// item is one identifier of a batch.
type item struct {
	k     keyed
	d     *cand
	cause error // why Redis cannot be used for it
	token string
}

func (b *batch) put(id string, a answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !a.negative {
		b.values[id] = a.value
	}
}

func (b *batch) fail(id string, err error) {
	if errors.Is(err, ErrNotFound) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs[id] = err
}

// getOrSetMany brings the values of many identifiers. Those that are not
// cached and that nobody else loads are loaded with one call.
func (c *core) getOrSetMany(ctx context.Context, ids []string, load func(context.Context, []string) (map[string]any, error), opts []Opt) (map[string]any, error) {
	o, err := c.call(opts)
	if err != nil {
		return nil, err
	}
	if c.m.closed.Load() {
		return nil, ErrClosed
	}
	b := &batch{c: c, o: o, load: load, values: make(map[string]any, len(ids)), errs: map[string]error{}}
	missing := b.cached(ctx, b.items(ids))
	if len(missing) > 0 {
		// A flight of its own: the caller can leave, and claims are kept.
		key := "\x00batch " + strconv.FormatUint(c.batches.Add(1), 10)
		_, _, err := c.flights.Do(ctx, key, func(ctx context.Context, fc *flight.Call) (any, error) {
			return nil, b.bring(ctx, fc, missing)
		})
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, flight.ErrClosed) || errors.Is(err, ErrClosed):
			return nil, ErrClosed
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return b.values, (&ManyError{Errs: b.errs}).orNil()
}

// bring loads the missing items that nobody else loads, and waits for the
// others. The error, if any, is a panic of the loader.
func (b *batch) bring(ctx context.Context, fc *flight.Call, missing []*item) error {
	own, elsewhere := b.claim(ctx, missing)
	if ctx.Err() != nil {
		b.release(ctx, own, "")
		return context.Cause(ctx)
	}
	for _, it := range own {
		if it.token != "" {
			fc.Finish() // other processes may be waiting for it
			break
		}
	}
	var wg sync.WaitGroup
	if len(elsewhere) > 0 {
		wg.Go(func() { b.await(ctx, elsewhere) })
	}
	err := b.loadOwn(ctx, own)
	wg.Wait()
	return err
}

// items makes the items of a batch: one for each identifier, however often it
// is named. Identifiers that cannot be keys fail by themselves.
func (b *batch) items(ids []string) []*item {
	seen := make(map[string]bool, len(ids))
	out := make([]*item, 0, len(ids))
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		k, err := b.c.key(id, b.o.params)
		if err != nil {
			b.fail(id, err)
			continue
		}
		out = append(out, &item{k: k})
	}
	return out
}

// cached answers what it can from memory and from Redis, and returns the rest.
func (b *batch) cached(ctx context.Context, items []*item) (missing []*item) {
	var ask []*item
	for _, it := range items {
		d, proven := b.c.held(it.k)
		it.d = d
		if !proven || !b.serve(ctx, it) {
			ask = append(ask, it)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	b.read(ctx, ask)
	for _, it := range ask {
		if !b.serve(ctx, it) {
			missing = append(missing, it)
		}
	}
	return missing
}

// serve answers an item if its candidate may be served, and reports whether.
func (b *batch) serve(ctx context.Context, it *item) bool {
	c, now := b.c, b.c.m.now()
	switch g := it.d.grade(now, b.o.maxStale); {
	case g == freshGrade:
		c.hit(ctx, it.k.id, it.d)
		b.put(it.k.id, it.d.answer(now, NotStale))
		if now >= it.d.due {
			c.refreshBehind(ctx, b.single(it), it.d)
		}
	case g >= fallback && it.cause != nil:
		b.put(it.k.id, c.serveStale(ctx, it.k.id, it.d, StaleDegraded))
	case g == servable && b.o.softTimeout == 0:
		c.refreshBehind(ctx, b.single(it), it.d)
		b.put(it.k.id, c.serveStale(ctx, it.k.id, it.d, StaleRefreshing))
	default:
		return false
	}
	return true
}

// single makes a job of one identifier of the batch.
func (b *batch) single(it *item) job {
	j := job{k: it.k, o: b.o, cause: it.cause, load: func(ctx context.Context) (any, error) {
		m, err := b.load(ctx, []string{it.k.id})
		if err != nil {
			return nil, err
		}
		v, ok := m[it.k.id]
		if !ok {
			return nil, ErrNotFound
		}
		return v, nil
	}}
	if it.d != nil {
		j.seen = it.d.seen
	}
	return j
}

// read reads items from Redis, all nodes side by side. Those that somebody
// else reads already are waited for.
func (b *batch) read(ctx context.Context, items []*item) {
	c := b.c
	var mine, theirs []*item
	reads, done := make([]*read, 0, len(items)), map[*item]<-chan struct{}{}
	for _, it := range items {
		rd, ch := c.reads.join(it.k.rk)
		if ch == nil {
			mine, reads = append(mine, it), append(reads, rd)
			continue
		}
		theirs, done[it] = append(theirs, it), ch
	}
	func() {
		defer func() { // also if a codec panics
			for i, it := range mine {
				c.reads.end(it.k.rk, reads[i])
			}
		}()
		b.exchange(ctx, mine, reads)
	}()
	for i, it := range mine {
		it.take(reads[i].found, reads[i].err)
		if it.cause == nil && it.d.grade(c.m.now(), b.o.maxStale) == useless {
			c.miss(ctx, it.k.id, reads[i].reason)
		}
	}
	for _, it := range theirs {
		select {
		case <-done[it]:
		case <-ctx.Done():
			return
		}
		d, _, err := c.fetch(ctx, it.k) // what it was, or again
		it.take(d, err)
	}
}

// take records what was read. After an error what memory held is left.
func (it *item) take(d *cand, err error) {
	if it.cause = err; err == nil {
		it.d = d
	}
}

// exchange performs the reads of a batch for all who wait for them.
func (b *batch) exchange(ctx context.Context, items []*item, reads []*read) {
	c := b.c
	var keys []string
	var send []int
	for i, it := range items {
		rd := reads[i]
		if rd.err = c.m.queue.settle(ctx, it.k.rk); rd.err != nil {
			continue
		}
		if n := c.m.topo.For(it.k.rk); n == nil || n.Open() {
			rd.err, rd.again = &NodeError{Node: addr(n), Err: errNotServing}, false
			continue
		}
		send, keys = append(send, i), append(keys, it.k.rk)
	}
	octx, cancel := c.m.opMany(ctx, len(keys))
	defer cancel()
	for n, v := range c.m.redis.ReadMany(octx, keys, c.index != nil) {
		it, rd := items[send[n]], reads[send[n]]
		if rd.err = c.m.done(ctx, c.m.topo.For(it.k.rk), v.Err); rd.err == nil {
			rd.found, rd.reason = c.open(it.k, v.Value)
			c.keep(it.k, v.Entry, rd.found, rd.void.Load)
		}
		rd.again = rd.err != nil && ctx.Err() != nil
	}
}

// opMany bounds a batch of operations: OpTimeout for each pipeline it takes.
func (m *Manager) opMany(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, m.opts.OpTimeout*time.Duration(1+n/256))
}

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
	octx, cancel := c.m.opMany(ctx, len(ask))
	defer cancel()
	for i, g := range c.m.redis.AcquireMany(octx, claims, c.cfg.lease) {
		it := ask[i]
		switch {
		case g.Err != nil:
			it.cause = c.m.done(ctx, c.m.topo.For(it.k.rk), g.Err)
			own = append(own, it)
		case g.State == lease.Granted:
			it.token = claims[i].Token
			own = append(own, it)
		default:
			elsewhere = append(elsewhere, it)
		}
	}
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
	degraded, limited := true, false
	for _, it := range own {
		degraded = degraded && it.token == ""
		limited = limited || it.token == ""
	}
	if limited {
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
	r := c.beginMany(ctx, ids, b.load, degraded)
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
	if len(claims) == 0 {
		return
	}
	octx, cancel := b.c.m.opMany(context.WithoutCancel(ctx), len(claims))
	defer cancel()
	b.c.m.redis.ReleaseMany(octx, claims, text, b.c.cfg.errorBackoff)
}

// store answers the loaded items and stores them under their claims. An
// identifier that the loader did not return does not exist at the source; one
// that it returned unasked is ignored.
func (b *batch) store(ctx context.Context, own []*item, m map[string]any, l loaded) {
	c := b.c
	ttl, version, skip := l.info.get()
	var (
		filled []*item
		writes []lease.Write
		tokens []string
		cands  []*cand
		drop   []*item
	)
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
	octx, cancel := c.m.opMany(context.WithoutCancel(ctx), len(items))
	defer cancel()
	for i, w := range c.m.redis.FillMany(octx, writes, tokens) {
		it := items[i]
		switch {
		case w.Err != nil:
			c.refused(ctx, b.single(it), FillFailed, c.m.done(ctx, c.m.topo.For(it.k.rk), w.Err))
		case w.Outcome == lease.Refused:
			c.refused(ctx, b.single(it), FillVoided, nil)
		case w.Outcome == lease.Superseded:
			c.refused(ctx, b.single(it), FillSuperseded, nil)
		default:
			c.n.fills.Add(1)
			c.keep(it.k, w.Entry, cands[i], neverVoid)
		}
	}
}

// beginMany is [core.begin] for a batch.
func (c *core) beginMany(ctx context.Context, ids []string, load func(context.Context, []string) (map[string]any, error), degraded bool) *running {
	r := &running{c: c, began: c.m.now(), done: make(chan loaded, 1)}
	r.event = LoadStartEvent{Namespace: c.ns, IDs: ids, Degraded: degraded}
	r.start(ctx, &timeoutError{core: c, many: len(ids)}, func(ctx context.Context) (any, error) { return load(ctx, ids) })
	return r
}

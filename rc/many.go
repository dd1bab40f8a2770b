package rc

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/flight"
	"github.com/fleetcache/fleetcache/lock"
)

// manyWaiters bounds how many identifiers of a batch wait for other processes
// side by side.
const manyWaiters = 64

// batch is one GetOrSetMany on its way.
type batch struct {
	c    *core
	o    call
	load func(context.Context, []string) (map[string]any, error)
	// before is the tokens as they were when the load began.
	before *captured

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
	lock  *lock.Lock // Config.RefreshLock, until the loader has it
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
	own, late := b.lockOwn(ctx, own)
	if len(late) > 0 {
		wg.Go(func() { b.await(ctx, late) })
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
		rd, ch := c.joinRead(it.k)
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
		if rd.err = c.m.serving(it.k.rk); rd.err != nil {
			rd.again = false
			continue
		}
		send, keys = append(send, i), append(keys, it.k.rk)
	}
	octx, cancel := c.m.opMany(ctx, len(keys))
	defer cancel()
	values := c.m.redis.ReadMany(octx, keys, c.index != nil)
	c.warmStored(ctx, values, keys)
	for n, v := range values {
		it, rd := items[send[n]], reads[send[n]]
		if rd.err = c.m.done(ctx, c.m.topo.For(it.k.rk), v.Err); rd.err == nil {
			rd.found, rd.reason, rd.err = c.open(ctx, it.k, v.Value)
			c.keep(it.k, v.Entry, rd.found, rd.void.Load)
		}
		rd.again = rd.err != nil && ctx.Err() != nil
	}
}

// opMany bounds a batch of operations: OpTimeout for each pipeline it takes.
func (m *Manager) opMany(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, m.opts.OpTimeout*time.Duration(1+n/256))
}

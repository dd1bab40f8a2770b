package rc

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/internal/flight"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/near"
)

// A claim is a lease this process holds while its loader runs.
type claim struct {
	c     *core
	k     keyed
	token string
	began int64
	// watch is killed when the lease key changes: mostly because this process
	// prolonged it, sometimes because somebody voided it. Nil while the lease
	// is not watched. Written by guard, read by joinable.
	watch atomic.Pointer[near.Entry]
	lost  atomic.Bool
	// before is the tokens as they were when the load began.
	before *captured
}

// joinable reports whether a caller that comes now may have the result of a
// load that began earlier: not if the key is known to have been invalidated
// since, and only within MaxStaleness if that could not be known.
func (cl *claim) joinable() bool {
	if cl.lost.Load() {
		return false
	}
	now := cl.c.m.now()
	if w := cl.watch.Load(); w != nil {
		if w.Killed() {
			return false // by ourselves perhaps; a moment later we know
		}
		if cl.c.m.table.Coherent(w, now) && cl.before.coherent(cl.c.m.tokens, now) {
			return true
		}
	}
	return now-cl.began <= int64(cl.c.m.opts.MaxStaleness)
}

// loadHeld loads under a granted claim and stores the result, if the claim
// still stands by then.
func (c *core) loadHeld(ctx context.Context, fc *flight.Call, j job, token string) (any, error) {
	fc.Finish() // another process may be waiting for it
	cl := &claim{c: c, k: j.k, token: token}
	if cl.before, j.cause = c.captureOne(ctx, j); j.cause != nil {
		c.release(ctx, cl, "")
		return c.loadDegraded(ctx, fc, j)
	}
	cl.began = c.m.now()
	fc.Joinable(cl.joinable)
	l := cl.guard(ctx, c.begin(ctx, j, false))
	if w := cl.watch.Load(); w != nil {
		c.m.table.Release(w)
	}
	return c.settle(ctx, fc, j, cl, l)
}

// captureOne reads the tokens before the load of a job.
func (c *core) captureOne(ctx context.Context, j job) (*captured, error) {
	got, err := c.capture(ctx, []string{j.k.rk}, j.o.tags)
	if err == nil {
		err = got.ns[c.nsGroup(j.k.rk)].err
	}
	return got, err
}

// watchAfter is how long a load runs before its claim is watched. Most are over
// by then, and need no more than the claim and the fill.
const watchAfter = 10 * time.Millisecond

// guard waits for the loader, and watches and prolongs the claim meanwhile.
func (cl *claim) guard(ctx context.Context, r *running) loaded {
	every := cl.c.cfg.lease / 3
	next := time.NewTimer(min(watchAfter, every))
	defer next.Stop()
	prolonged := cl.began // the lease lasts from then
	for {
		var woken, gone <-chan struct{}
		if w := cl.watch.Load(); w != nil && !cl.lost.Load() {
			woken, gone = w.Woken(), w.Feed().Gone()
		}
		select {
		case l := <-r.done:
			return r.end(l)
		case <-r.ctx.Done():
			return r.end(r.givenUp())
		case <-woken:
			cl.verify(ctx)
		case <-gone:
			cl.verify(ctx)
		case <-next.C:
			if now := cl.c.m.now(); since(now, prolonged) >= every {
				prolonged = now
				cl.prolong(ctx)
			} else {
				cl.verify(ctx)
			}
			next.Reset(every - since(cl.c.m.now(), prolonged))
		}
	}
}

// verify looks whether the lease key still has our token, and watches it
// again.
func (cl *claim) verify(ctx context.Context) {
	w, token, err := cl.c.watch(ctx, cl.k)
	old := cl.watch.Swap(w) // nil after an error: asked again with the next tick
	if old != nil {
		cl.c.m.table.Release(old)
	}
	if err == nil && token != cl.token {
		cl.lose(ctx)
	}
}

func (cl *claim) prolong(ctx context.Context) {
	if cl.lost.Load() {
		return
	}
	held := true
	err := cl.c.m.do(ctx, cl.k.rk, func(ctx context.Context) (err error) {
		held, err = cl.c.m.redis.Extend(ctx, cl.k.rk, cl.token, cl.c.cfg.lease)
		return err
	})
	switch {
	case err != nil: // it may still stand; the fill will tell
	case !held:
		cl.lose(ctx)
	case cl.watch.Load() == nil:
		cl.verify(ctx)
	}
}

func (cl *claim) lose(ctx context.Context) {
	if !cl.lost.CompareAndSwap(false, true) {
		return
	}
	c := cl.c
	c.n.leasesLost.Add(1)
	if o := c.m.opts.Observer; o != nil {
		o.LeaseLost(ctx, LeaseLostEvent{Namespace: c.ns, ID: cl.k.id})
	}
}

// settle ends a claim with what the loader came back with: a fill, or a
// release.
func (c *core) settle(ctx context.Context, fc *flight.Call, j job, cl *claim, l loaded) (any, error) {
	defer func() {
		if p := recover(); p != nil { // of a function of Config: nobody is to wait for the claim
			c.release(ctx, cl, "")
			panic(p)
		}
	}()
	p := parcel{k: j.k, value: l.value, ttl: c.cfg.ttl, load: l.took}
	switch {
	case errors.Is(l.err, ErrNotFound):
		p.negative, p.value, p.ttl = true, nil, c.cfg.negativeTTL
	case l.err != nil:
		c.release(ctx, cl, c.backoffText(ctx, l.err))
		return nil, l.err
	case j.o.ttl > 0:
		p.ttl = j.o.ttl
	}
	// The last caller may have left; the value is worth storing all the same.
	ctx = context.WithoutCancel(l.ctx)
	ttl, version, skip, added := l.info.get()
	if ttl > 0 {
		p.ttl, p.exact = ttl, true
	}
	if p.version = version; version == 0 && c.types.version != nil && !p.negative {
		p.version = c.types.version(l.value)
	}
	if skip || p.ttl <= 0 {
		c.release(ctx, cl, "")
		c.refused(ctx, j, FillUnwanted, nil)
		return answer{value: p.value, negative: p.negative}, nil
	}
	if err := c.tag(ctx, &p, cl.before, j.o.tags, added); err != nil {
		c.release(ctx, cl, "")
		c.refused(ctx, j, stampReason(err), err)
	} else {
		c.fill(ctx, fc, j, cl, p)
	}
	return answer{value: p.value, negative: p.negative, ttl: p.ttl}, nil
}

// tag gives a loaded value its tags, and the tokens they had before the load.
func (c *core) tag(ctx context.Context, p *parcel, before *captured, known, added []string) error {
	if len(added) > 0 {
		c.tagged.Store(true)
	}
	var v any
	if !p.negative {
		v = p.value
	}
	tags, err := c.tagsOf(p.k.id, v, known, added)
	if err == nil {
		p.stamp, err = c.stamp(ctx, before, p.k.rk, tags)
	}
	return err
}

func stampReason(err error) FillReason {
	switch {
	case errors.Is(err, errTagMoved):
		return FillVoided
	case errors.Is(err, ErrTag):
		return FillUnencodable
	}
	return FillFailed
}

// backoffText is what others are told of a failed load. Nothing, if it failed
// only because it was no longer wanted.
func (c *core) backoffText(ctx context.Context, err error) string {
	var skipped *skippedError
	if ctx.Err() != nil || errors.As(err, &skipped) {
		return ""
	}
	text := err.Error()
	var p *flight.PanicError
	if errors.As(err, &p) {
		text = "panic"
	}
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return cmp.Or(text, "error without a text")
}

// fill stores a loaded value under its claim. That it could not be stored is
// counted and not an error: the value is good for those who waited for it.
func (c *core) fill(ctx context.Context, fc *flight.Call, j job, cl *claim, p parcel) {
	w, d, err := c.pack(p)
	if err != nil {
		c.release(ctx, cl, "")
		c.refused(ctx, j, packReason(err), err)
		return
	}
	var out lease.Outcome
	var v lease.Value
	err = c.m.do(ctx, j.k.rk, func(ctx context.Context) (err error) {
		out, v, err = c.m.redis.Fill(ctx, w, cl.token)
		return err
	})
	switch {
	case err != nil:
		c.refused(ctx, j, FillFailed, err)
		c.m.wg.Go(func() { c.release(ctx, cl, "") }) // others need not wait for its end
	case out == lease.Refused:
		cl.lose(ctx)
		c.refused(ctx, j, FillVoided, nil)
	case out == lease.Superseded:
		c.refused(ctx, j, FillSuperseded, nil)
	default:
		c.filled(ctx, j.k.id)
		c.keep(j.k, v.Entry, d, fc.Detached)
	}
}

// filled counts and reports a loaded value that is stored.
func (c *core) filled(ctx context.Context, id string) {
	c.n.fills.Add(1)
	if o := c.m.opts.Observer; o != nil {
		o.Fill(ctx, FillEvent{Namespace: c.ns, ID: id})
	}
}

// release gives a claim back without a value. It does not heed the end of the
// load's context: a claim that is left behind makes everybody wait.
func (c *core) release(ctx context.Context, cl *claim, text string) {
	if cl.lost.Load() {
		return
	}
	ctx = context.WithoutCancel(ctx)
	_ = c.m.do(ctx, cl.k.rk, func(ctx context.Context) error { // ends by itself after LeaseTTL
		return c.m.redis.Release(ctx, cl.k.rk, cl.token, text, c.cfg.errorBackoff)
	})
}

// refused counts and reports a loaded value that is not stored.
func (c *core) refused(ctx context.Context, j job, why FillReason, err error) {
	switch why {
	case FillVoided:
		c.n.voided.Add(1)
	case FillSuperseded:
		c.n.superseded.Add(1)
	case FillTooLarge:
		c.n.tooLarge.Add(1)
	case FillUnwanted:
		c.n.unwanted.Add(1)
	default:
		c.n.failed.Add(1)
		c.m.opts.Logger.Warn("fleetcache: loaded value not stored", "key", c.ns+"/"+j.k.id, "reason", why.String(), "error", err)
	}
	if o := c.m.opts.Observer; o != nil {
		o.FillRefused(ctx, FillRefusedEvent{Namespace: c.ns, ID: j.k.id, Reason: why, Err: err})
	}
}

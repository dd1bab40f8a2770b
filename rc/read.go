package rc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/near"
)

// reads shares reads of Redis that are in flight, by key. The first caller
// sends and the others wait for it, each under its own context.
type reads struct {
	mu sync.Mutex // protects m
	m  map[string]*read
}

type read struct {
	// began is when the one who sends joined.
	began int64
	// done is closed when the read is over. Nil until somebody else wants
	// its result; protected by reads.mu.
	done chan struct{}
	// void reports that this process wrote the key after the read began: its
	// result goes to those who wait, and is not kept.
	void atomic.Bool

	// Set before done is closed.
	found  *cand
	reason MissReason
	err    error
	// again reports that the one who sent gave up, or panicked: the others
	// must ask for themselves.
	again bool
}

// forget makes later readers of key send a read of their own.
func (r *reads) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rd := r.m[key]; rd != nil {
		rd.void.Store(true)
		delete(r.m, key)
	}
}

// forgetAll is forget for every key.
func (r *reads) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rd := range r.m {
		rd.void.Store(true)
	}
	clear(r.m)
}

// join begins a read of key, or returns the one in flight and the channel that
// is closed when it is over. One that began before oldest is left to those who
// wait for it already: in a process that was frozen it may have its answer from
// before.
func (r *reads) join(key string, now, oldest int64) (rd *read, done <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rd := r.m[key]; rd != nil {
		if rd.began >= oldest {
			if rd.done == nil {
				rd.done = make(chan struct{})
			}
			return rd, rd.done
		}
		rd.void.Store(true)
	}
	rd = &read{began: now, again: true}
	if r.m == nil {
		r.m = make(map[string]*read)
	}
	r.m[key] = rd
	return rd, nil
}

func (r *reads) end(key string, rd *read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m[key] == rd {
		delete(r.m, key)
	}
	if rd.done != nil {
		close(rd.done)
	}
}

// find looks for a value: in memory, then in Redis. It returns nil if there
// is none. With an error, which says that Redis could not be asked, it may
// still return one from memory, unproven.
func (c *core) find(ctx context.Context, k keyed) (*cand, MissReason, error) {
	if c.m.closed.Load() {
		return nil, 0, ErrClosed
	}
	held, proven := c.held(k)
	if held != nil && !proven {
		proven = c.revouch(ctx, k, held)
	}
	if proven {
		return held, 0, nil
	}
	d, reason, err := c.fetch(ctx, k)
	if err != nil {
		return held, MissUnavailable, err
	}
	return d, reason, nil
}

// held returns what memory holds for a key, and whether that is what Redis
// holds.
func (c *core) held(k keyed) (d *cand, proven bool) {
	if c.index == nil {
		return nil, false
	}
	e, ok := c.index.GetIfPresent(k.ik)
	if !ok || e.Killed() {
		return nil, false
	}
	d = new(cand)
	*d = *e.Meta.(*cand)
	d.source, d.entry = FromL1, e
	now := c.m.now()
	if now >= d.hard {
		return nil, false
	}
	if c.m.table.Coherent(e, now) && (now < d.soft || !e.Detached()) && c.m.table.Vouched(e, now) {
		return d, true
	}
	d.unproven, d.lapsed = true, e.Lapsed()
	return d, false
}

// revouch proves a value in memory whose namespace or tags are in doubt, by
// asking for their tokens, which is one answer for all such values.
func (c *core) revouch(ctx context.Context, k keyed, d *cand) bool {
	if !c.m.table.Coherent(d.entry, c.m.now()) || d.entry.Detached() {
		return false
	}
	v := c.vouch(ctx, k.rk, d.ns, d.tags)
	if !v.good || v.soft || v.deps == nil {
		return false
	}
	d.entry.DependOn(v.deps)
	d.unproven, d.lapsed, d.deps = false, false, v.deps
	return true
}

// joinRead joins the read of a key that is in flight, or begins one.
func (c *core) joinRead(k keyed) (rd *read, done <-chan struct{}) {
	now := c.m.now()
	return c.reads.join(k.rk, now, now-int64(c.m.opts.MaxStaleness))
}

// fetch reads a value from Redis, together with whoever else wants it.
func (c *core) fetch(ctx context.Context, k keyed) (*cand, MissReason, error) {
	for {
		rd, done := c.joinRead(k)
		if done != nil {
			select {
			case <-done:
			case <-ctx.Done():
				return nil, 0, ctx.Err()
			}
			if rd.again {
				continue
			}
			return rd.found, rd.reason, rd.err
		}
		c.send(ctx, k, rd)
		if rd.err == nil {
			c.cold.note(rd.found == nil)
		}
		return rd.found, rd.reason, rd.err
	}
}

// coldness tells whether Redis mostly has no value when it is asked for one:
// then it is quicker to claim the key at once, one round trip instead of two.
// A value that is there all the same costs two instead of one, so it takes a
// long run of misses to get there, and few hits to leave.
type coldness struct{ score atomic.Int32 }

const (
	coldAt  = 32 // misses in a row, on balance, before claims come first
	coldMax = 48
	coldHit = 8 // misses that one hit outweighs
)

func (c *coldness) note(absent bool) {
	old := c.score.Load()
	next := min(old+1, coldMax)
	if !absent {
		next = max(old-coldHit, 0)
	}
	if next != old {
		c.score.Store(next) // lost updates do no harm
	}
}

func (c *coldness) likely() bool { return c.score.Load() >= coldAt }

// send performs a read for all who wait for it.
func (c *core) send(ctx context.Context, k keyed, rd *read) {
	defer c.reads.end(k.rk, rd) // also if a codec panics: then again is true
	if err := c.m.queue.settle(ctx, k.rk); err != nil {
		rd.err = err
		rd.again = ctx.Err() != nil
		return
	}
	var v lease.Value
	if v, rd.err = c.m.read(ctx, k.rk, c.index != nil); rd.err == nil {
		rd.found, rd.reason, rd.err = c.open(ctx, k, v)
		c.keep(k, v.Entry, rd.found, rd.void.Load)
	}
	// The end of the sender's own context is no answer to the others.
	rd.again = rd.err != nil && ctx.Err() != nil
}

// open turns what was read into a candidate. One that only says what was seen
// there (hard is 0) comes with the reason why it is of no use.
// The error says that a token of it could not be read.
func (c *core) open(ctx context.Context, k keyed, v lease.Value) (*cand, MissReason, error) {
	if v.Raw == nil {
		return nil, MissAbsent, nil
	}
	d := &cand{source: FromL2, seen: lease.Seen(v.Raw)}
	h, payload, err := envelope.Parse(v.Raw, k.rk)
	switch {
	case errors.Is(err, envelope.ErrNewer):
		return d, MissNewer, nil
	case err != nil:
		return d, MissCorrupt, nil
	case h.Codec != c.types.codecID:
		return d, MissCodec, nil
	}
	d.ns, d.tags = lease.Token(h.NamespaceToken), h.Tags
	ok := c.vouch(ctx, k.rk, d.ns, d.tags)
	switch {
	case ok.err != nil:
		return nil, MissUnavailable, ok.err
	case !ok.good:
		return d, MissInvalidated, nil
	}
	d.deps = ok.deps
	if d.negative = h.Negative; !d.negative {
		if d.value, err = c.types.decode(payload); err != nil {
			return d, MissCodec, nil
		}
		if c.types.check != nil && c.types.check(d.value) != nil {
			return d, MissInvalid, nil
		}
	}
	d.flagged = h.Stale || ok.soft
	c.date(d, h, v)
	// It was stored by then: the server counts in milliseconds, and so do we.
	stored := c.m.now() - int64(h.HardTTL-min(v.Left, h.HardTTL)) + int64(3*time.Millisecond)
	if older, soft := c.m.own.after(k.rk, v.At, stored); older {
		c.n.ownMissed.Add(1)
		if !soft {
			return &cand{seen: d.seen}, MissOwnWrite, nil
		}
		d.flagged = true
	}
	return d, MissExpired, nil
}

// date computes when a value stops to be what. Its age is what has gone of its
// time to live by the server's clock; the clocks of those who stored it and
// who read it do not matter. Times are counted from before the read was sent,
// so they err to the early side.
func (c *core) date(d *cand, h envelope.Header, v lease.Value) {
	v.Left = min(v.Left, h.HardTTL) // see lease.Client.Read
	age := h.HardTTL - v.Left
	d.stored = v.At - int64(age)
	d.soft = d.stored + int64(h.SoftTTL)
	d.hard = v.At + int64(v.Left)
	d.due = d.soft
	if d.negative {
		return
	}
	if f := c.cfg.earlyFraction; f > 0 {
		d.due = d.stored + int64(f*float64(h.SoftTTL))
	} else if early := earlyBy(h.LoadTime, c.cfg.earlyBeta); early > 0 {
		d.due = d.soft - int64(early)
	}
}

// keep puts a candidate in memory, if its entry is still alive and the value
// is one that can be served. void says whether this process has written the key
// since the value was asked for. It is asked while the entry is in the table
// and not yet alive: a write that ended before is seen by it, and one that ends
// later kills the entry.
func (c *core) keep(k keyed, e *near.Entry, d *cand, void func() bool) {
	if e == nil {
		return
	}
	if c.m.foreign(e) || c.index == nil || d == nil || d.hard == 0 || d.flagged || d.deps == nil && !e.Detached() || void() {
		c.m.table.Release(e)
		return
	}
	d.entry, d.home, d.ik = e, c, k.ik
	e.Value, e.Meta = d.value, d // from here on nobody changes d
	e.DependOn(d.deps)
	fresh := min(d.due, d.soft)
	switch {
	case d.negative:
		e.Value = (*absence)(nil)
	case d.value == nil:
		fresh = near.NeverFresh // the hit path knows only values, and that there is none
	}
	if c.m.table.Publish(e, fresh) {
		c.index.Set(k.ik, e)
		if e.Killed() { // the reaper may have come before
			c.m.reaper.add(e)
		}
	}
}

// pause holds the refresh of a value back for a while: one that failed, or was
// left out, is not tried again with the next hit. Hits on a value that is
// still fresh take the short way meanwhile.
func (c *core) pause(d *cand, wait time.Duration) {
	if d != nil && d.entry != nil {
		until := c.m.now() + int64(wait)
		d.entry.Hold.Store(until)
		c.m.table.Postpone(d.entry, min(until, d.soft))
	}
}

// paused reports whether the refresh of a value is held back.
func (c *core) paused(d *cand) bool {
	return d.entry != nil && c.m.now() < d.entry.Hold.Load()
}

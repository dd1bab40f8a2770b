package rc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/lease"
)

// ErrTooLarge is returned by Set for a value over Config.MaxValueBytes. The
// old value is deleted.
var ErrTooLarge = errors.New("rc: value too large")

// parcel is a value to be stored.
type parcel struct {
	k        keyed
	value    any
	negative bool
	ttl      time.Duration // fresh for
	exact    bool          // no jitter
	load     time.Duration // what it took to load
	version  uint64
	stamp    stamp
	// tombstone makes it stand for nothing but its version.
	tombstone bool
}

// pack encodes a parcel. It also returns the candidate that reading it back
// would give, dated from when it is sent.
func (c *core) pack(p parcel) (lease.Write, *cand, error) {
	soft, stale := p.ttl, c.cfg.staleFor
	if !p.exact {
		soft = TTLWithJitter(soft, c.cfg.jitter)
	}
	if p.negative {
		stale = 0
	}
	soft = max(soft, time.Millisecond)
	if soft > c.cfg.ttl {
		raise(&c.longestTTL, int64(soft))
	}
	h := envelope.Header{
		Negative: p.negative, Stale: p.tombstone, Codec: c.types.codecID, WriteID: rand.Uint64(), Version: p.version,
		SoftTTL: soft, HardTTL: soft + stale, LoadTime: p.load,
		NamespaceToken: uint64(p.stamp.ns), Tags: p.stamp.tags,
	}
	b := envelope.Begin(make([]byte, 0, envelope.HeaderSize+256), h, p.k.rk)
	begun := len(b)
	if !p.negative {
		var err error
		if b, err = c.types.encode(b, p.value); err != nil {
			return lease.Write{}, nil, fmt.Errorf("rc: encode %s: %w", c.name(p.k), err)
		}
	}
	if n := len(b) - begun; n > c.cfg.maxValueBytes {
		return lease.Write{}, nil, fmt.Errorf("%w: %s is %d bytes, Config.MaxValueBytes is %d", ErrTooLarge, c.name(p.k), n, c.cfg.maxValueBytes)
	}
	b, err := envelope.Finish(b, 0)
	if err != nil {
		return lease.Write{}, nil, fmt.Errorf("rc: encode %s: %w", c.name(p.k), err)
	}
	w := lease.Write{Key: p.k.rk, Envelope: b, TTL: h.HardTTL, Versioned: p.version != 0, Track: c.index != nil}
	d := &cand{value: p.value, negative: p.negative, source: FromLoader, seen: lease.Seen(b),
		ns: p.stamp.ns, tags: p.stamp.tags, deps: p.stamp.deps}
	c.date(d, h, lease.Value{At: c.m.now(), Left: h.HardTTL})
	return w, d, nil
}

// set stores a value that was written at its source.
func (c *core) set(ctx context.Context, id string, v any, opts []Opt) error {
	o, err := c.call(opts)
	if err != nil {
		return err
	}
	k, err := c.key(id, o.params)
	if err != nil {
		return err
	}
	if c.m.closed.Load() {
		return ErrClosed
	}
	p := parcel{k: k, value: v, ttl: c.cfg.ttl}
	if o.ttl > 0 {
		p.ttl = o.ttl
	}
	if c.types.version != nil {
		p.version = c.types.version(v)
	}
	tags, err := c.tagsOf(id, v, o.tags)
	if err != nil {
		return errors.Join(c.unpackable(err), c.invalidate(ctx, k, false))
	}
	if p.stamp, err = c.stampNow(ctx, k.rk, tags); err != nil {
		// Without its tokens the value cannot be stored: then the old one
		// must go.
		return c.unstamped(ctx, k, err)
	}
	w, d, err := c.pack(p)
	if err != nil {
		return errors.Join(c.unpackable(err), c.invalidate(ctx, k, false))
	}
	var val lease.Value
	var out lease.Outcome
	sent := c.m.departure()
	err = c.m.do(ctx, k.rk, func(ctx context.Context) (err error) {
		out, val, err = c.m.redis.Set(ctx, w)
		return err
	})
	return c.wrote(ctx, k, "Set", sent.ours(out), err, c.setInv(k, d), func() { c.keepWritten(k, lease.Written{Outcome: out, Value: val}, d) })
}

// deleteBefore removes what is older than a version, and leaves a tombstone
// that keeps older values out.
func (c *core) deleteBefore(ctx context.Context, id string, version uint64, opts []Opt) error {
	if version == 0 {
		return errors.New("rc: DeleteBefore: the version is 0, which is no version")
	}
	o, err := c.call(opts)
	if err != nil {
		return err
	}
	k, err := c.key(id, o.params)
	if err != nil {
		return err
	}
	if c.m.closed.Load() {
		return ErrClosed
	}
	w, _, err := c.pack(parcel{k: k, negative: true, tombstone: true, exact: true, version: version, ttl: c.longest()})
	if err != nil {
		return err
	}
	w.Track = false
	inv := c.inv(k, false)
	inv.tombstone = &w
	sent := departure{notOurs, invalidationSeq.Load()}
	return c.wrote(ctx, k, "DeleteBefore", sent, inv.send(ctx, c.m, k.rk), inv, func() { c.m.table.Evict(k.rk) })
}

// unpackable counts a value that cannot be stored as it is.
func (c *core) unpackable(err error) error {
	if errors.Is(err, ErrTooLarge) {
		c.n.tooLarge.Add(1)
	} else {
		c.n.failed.Add(1)
	}
	return err
}

// unstamped ends a write whose tokens could not be read: the old value is
// deleted, and the error says that the new one is not stored.
func (c *core) unstamped(ctx context.Context, k keyed, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrClosed) {
		return c.wrote(ctx, k, "Set", departure{}, err, c.inv(k, false), nil)
	}
	c.n.failed.Add(1)
	return errors.Join(fmt.Errorf("rc: set %s: its namespace or tags cannot be read, so it is not stored: %w", c.name(k), err),
		c.invalidate(ctx, k, false))
}

// keepWritten leaves in memory of a key only what was just written to it.
func (c *core) keepWritten(k keyed, w lease.Written, d *cand) {
	if w.Outcome != lease.Stored || w.Entry == nil {
		c.m.table.Evict(k.rk)
		return
	}
	c.m.table.EvictOthers(w.Entry)
	c.keep(k, w.Entry, d, c.m.queue.holds(k.rk))
}

// remove deletes or expires a value.
func (c *core) remove(ctx context.Context, id string, soft bool, opts []Opt) error {
	o, err := c.call(opts)
	if err != nil {
		return err
	}
	k, err := c.key(id, o.params)
	if err != nil {
		return err
	}
	if c.m.closed.Load() {
		return ErrClosed
	}
	return c.invalidate(ctx, k, soft)
}

func (c *core) invalidate(ctx context.Context, k keyed, soft bool) error {
	sent := c.m.departure()
	err := c.sendInvalidation(ctx, k.rk, soft)
	return c.wrote(ctx, k, verb(soft), sent, err, c.inv(k, soft), func() { c.m.table.Evict(k.rk) })
}

func (c *core) sendInvalidation(ctx context.Context, rk string, soft bool) error {
	return c.m.do(ctx, rk, func(ctx context.Context) (err error) {
		if soft {
			_, err = c.m.redis.Expire(ctx, rk)
		} else {
			_, err = c.m.redis.Delete(ctx, rk)
		}
		return err
	})
}

// wrote ends a write of this process: after it, no reader of this process
// finds anything older. One that Redis has not heard of is queued first, so that
// who reads from now on sends it before. Then reads and loads in flight are left
// to those who wait for them already, then memory is cleared; in this order,
// because what they put there is cleared with it.
func (c *core) wrote(ctx context.Context, k keyed, verb string, sent departure, err error, inv change, clear func()) error {
	if err == nil {
		if sent.at != notOurs {
			c.m.own.note(k.rk, inv.soft, sent.at, c.m.now())
		}
		c.m.queue.covered(k.rk, inv.soft, sent.seq)
		c.g.forget(k.rk)
		clear()
		c.m.recent.note(k.rk, inv)
		c.n.invalidations.Add(1)
		c.observeWrite(ctx, k, verb, nil, false)
		return nil
	}
	closed := errors.Is(err, ErrClosed)
	queued := !closed && c.m.queue.add(k.rk, inv)
	c.g.forget(k.rk)
	c.m.table.Evict(k.rk)
	if closed {
		return err
	}
	c.n.invalidationErrors.Add(1)
	c.observeWrite(ctx, k, verb, err, queued)
	return &InvalidationError{Key: k.rk, Queued: queued, Err: err}
}

// inv is what has to be sent again if Redis could not be told of a write.
func (c *core) inv(k keyed, soft bool) change {
	return change{c: c, id: k.id, soft: soft, until: c.m.now() + int64(c.longest())}
}

// setInv is inv of a value that was set, which may have arrived.
func (c *core) setInv(k keyed, d *cand) change {
	inv := c.inv(k, false)
	inv.wrote = d.seen
	return inv
}

// longest is how long a value stored before now can live.
func (c *core) longest() time.Duration {
	jitter := time.Duration(max(c.cfg.jitter, 0) * float64(c.cfg.ttl))
	return max(c.cfg.ttl+jitter, time.Duration(c.longestTTL.Load())) + c.cfg.staleFor
}

// raise sets a to v if that is more.
func raise(a *atomic.Int64, v int64) {
	for old := a.Load(); v > old && !a.CompareAndSwap(old, v); old = a.Load() {
	}
}

func (c *core) observeWrite(ctx context.Context, k keyed, verb string, err error, queued bool) {
	if o := c.m.opts.Observer; o != nil {
		o.Invalidation(ctx, InvalidationEvent{Namespace: c.ns, ID: k.id, Verb: verb, Err: err, Queued: queued})
	}
}

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
		Negative: p.negative, Codec: c.types.codecID, WriteID: rand.Uint64(), Version: p.version,
		SoftTTL: soft, HardTTL: soft + stale, LoadTime: p.load,
	}
	b := envelope.Begin(make([]byte, 0, envelope.HeaderSize+256), h, p.k.rk)
	if !p.negative {
		var err error
		if b, err = c.types.encode(b, p.value); err != nil {
			return lease.Write{}, nil, fmt.Errorf("rc: encode %s: %w", c.name(p.k), err)
		}
	}
	if n := len(b) - envelope.HeaderSize; n > c.cfg.maxValueBytes {
		return lease.Write{}, nil, fmt.Errorf("%w: %s is %d bytes, Config.MaxValueBytes is %d", ErrTooLarge, c.name(p.k), n, c.cfg.maxValueBytes)
	}
	b, err := envelope.Finish(b, 0)
	if err != nil {
		return lease.Write{}, nil, fmt.Errorf("rc: encode %s: %w", c.name(p.k), err)
	}
	w := lease.Write{Key: p.k.rk, Envelope: b, TTL: h.HardTTL, Versioned: p.version != 0, Track: c.index != nil}
	d := &cand{value: p.value, negative: p.negative, source: FromLoader, seen: lease.Seen(b)}
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
	w, d, err := c.pack(p)
	if err != nil {
		return errors.Join(c.unpackable(err), c.invalidate(ctx, k, false))
	}
	var val lease.Value
	var out lease.Outcome
	sent := c.m.now()
	err = c.m.do(ctx, k.rk, func(ctx context.Context) (err error) {
		out, val, err = c.m.redis.Set(ctx, w)
		return err
	})
	return c.wrote(ctx, k, "Set", ours(sent, out), err, false, func() { c.keepWritten(k, lease.Written{Outcome: out, Value: val}, d) })
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

// keepWritten leaves in memory of a key only what was just written to it.
func (c *core) keepWritten(k keyed, w lease.Written, d *cand) {
	if w.Outcome != lease.Stored || w.Entry == nil {
		c.m.table.Evict(k.rk)
		return
	}
	c.m.table.EvictOthers(w.Entry)
	c.keep(k, w.Entry, d, neverVoid)
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
	sent := c.m.now()
	err := c.sendInvalidation(ctx, k.rk, soft)
	return c.wrote(ctx, k, verb(soft), sent, err, soft, func() { c.m.table.Evict(k.rk) })
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
// finds anything older. Reads and loads in flight are left to those who wait
// for them already, then memory is cleared; in this order, because what they
// put there is cleared with it.
func (c *core) wrote(ctx context.Context, k keyed, verb string, sent int64, err error, soft bool, clear func()) error {
	if err == nil && sent != notOurs {
		c.m.own.note(k.rk, soft, sent, c.m.now())
	}
	c.g.forget(k.rk)
	if err == nil {
		clear()
		c.m.queue.covered(k.rk, soft)
		c.n.invalidations.Add(1)
		c.observeWrite(ctx, k, verb, nil, false)
		return nil
	}
	c.m.table.Evict(k.rk)
	if errors.Is(err, ErrClosed) {
		return err
	}
	queued := c.m.queue.add(k.rk, invalidation{c: c, id: k.id, soft: soft, until: c.m.now() + int64(c.longest())})
	c.n.invalidationErrors.Add(1)
	c.observeWrite(ctx, k, verb, err, queued)
	return &InvalidationError{Key: k.rk, Queued: queued, Err: err}
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

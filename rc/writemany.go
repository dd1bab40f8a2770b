package rc

import (
	"context"
	"errors"

	"github.com/fleetcache/fleetcache/internal/lease"
)

// setMany stores values that were written at their source.
func (c *core) setMany(ctx context.Context, values map[string]any, opts []Opt) error {
	o, err := c.call(opts)
	if err != nil {
		return err
	}
	if c.m.closed.Load() {
		return ErrClosed
	}
	errs := map[string]error{}
	c.warmValues(ctx, values, o.tags)
	var (
		keys   []keyed
		writes []lease.Write
		cands  []*cand
	)
	for id, v := range values {
		k, err := c.key(id, o.params)
		if err != nil {
			errs[id] = err
			continue
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
			errs[id] = errors.Join(c.unpackable(err), c.invalidate(ctx, k, false))
			continue
		}
		if p.stamp, err = c.stampNow(ctx, k.rk, tags); err != nil {
			errs[id] = c.unstamped(ctx, k, err)
			continue
		}
		w, d, err := c.pack(p)
		if err != nil {
			errs[id] = errors.Join(c.unpackable(err), c.invalidate(ctx, k, false))
			continue
		}
		keys, writes, cands = append(keys, k), append(writes, w), append(cands, d)
	}
	octx, cancel := c.m.opMany(ctx, len(keys))
	defer cancel()
	sent := c.m.departure()
	for i, w := range c.m.redis.SetMany(octx, writes) {
		k := keys[i]
		if w.Err != nil {
			w.Err = c.m.done(ctx, c.m.topo.For(k.rk), w.Err)
		}
		if err := c.wrote(ctx, k, "Set", sent.ours(w.Outcome), w.Err, c.setInv(k, cands[i]), func() { c.keepWritten(k, w, cands[i]) }); err != nil {
			errs[k.id] = err
		}
	}
	return (&ManyError{Errs: errs}).orNil()
}

// deleteMany removes values.
func (c *core) deleteMany(ctx context.Context, ids []string, opts []Opt) error {
	o, err := c.call(opts)
	if err != nil {
		return err
	}
	if c.m.closed.Load() {
		return ErrClosed
	}
	errs := map[string]error{}
	var keys []keyed
	var rks []string
	for _, id := range ids {
		k, err := c.key(id, o.params)
		if err != nil {
			errs[id] = err
			continue
		}
		keys, rks = append(keys, k), append(rks, k.rk)
	}
	octx, cancel := c.m.opMany(ctx, len(keys))
	defer cancel()
	sent := c.m.departure()
	for i, err := range c.m.redis.DeleteMany(octx, rks) {
		k := keys[i]
		if err != nil {
			err = c.m.done(ctx, c.m.topo.For(k.rk), err)
		}
		if err := c.wrote(ctx, k, verb(false), sent, err, c.inv(k, false), func() { c.m.table.Evict(k.rk) }); err != nil {
			errs[k.id] = err
		}
	}
	return (&ManyError{Errs: errs}).orNil()
}

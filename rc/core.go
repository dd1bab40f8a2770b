package rc

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/flight"
	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/near"
)

// A core is a CacheService without its type: it moves values it cannot look
// into. The typed shell gives it the functions that can.
type core struct {
	m     *Manager
	g     *group
	ns    string
	space key.Space
	cfg   settings
	types typeFuncs
	n     counters

	// index finds entries of the near cache by identifier, and decides which
	// of them to keep. What is alive, the entries know. Nil if L1 is off.
	index   *otter.Cache[string, *near.Entry]
	flights flight.Group
	reads   reads
	// nsKeys are the keys of the namespace's tokens, by group of slots; outside a
	// cluster there is one. nsTokens are those in memory.
	nsKeys   []string
	nsTokens []atomic.Pointer[token]
	// tagged reports that values have tags which only the values name.
	tagged  atomic.Bool
	cold    coldness
	batches atomic.Uint64 // numbers the flights of batches
	// longestTTL is the longest time to live of a value stored by this
	// process, in nanoseconds, if it is above Config.TTL.
	longestTTL atomic.Int64
	// fallback bounds loads without Redis: a slot is taken by sending.
	fallback chan struct{}
}

// typeFuncs is what only the typed shell can do.
type typeFuncs struct {
	codecID uint8
	encode  func(dst []byte, v any) ([]byte, error)
	decode  func(src []byte) (any, error)
	check   func(v any) error               // nil: no check
	version func(v any) uint64              // nil: no versions
	tags    func(id string, v any) []string // nil: no tags
}

func newCore(m *Manager, ns string, cfg settings, types typeFuncs) (*core, error) {
	space, err := key.NewSpace(cfg.prefix, cfg.keyVersion, ns)
	if err != nil {
		return nil, err
	}
	c := &core{m: m, ns: ns, space: space, cfg: cfg, types: types, fallback: make(chan struct{}, cfg.fallbackLoads)}
	c.nsKeys = []string{space.TokenKey(-1)}
	if m.client.Mode() == rueidis.ClientModeCluster {
		c.nsKeys = c.nsKeys[:0]
		for g := range key.SpaceGroups {
			c.nsKeys = append(c.nsKeys, space.TokenKey(g))
		}
	}
	c.nsTokens = make([]atomic.Pointer[token], len(c.nsKeys))
	c.tagged.Store(types.tags != nil)
	if cfg.l1Size > 0 {
		c.index, err = otter.New(&otter.Options[string, *near.Entry]{
			MaximumSize: cfg.l1Size,
			OnAtomicDeletion: func(e otter.DeletionEvent[string, *near.Entry]) {
				m.table.Release(e.Value)
			},
		})
		if err != nil {
			return nil, err
		}
	}
	c.g = m.join(space.Key("x"), c)
	return c, nil
}

// close ends all loads and waits for them.
func (c *core) close() {
	c.flights.Close()
	if c.index != nil {
		c.index.InvalidateAll()
		c.index.StopAllGoroutines()
	}
}

// keyed is an identifier on its way through a call.
type keyed struct {
	id string // as given
	ik string // in the index
	rk string // in Redis
}

// indexKey makes identifiers and identifiers with params disjoint: those with
// params begin with a NUL byte and their hash, those without that begin with a
// NUL byte get one hash that no params have.
func indexKey(id string) string {
	if len(id) > 0 && id[0] == 0 {
		return "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" + id
	}
	return id
}

// key builds the keys of an identifier.
func (c *core) key(id string, params []any) (keyed, error) {
	if err := key.CheckID(id); err != nil {
		return keyed{}, err
	}
	if len(params) == 0 {
		return keyed{id: id, ik: indexKey(id), rk: c.space.Key(id)}, nil
	}
	h, err := key.HashParams(params)
	if err != nil {
		return keyed{}, err
	}
	return keyed{id: id, ik: "\x00" + string(h[:]) + id, rk: c.space.KeyParams(id, h)}, nil
}

// name is how errors and logs call a key.
func (c *core) name(k keyed) string { return strconv.Quote(c.ns + "/" + k.id) }

// An absence is the Value of an entry for what does not exist at the source.
type absence struct{}

func absent(e *near.Entry) bool {
	_, ok := e.Value.(*absence)
	return ok
}

// lookup is the hit path: the entry of an identifier, if it may be returned as
// it is. It counts the hit.
func (c *core) lookup(ctx context.Context, id string) *near.Entry {
	if c.index == nil {
		return nil
	}
	e, ok := c.index.GetIfPresent(indexKey(id))
	if !ok {
		return nil
	}
	now := c.m.now()
	if !c.m.table.FreshAt(e, now) {
		return nil
	}
	c.n.l1.add(now)
	if o := c.m.opts.Observer; o != nil {
		o.Hit(ctx, HitEvent{Namespace: c.ns, ID: id, Source: FromL1, Negative: absent(e)})
	}
	return e
}

// A cand is a value that was found and may be of use.
type cand struct {
	value    any
	negative bool
	// flagged reports that the value was marked stale by Expire.
	flagged bool
	// unproven reports that it comes from memory whose feed is lost: Redis
	// may hold another one.
	unproven bool
	// lapsed reports, besides, that its namespace or a tag of it has changed:
	// it may be what somebody has invalidated, and is of no use before that is
	// known.
	lapsed bool
	source Source
	stored int64 // when it was stored; all times are of the near cache's clock
	due    int64 // when to load it again in the background
	soft   int64 // when it becomes stale
	hard   int64 // when it ends
	seen   string
	// What it was stored with; deps vouch for that in memory. Without deps it
	// is not kept there.
	ns    lease.Token
	tags  []envelope.Tag
	deps  []*near.Entry
	entry *near.Entry // that holds it in memory; nil if none does
	home  *core       // whose index has the entry
	ik    string      // under this identifier
}

// grade says what a candidate is good for.
type grade uint8

const (
	useless    grade = iota
	fallback         // instead of nothing, when the source or Redis fails
	servable         // stale, but allowed without a failure
	freshGrade       // fresh
)

func (d *cand) grade(now int64, maxStale time.Duration) grade {
	if d == nil || d.lapsed || now >= d.hard {
		return useless
	}
	if !d.flagged && !d.unproven && now < d.soft {
		return freshGrade
	}
	if d.negative || maxStale <= 0 || now-d.soft > int64(maxStale) {
		return useless
	}
	if d.flagged || d.unproven {
		return fallback
	}
	return servable
}

// an answer is what a call returns.
type answer struct {
	value    any
	negative bool
	source   Source
	stale    StaleReason
	age      time.Duration
	ttl      time.Duration // fresh for that long still
}

func (d *cand) answer(now int64, stale StaleReason) answer {
	return answer{
		value: d.value, negative: d.negative, source: d.source, stale: stale,
		age: max(0, since(now, d.stored)), ttl: max(0, since(d.soft, now)),
	}
}

// hit counts and reports a value answered from the cache.
func (c *core) hit(ctx context.Context, id string, d *cand) {
	if d.source == FromL1 {
		c.n.l1.add(c.m.now())
	} else {
		c.n.l2.Add(1)
	}
	if o := c.m.opts.Observer; o != nil {
		o.Hit(ctx, HitEvent{Namespace: c.ns, ID: id, Source: d.source, Negative: d.negative})
	}
}

// miss counts and reports a read that found nothing it could use.
func (c *core) miss(ctx context.Context, id string, r MissReason) {
	c.n.misses.Add(1)
	switch r {
	case MissCorrupt:
		c.n.corrupt.Add(1)
	case MissNewer:
		c.n.newer.Add(1)
	case MissCodec:
		c.n.codec.Add(1)
	case MissInvalid:
		c.n.invalid.Add(1)
	}
	if o := c.m.opts.Observer; o != nil {
		o.Miss(ctx, MissEvent{Namespace: c.ns, ID: id, Reason: r})
	}
}

// serveStale counts and reports a stale value given to a caller.
func (c *core) serveStale(ctx context.Context, id string, d *cand, why StaleReason) answer {
	a := d.answer(c.m.now(), why)
	c.hit(ctx, id, d)
	c.n.stale.Add(1)
	if o := c.m.opts.Observer; o != nil {
		o.Stale(ctx, StaleEvent{Namespace: c.ns, ID: id, Reason: why, Age: a.age})
	}
	return a
}

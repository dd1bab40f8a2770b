package rc

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/near"
)

// MaxTags is the largest number of tags of one value.
const MaxTags = 256

// errTagMoved is why a loaded value is not stored: one of its tags may have
// been invalidated while it was loaded.
var errTagMoved = errors.New("rc: a tag of the value may have been invalidated while it was loaded")

// A stamp is what a value is stored with: the tokens of its namespace and its
// tags, and the entries that vouch for them in memory; nil if not all could be
// tracked.
type stamp struct {
	ns   lease.Token
	tags []envelope.Tag
	deps []*near.Entry
}

// A captured is the tokens as they were before a load.
type captured struct {
	at     int64
	ns     []*token // by group; nil for groups that nothing loaded is of
	tags   []string // known beforehand
	tokens []*token // of tags
	// guards are those of all groups, for tags that only the loaded value
	// names; nil if the service has not had any.
	guards []*token
}

// life is how long the tokens of this service are to live: they must outlive
// what is stored with them, or that ends with them.
func (c *core) life() time.Duration { return max(guardLife, 2*c.longest()) }

func (c *core) tagKeys(tags []string) []string {
	keys := make([]string, 0, len(tags)+1)
	for _, t := range tags {
		keys = append(keys, key.TagKey(c.m.opts.Prefix, t))
	}
	return keys
}

// nsGroup returns which of the namespace's tokens the value of a key depends on.
func (c *core) nsGroup(rk string) int {
	if len(c.nsKeys) == 1 {
		return 0
	}
	return key.SpaceGroup(hashslot.Of(rk))
}

// namespace returns a token of the service's namespace, which is mostly in
// memory.
func (c *core) namespace(ctx context.Context, group int, life time.Duration) *token {
	now := c.m.now()
	if t := c.nsTokens[group].Load(); c.m.tokens.good(t, now) && t.until-now >= int64(life/2) {
		return t
	}
	t := c.m.tokens.get(ctx, []string{c.nsKeys[group]}, life)[0]
	if t.err == nil && t.value != 0 {
		c.nsTokens[group].Store(t)
	}
	return t
}

// capture reads the tokens before a load of keys. The error says which could not
// be read: then nothing may be stored. Those of the namespace have errors of their
// own, see captured.of.
func (c *core) capture(ctx context.Context, keys []string, tags []string) (*captured, error) {
	got := &captured{at: c.m.now(), ns: make([]*token, len(c.nsKeys)), tags: tags}
	if len(keys) > 1 {
		c.warmSpace(ctx, keys, c.life())
	}
	for _, k := range keys {
		if g := c.nsGroup(k); got.ns[g] == nil {
			got.ns[g] = c.namespace(ctx, g, c.life())
		}
	}
	if len(tags) > 0 {
		got.tokens = c.m.tokens.get(ctx, c.tagKeys(tags), c.life())
		for _, t := range got.tokens {
			if t.err != nil {
				return nil, t.err
			}
		}
	}
	if c.tagged.Load() {
		got.guards = c.m.tokens.guards(ctx)
	}
	return got, nil
}

// coherent reports whether nothing has been invalidated since, as far as this
// process has been told.
func (cp *captured) coherent(ts *tokens, now int64) bool {
	if cp == nil {
		return true
	}
	bad := func(t *token) bool { return !ts.good(t, now) }
	return !slices.ContainsFunc(cp.ns, func(t *token) bool { return t != nil && bad(t) }) &&
		!slices.ContainsFunc(cp.tokens, bad) && !slices.ContainsFunc(cp.guards, bad)
}

// stamp returns what a loaded value with these tags is stored with. Tags that
// were not known before the load are proven not to have changed since: their
// token was in memory by then, or their guard is what it was.
func (c *core) stamp(ctx context.Context, cp *captured, rk string, tags []string) (s stamp, err error) {
	ns := cp.ns[c.nsGroup(rk)]
	s.ns, s.deps = ns.value, ns.alone
	if len(tags) == 0 {
		return s, nil
	}
	late := make([]string, 0, len(tags))
	for _, t := range tags {
		if !slices.Contains(cp.tags, t) {
			late = append(late, t)
		}
	}
	tokens := cp.tokens
	if len(late) > 0 {
		more := c.m.tokens.get(ctx, c.tagKeys(late), c.life())
		var prove []string
		for i, t := range more {
			if t.err != nil {
				return s, t.err
			}
			if t.known > cp.at {
				prove = append(prove, late[i])
			}
		}
		if err := c.prove(ctx, cp, prove); err != nil {
			return s, err
		}
		tokens = append(slices.Clip(tokens), more...)
	}
	return c.seal(s, append(slices.Clip(cp.tags), late...), tokens, ns), nil
}

// prove returns an error unless the guards of the tags have not changed since the
// load began. They are read again, one round trip. Whether memory still believes in
// them does not matter: that it has not heard of a change proves nothing if the slot
// is elsewhere by now, or if changes are announced by those who make them; and that
// it has heard of one may be that the guard was made, or its connection is new.
func (c *core) prove(ctx context.Context, cp *captured, tags []string) error {
	if len(tags) == 0 {
		return nil
	}
	if cp.guards == nil {
		return errTagMoved
	}
	var keys []string
	var guards []*token
	for _, t := range tags {
		g := cp.guards[key.TagGroup(t)]
		if g.err != nil {
			return g.err
		}
		if g.value == 0 { // that it is missing again would prove nothing
			return errTagMoved
		}
		if !slices.Contains(keys, g.key) {
			keys, guards = append(keys, g.key), append(guards, g)
		}
	}
	octx, cancel := c.m.opMany(ctx, len(keys))
	defer cancel()
	for i, v := range c.m.redis.ReadMany(octx, keys, false) {
		if v.Err != nil {
			return c.m.done(ctx, c.m.topo.For(keys[i]), v.Err)
		}
		if lease.ParseToken(v.Raw) != guards[i].value {
			return errTagMoved
		}
	}
	return nil
}

// stampNow returns what a value that is written now is stored with.
func (c *core) stampNow(ctx context.Context, rk string, tags []string) (s stamp, err error) {
	ns := c.namespace(ctx, c.nsGroup(rk), c.life())
	if ns.err != nil {
		return s, ns.err
	}
	s.ns, s.deps = ns.value, ns.alone
	if len(tags) == 0 {
		return s, nil
	}
	tokens := c.m.tokens.get(ctx, c.tagKeys(tags), c.life())
	for _, t := range tokens {
		if t.err != nil {
			return s, t.err
		}
	}
	return c.seal(s, tags, tokens, ns), nil
}

func (c *core) seal(s stamp, tags []string, tokens []*token, ns *token) stamp {
	s.tags = make([]envelope.Tag, len(tags))
	for i, t := range tags {
		s.tags[i] = envelope.Tag{Name: t, Token: uint64(tokens[i].value)}
	}
	s.deps = entriesOf(ns, tokens)
	return s
}

// entriesOf returns what vouches for tokens, nil if something does not.
func entriesOf(ns *token, tokens []*token) []*near.Entry {
	if len(tokens) == 0 || ns.entry == nil {
		return ns.alone
	}
	deps := make([]*near.Entry, 0, 1+len(tokens))
	deps = append(deps, ns.entry)
	for _, t := range tokens {
		if t.entry == nil {
			return nil
		}
		deps = append(deps, t.entry)
	}
	return deps
}

// A verdict is what the tokens say of a stored value.
type verdict struct {
	good bool // not purged
	soft bool // expired
	deps []*near.Entry
	err  error // a token could not be read: not good
}

// vouch compares the tokens a value was stored with to the current ones. A
// token that is missing, for whatever reason, is not the same.
func (c *core) vouch(ctx context.Context, rk string, ns lease.Token, tags []envelope.Tag) (v verdict) {
	nst := c.namespace(ctx, c.nsGroup(rk), 0)
	var tokens []*token
	if len(tags) > 0 {
		names := make([]string, len(tags))
		for i, t := range tags {
			names[i] = t.Name
		}
		tokens = c.m.tokens.get(ctx, c.tagKeys(names), 0)
	}
	v.good = true
	v.compare(ns, nst)
	for i, t := range tokens {
		v.compare(lease.Token(tags[i].Token), t)
	}
	if v.good {
		v.deps = entriesOf(nst, tokens)
	}
	return v
}

func (v *verdict) compare(stored lease.Token, t *token) {
	switch {
	case t.err != nil:
		v.good, v.err = false, t.err
	case !stored.SamePurge(t.value):
		v.good = false
	case stored != t.value:
		v.soft = true
	}
}

// warm reads the tokens of many values at once, so that what is asked for one
// by one afterwards is in memory.
func (c *core) warm(ctx context.Context, tags map[string]bool, life time.Duration) {
	if len(tags) == 0 {
		return
	}
	names := make([]string, 0, len(tags))
	for t := range tags {
		names = append(names, t)
	}
	c.m.tokens.get(ctx, c.tagKeys(names), life)
}

// warmSpace is warm for the tokens of the namespace that keys depend on.
func (c *core) warmSpace(ctx context.Context, keys []string, life time.Duration) {
	var want []string
	now := c.m.now()
	seen := make([]bool, len(c.nsKeys))
	for _, k := range keys {
		g := c.nsGroup(k)
		if !seen[g] && !c.m.tokens.good(c.nsTokens[g].Load(), now) {
			want = append(want, c.nsKeys[g])
		}
		seen[g] = true
	}
	if len(want) > 1 {
		c.m.tokens.get(ctx, want, life)
	}
}

// warmStored is warm for values that were read.
func (c *core) warmStored(ctx context.Context, raws []lease.ValueOr, keys []string) {
	c.warmSpace(ctx, keys, 0)
	tags := map[string]bool{}
	for i, v := range raws {
		if v.Err != nil || v.Raw == nil {
			continue
		}
		if h, _, err := envelope.Parse(v.Raw, keys[i]); err == nil {
			for _, t := range h.Tags {
				tags[t.Name] = true
			}
		}
	}
	c.warm(ctx, tags, 0)
}

// warmValues is warm for values that are about to be stored.
func (c *core) warmValues(ctx context.Context, values map[string]any, more []string) {
	if c.types.tags == nil && len(more) == 0 {
		return
	}
	all := map[string]bool{}
	for id, v := range values {
		tags, err := c.tagsOf(id, v, more)
		if err != nil {
			continue // said when it is its turn
		}
		for _, t := range tags {
			all[t] = true
		}
	}
	c.warm(ctx, all, c.life())
}

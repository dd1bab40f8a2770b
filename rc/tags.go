package rc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/lease"
)

// ErrTag is wrapped by the errors of tags that cannot be: empty ones, ones of
// more than 512 bytes, and more than [MaxTags] on one value.
var ErrTag = errors.New("rc: bad tag")

// allMark begins the name that stands for a combination of tags.
const allMark = "\x00all"

// AllOf returns a tag that stands for the combination of the given ones, in any
// order. A value that has it, because Config.Tags, WithTags or AddTags named
// it, is invalidated by InvalidateTag and ExpireTag with the same combination,
// as by each of its other tags. So the values that have several tags at once
// can be invalidated for the price of one tag: a service names the
// combinations it needs.
func AllOf(tags ...string) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(tags)))
	if len(sorted) == 1 {
		return sorted[0]
	}
	var b strings.Builder
	b.WriteString(allMark)
	for _, t := range sorted {
		b.WriteString(":" + strconv.Itoa(len(t)) + ":" + t)
	}
	return b.String()
}

// checkTags sorts tags and names each once. The error wraps [ErrTag].
func checkTags(tags []string) ([]string, error) {
	if len(tags) == 0 {
		return nil, nil
	}
	tags = slices.Compact(slices.Sorted(slices.Values(tags)))
	if len(tags) > MaxTags {
		return nil, fmt.Errorf("%w: %d tags, at most %d", ErrTag, len(tags), MaxTags)
	}
	for _, t := range tags {
		if err := key.CheckTag(t); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTag, err)
		}
	}
	return tags, nil
}

// InvalidateTag removes every value that has one of the tags, in all services
// and processes, whatever their number: what was stored, or whose load began,
// before it is never served again, not even as a stale value. When it has
// returned nil, no later read through this Manager finds such a value; other
// processes are told by Redis, within Options.MaxStaleness at most.
//
// Values are not looked for: each tag has a token in Redis that is replaced,
// by two SET in one round trip for all tags of a node, and values stored with
// the old one are no longer valid. They stay in Redis until they are replaced
// or their time is over.
//
// An empty tag, or one of more than 512 bytes, is an error that wraps
// [ErrTag]; nothing is sent then. If Redis could not be told of some tags, the
// error joins an [*InvalidationError] for each: those are kept and sent as
// soon as their nodes answer, and meanwhile this process does not serve values
// that have them.
func (m *Manager) InvalidateTag(ctx context.Context, tags ...string) error {
	return m.markTags(ctx, tags, false)
}

// ExpireTag makes every value that has one of the tags stale now. It is like
// [Manager.InvalidateTag], but the old values may still be served if their
// next load fails, as Config.StaleFor allows. It runs a script per tag.
func (m *Manager) ExpireTag(ctx context.Context, tags ...string) error {
	return m.markTags(ctx, tags, true)
}

// Clear removes every value of the namespace, as [Manager.InvalidateTag] does
// those of a tag: one SET, and in a cluster 32, all in one round trip. There a
// namespace has a token for each range of 512 slots, so that values do not depend
// on primaries other than their own.
func (s *CacheService[T]) Clear(ctx context.Context) error { return s.core.markNamespace(ctx, false) }

// ExpireAll makes every value of the namespace stale now, as
// [Manager.ExpireTag] does those of a tag, with as many scripts as
// [CacheService.Clear] has SETs.
func (s *CacheService[T]) ExpireAll(ctx context.Context) error {
	return s.core.markNamespace(ctx, true)
}

// A marking is the invalidation of a tag or of a namespace.
type marking struct {
	lease.Mark
	// tag is the tag, "" for a namespace; ns the namespace.
	tag, ns string
	group   *group // of the namespace
	// part reports that another marking of the namespace, with it, is the one to
	// be counted and observed.
	part bool
}

func (mk *marking) verb(soft bool) string {
	switch {
	case mk.tag == "" && soft:
		return "ExpireAll"
	case mk.tag == "":
		return "Clear"
	case soft:
		return "ExpireTag"
	}
	return "InvalidateTag"
}

func (m *Manager) markTags(ctx context.Context, tags []string, soft bool) error {
	if m.closed.Load() {
		return ErrClosed
	}
	marks := make([]marking, 0, len(tags))
	for _, t := range slices.Compact(slices.Sorted(slices.Values(tags))) {
		if err := key.CheckTag(t); err != nil {
			return fmt.Errorf("%w: %w", ErrTag, err)
		}
		marks = append(marks, marking{tag: t, Mark: lease.Mark{
			Key: key.TagKey(m.opts.Prefix, t), Guard: key.GuardKey(m.opts.Prefix, key.TagGroup(t)),
		}})
	}
	return m.mark(ctx, marks, soft)
}

func (c *core) markNamespace(ctx context.Context, soft bool) error {
	if c.m.closed.Load() {
		return ErrClosed
	}
	marks := make([]marking, len(c.nsKeys))
	for i, k := range c.nsKeys {
		marks[i] = marking{Mark: lease.Mark{Key: k}, ns: c.ns, group: c.g, part: i > 0}
	}
	return c.m.mark(ctx, marks, soft)
}

// mark sends invalidations and accounts for them.
func (m *Manager) mark(ctx context.Context, marks []marking, soft bool) error {
	keys := make([]string, len(marks))
	for i, mk := range marks {
		keys[i] = mk.Key
	}
	return m.replicated(ctx, keys, func() error {
		sent := m.departure()
		errs := m.sendMarks(ctx, marks, soft)
		for i := range marks {
			errs[i] = m.marked(ctx, &marks[i], soft, sent, errs[i])
		}
		return errors.Join(errs...)
	})
}

// sendMarks sends those invalidations whose nodes are not known to be down.
func (m *Manager) sendMarks(ctx context.Context, marks []marking, soft bool) []error {
	errs := make([]error, len(marks))
	var send []lease.Mark
	var of []int
	for i, mk := range marks {
		if errs[i] = m.serving(mk.Key); errs[i] == nil {
			send, of = append(send, mk.Mark), append(of, i)
		}
	}
	octx, cancel := m.opMany(ctx, len(send))
	defer cancel()
	tell := m.redis.PurgeTokens
	if soft {
		tell = m.redis.ExpireTokens
	}
	for n, err := range tell(octx, send, guardLife) {
		errs[of[n]] = m.done(ctx, m.topo.For(send[n].Key), err)
	}
	return errs
}

// marked ends an invalidation: after it, no reader of this process finds what
// it removed. As in core.wrote, it is queued if need be, then reads and loads in
// flight are left to those who wait for them already, then memory is cleared.
func (m *Manager) marked(ctx context.Context, mk *marking, soft bool, sent departure, err error) error {
	e := InvalidationEvent{Namespace: mk.ns, ID: mk.tag, Verb: mk.verb(soft), Err: err}
	inv := change{mark: mk, soft: soft, until: m.now() + int64(guardLife)}
	closed := errors.Is(err, ErrClosed)
	switch {
	case err == nil:
		m.queue.covered(mk.Key, soft, sent.seq)
	case !closed:
		e.Queued = m.queue.add(mk.Key, inv)
	}
	m.unmark(mk)
	switch {
	case closed:
		return err
	case err == nil:
		m.recent.note(mk.Key, inv)
		if mk.part {
			return nil
		}
		m.marks.Add(1)
	default:
		m.markErrors.Add(1)
		err = &InvalidationError{Key: mk.Key, Queued: e.Queued, Err: err}
	}
	if o := m.opts.Observer; o != nil {
		o.Invalidation(ctx, e)
	}
	return err
}

// unmark makes this process forget what it knew of a tag or namespace, and
// later readers start anew. The tokens go first: a read that begins before they
// are gone may still be told the old ones, and is left behind that to those who
// wait for it already. The other way round, one that begins in between would be
// shared by who comes after the invalidation.
func (m *Manager) unmark(mk *marking) {
	m.tokens.forget(mk.Key)
	m.table.Evict(mk.Key)
	if mk.Guard != "" {
		m.tokens.forget(mk.Guard)
		m.table.Evict(mk.Guard)
	}
	groups := []*group{mk.group}
	if mk.group == nil {
		m.mu.Lock()
		groups = groups[:0]
		for _, g := range m.groups {
			groups = append(groups, g)
		}
		m.mu.Unlock()
	}
	for _, g := range groups {
		for _, c := range *g.cores.Load() {
			c.flights.ForgetAll()
			c.reads.forgetAll()
		}
	}
	m.table.KillDetached() // loaded without Redis, they name no tokens
}

// tagsOf returns the tags a value is to be stored with.
func (c *core) tagsOf(id string, v any, more ...[]string) ([]string, error) {
	var tags []string
	if c.types.tags != nil && v != nil {
		tags = slices.Clone(c.types.tags(id, v))
	}
	for _, m := range more {
		tags = append(tags, m...)
	}
	return checkTags(tags)
}

package rc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fleetcache/fleetcache/internal/key"
)

// ErrTarget is wrapped by the errors of targets that cannot be: tags and
// identifiers that are not valid, the zero Target, a soft pattern. Trying again
// does not help.
var ErrTarget = errors.New("rc: bad target")

// expireParallel is how many keys of one soft target are expired side by side.
// The client puts what is sent at the same time in one pipeline.
const expireParallel = 32

// A Target names what an event invalidates; see [On]. Make it with [TagTarget]
// or a method of a CacheService. Making one checks and sends nothing. Targets
// are values: methods return changed copies.
type Target struct {
	kind    targetKind
	soft    bool
	tags    []string
	core    *core
	ids     []string
	params  []any
	pattern string
	sweep   func(ctx context.Context, pattern string) error
}

type targetKind uint8

const (
	targetTags targetKind = iota + 1
	targetIDs
	targetAll
	targetPattern
)

// TagTarget names all values that have one of the tags, in all services. It is
// invalidated by [Manager.InvalidateTag], and if soft by [Manager.ExpireTag].
// Without tags it names nothing, which is no error.
func TagTarget(tags ...string) Target { return Target{kind: targetTags, tags: tags} }

// Target names the values of identifiers. They are invalidated by
// [CacheService.DeleteMany], and if soft by [CacheService.Expire]. Without
// identifiers it names nothing, which is no error.
func (s *CacheService[T]) Target(ids ...string) Target {
	return Target{kind: targetIDs, core: s.core, ids: ids}
}

// AllTarget names all values of the namespace. It is invalidated by
// [CacheService.Clear], and if soft by [CacheService.ExpireAll].
func (s *CacheService[T]) AllTarget() Target { return Target{kind: targetAll, core: s.core} }

// PatternTarget names the values whose identifiers match a glob pattern. It is
// invalidated by [CacheService.InvalidatePattern], which looks at every key of the
// namespace on every node: it takes seconds where the others take one round
// trip. It cannot be soft, and a failed one is not queued.
func (s *CacheService[T]) PatternTarget(pattern string) Target {
	return Target{kind: targetPattern, core: s.core, pattern: pattern, sweep: s.sweepPattern}
}

// Soft returns the target with expiry in place of removal: the old values may
// still be served if their next load fails, as Config.StaleFor allows. A
// pattern cannot be soft: invalidating it is then an error that wraps
// [ErrTarget].
func (t Target) Soft() Target {
	t.soft = true
	return t
}

// Params returns the target with what else the values depend on, as
// [WithParams] has it. Only targets made by [CacheService.Target] can have
// params; invalidating another is then an error that wraps [ErrTarget].
func (t Target) Params(namesAndValues ...any) Target {
	t.params = append(slices.Clip(t.params), namesAndValues...)
	return t
}

// String returns what the target names, for logs.
func (t Target) String() string {
	var b strings.Builder
	if t.soft {
		b.WriteString("soft ")
	}
	switch t.kind {
	case targetTags:
		fmt.Fprintf(&b, "tags %q", t.tags)
	case targetIDs:
		fmt.Fprintf(&b, "%s %q", t.core.ns, t.ids)
		if len(t.params) > 0 {
			fmt.Fprintf(&b, " %v", t.params)
		}
	case targetAll:
		b.WriteString("all of " + t.core.ns)
	case targetPattern:
		b.WriteString(t.core.ns + " matching " + strconv.Quote(t.pattern))
	default:
		b.WriteString("nothing: the zero Target")
	}
	return b.String()
}

// check returns an error that wraps ErrTarget if sending could never succeed.
func (t Target) check() error {
	if err := t.fault(); err != nil {
		return fmt.Errorf("%w: %v: %w", ErrTarget, t, err)
	}
	return nil
}

func (t Target) fault() error {
	if len(t.params) > 0 && t.kind != targetIDs {
		return errors.New("only identifiers have params")
	}
	switch t.kind {
	case targetTags:
		for _, tag := range t.tags {
			if err := key.CheckTag(tag); err != nil {
				return fmt.Errorf("%w: %w", ErrTag, err)
			}
		}
	case targetIDs:
		for _, id := range t.ids {
			if _, err := t.core.key(id, t.params); err != nil {
				return err
			}
		}
	case targetAll:
	case targetPattern:
		if t.soft {
			return errors.New("a pattern cannot be soft")
		}
		_, err := newPattern(t.core.space, t.pattern, false)
		return err
	default:
		return errors.New("make it with TagTarget or a CacheService")
	}
	return nil
}

// send invalidates a target that was checked.
func (t Target) send(ctx context.Context, m *Manager) error {
	switch t.kind {
	case targetTags:
		return m.markTags(ctx, t.tags, t.soft)
	case targetIDs:
		var opts []Opt
		if len(t.params) > 0 {
			opts = []Opt{WithParams(t.params...)}
		}
		return t.core.replicated(ctx, opts, func() error {
			if !t.soft {
				return t.core.deleteMany(ctx, t.ids, opts)
			}
			return t.core.expireEach(ctx, t.ids, opts)
		}, t.ids...)
	case targetAll:
		return t.core.markNamespace(ctx, t.soft)
	}
	return t.sweep(ctx, t.pattern)
}

// expireEach expires values side by side.
func (c *core) expireEach(ctx context.Context, ids []string, opts []Opt) error {
	errs := make([]error, len(ids))
	sem := make(chan struct{}, expireParallel)
	var wg sync.WaitGroup
	for i, id := range ids {
		sem <- struct{}{}
		wg.Go(func() { // ends with the operation, within OpTimeout
			errs[i] = c.remove(ctx, id, true, opts)
			<-sem
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// merge puts what can go out together into one target: tags, and identifiers
// of a service that have no params. Purges and soft ones stay apart.
func merge(targets []Target) []Target {
	var out []Target
	for _, t := range targets {
		i := -1
		if len(t.params) == 0 && (t.kind == targetTags || t.kind == targetIDs) {
			i = slices.IndexFunc(out, func(o Target) bool {
				return o.kind == t.kind && o.core == t.core && o.soft == t.soft && len(o.params) == 0
			})
		}
		if i < 0 {
			out = append(out, t)
			continue
		}
		out[i].tags = append(slices.Clip(out[i].tags), t.tags...)
		out[i].ids = append(slices.Clip(out[i].ids), t.ids...)
	}
	for i := range out {
		out[i].ids = slices.Compact(slices.Sorted(slices.Values(out[i].ids)))
	}
	return out
}

// strike invalidates targets, side by side. failed joins what may succeed later,
// bad what never will: errors that wrap ErrTarget. A bad target does not keep
// the others from being sent.
func (m *Manager) strike(ctx context.Context, targets []Target) (failed, bad error) {
	var bads []error
	good := make([]Target, 0, len(targets))
	for _, t := range targets {
		if err := t.check(); err != nil {
			bads = append(bads, err)
			continue
		}
		good = append(good, t)
	}
	good = merge(good)
	errs := make([]error, len(good))
	if len(good) == 1 {
		errs[0] = good[0].send(ctx, m)
		return errs[0], errors.Join(bads...)
	}
	var wg sync.WaitGroup
	for i, t := range good {
		wg.Go(func() { errs[i] = t.send(ctx, m) }) // as long as its operations
	}
	wg.Wait()
	return errors.Join(errs...), errors.Join(bads...)
}

// sweepPattern is where PatternTarget meets InvalidatePattern.
func (s *CacheService[T]) sweepPattern(ctx context.Context, pattern string) error {
	_, err := s.InvalidatePattern(ctx, pattern)
	return err
}

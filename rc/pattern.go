package rc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/sweep"
)

// MaxPattern is the largest length of a pattern, in bytes.
const MaxPattern = 1 << 10

// ErrPattern is wrapped by the errors of patterns that cannot be: empty ones,
// ones of more than [MaxPattern] bytes, and ones with a class that has no end.
var ErrPattern = errors.New("rc: bad pattern")

// A PatternOpt changes one call of InvalidatePattern. Like Opts, PatternOpts
// are plain values; make them with the functions whose names begin with Pattern.
type PatternOpt struct {
	progress func(deleted, scanned int64)
	batch    int
	hasBatch bool
	long     bool
}

// PatternProgress calls fn with the numbers of values removed and of keys looked
// at so far while they grow, and once at the end, in the goroutine that called
// InvalidatePattern. It does not hold up the work: while it runs, calls are left
// out.
func PatternProgress(fn func(deleted, scanned int64)) PatternOpt { return PatternOpt{progress: fn} }

// PatternBatch sets how many keys a server looks at, or removes, in one go, from
// 1 to 1024. Fewer take longer, and make others wait less. It is 512 without.
func PatternBatch(n int) PatternOpt { return PatternOpt{batch: n, hasBatch: true} }

// PatternLongIDs removes values with identifiers of more than 512 bytes, too:
// all of them, if the pattern can match an identifier of such a length at all.
// Redis has only the hashes of those. It makes the servers send all keys of the
// namespace, not only those that begin like the pattern.
func PatternLongIDs() PatternOpt { return PatternOpt{long: true} }

// InvalidatePattern removes every value whose identifier matches a glob pattern,
// and returns how many there were: '*' stands for any bytes, '?' for one,
// '[a-c]' for one of a class and '[^a-c]' for one not of it, '\' takes the
// special meaning from the byte behind it; use [EscapeGlob] for what is meant
// literally. The pattern is matched against identifiers as they were given, and
// all values of an identifier go, whatever their params. It never reaches beyond
// the namespace.
//
// What was stored, or whose load began, before the call is never served after
// it, not even as a stale value: by this Manager once the call has returned nil,
// by others when Redis has told them, within Options.MaxStaleness at most. A
// value stored during the call may go or stay. Remembered ErrNotFounds and what
// DeleteBefore leaves count as values, and so do those that a tag or Clear has
// made invalid.
//
// Identifiers of more than 512 bytes are found only by a pattern of nothing but
// stars, and by one that is such an identifier in full; see [PatternLongIDs].
//
// It walks twice through all keys of all primaries with SCAN, the primaries side
// by side, and removes with UNLINK in pipelines: it takes time in proportion to the number of
// keys in Redis, not of those that match. For a whole namespace [CacheService.Clear]
// is one round trip, and for a set of values that is known beforehand a tag is,
// see [Manager.InvalidateTag].
//
// It blocks until all is removed, for as long as slots keep moving or a node
// does not answer: give ctx an end. The values of other nodes are removed
// meanwhile. If ctx ends, or Redis refuses a command, the error says how far it
// came and which nodes are not finished, and the count is that of the values
// known to be removed. Unlike other writes it is not queued then, nor sent again
// after a failover: call it again. A pattern that is empty,
// longer than [MaxPattern], or has a class without an end is an error that wraps
// [ErrPattern], and nothing is sent.
func (s *CacheService[T]) InvalidatePattern(ctx context.Context, pattern string, opts ...PatternOpt) (int64, error) {
	return s.core.invalidatePattern(ctx, pattern, opts)
}

func (c *core) invalidatePattern(ctx context.Context, pattern string, opts []PatternOpt) (int64, error) {
	o, err := patternOpts(opts)
	if err != nil {
		return 0, err
	}
	p, err := newPattern(c.space, pattern, o.long)
	if err != nil {
		return 0, err
	}
	if c.m.closed.Load() {
		return 0, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.sweep(ctx, p, o)
	if c.m.broadcast != nil { // also after an error: some values are gone
		err = errors.Join(err, c.m.broadcast.tellPattern(context.WithoutCancel(ctx), c, p))
	}
	c.swept(p)
	c.n.invalidations.Add(uint64(n))
	if err != nil {
		c.n.invalidationErrors.Add(1)
		err = fmt.Errorf("rc: invalidate pattern %q of %q: %d values removed, call again for the rest: %w", pattern, c.ns, n, err)
	}
	if o := c.m.opts.Observer; o != nil {
		o.Invalidation(ctx, InvalidationEvent{Namespace: c.ns, ID: pattern, Verb: "InvalidatePattern", Err: err})
	}
	return n, err
}

// sweep removes what matches from Redis, and returns how many values that were.
// In each slot first all leases go, then all values: a load that began before can
// store until its lease is gone, and SCAN may have gone by the place of its value
// by then. When the values are looked for, whatever such a load could store is
// there.
//
// Close ends it. Without that it would go on as long as nodes do not answer, on
// connections that the client makes anew until it is closed itself.
func (c *core) sweep(ctx context.Context, p *pattern, o PatternOpt) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.m.ctx, cancel)()
	r, err := sweep.Sweep(ctx, c.m.client, sweep.Options{
		First: p.scan + "}" + key.LeaseSuffix, FirstKeep: p.matchLease,
		Match: p.scan + "}", Keep: p.match,
		Count: o.batch, Batch: o.batch, Progress: o.progress,
		OpTimeout: max(c.m.opts.OpTimeout, sweep.DefaultOpTimeout),
	})
	if err != nil && c.m.closed.Load() {
		err = fmt.Errorf("%w: %v", ErrClosed, err) // not the end of the caller's ctx
	}
	return r.Deleted, err
}

// swept ends a sweep in this process, as core.wrote does a write: reads and
// loads in flight are left to those who wait for them already, then memory is
// cleared of what matches. Pushes do that in other processes; here they may come
// after the call has returned, and do not know of values that were loaded while
// Redis did not answer.
func (c *core) swept(p *pattern) {
	for _, member := range *c.g.cores.Load() {
		member.flights.ForgetAll()
		member.reads.forgetAll()
	}
	c.m.table.KillMatching(p.touches)
}

func patternOpts(opts []PatternOpt) (PatternOpt, error) {
	o := PatternOpt{batch: sweep.DefaultBatch}
	for _, p := range opts {
		switch {
		case p.hasBatch && (p.batch < 1 || p.batch > sweep.MaxBatch):
			return o, fmt.Errorf("rc: PatternBatch is %d, must be 1 to %d", p.batch, sweep.MaxBatch)
		case p.hasBatch:
			o.batch = p.batch
		case p.progress != nil:
			o.progress = p.progress
		case p.long:
			o.long = true
		}
	}
	return o, nil
}

// A pattern finds the keys of a namespace by their identifiers.
type pattern struct {
	space key.Space
	glob  string
	// literal is the only identifier that matches, if exact.
	literal string
	exact   bool
	// long reports that identifiers match that are stored as their hash.
	long bool
	// scan is a glob pattern of all keys whose identifiers may match, less the
	// brace at the end. It has two stars at most: before 7.0.9 a server could
	// take exponential time for more.
	scan string
}

// newPattern checks a pattern of identifiers. The error wraps [ErrPattern].
func newPattern(space key.Space, glob string, long bool) (*pattern, error) {
	switch {
	case glob == "":
		return nil, fmt.Errorf(`%w: it is empty, want "*" for all`, ErrPattern)
	case len(glob) > MaxPattern:
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrPattern, len(glob), MaxPattern)
	}
	parts, shortest, bounded, err := globParts(glob)
	if err != nil {
		return nil, err
	}
	p := &pattern{space: space, glob: glob}
	if len(parts) == 1 { // no wildcard
		p.literal, p.exact = parts[0], true
		if p.long = len(p.literal) > key.MaxID; p.long {
			p.scan = key.EscapeGlob(strings.TrimSuffix(space.Key(p.literal), "}")) + "*"
			return p, nil
		}
	} else {
		canBeLong := !bounded || shortest > key.MaxID
		p.long = canBeLong && (long || strings.Trim(glob, "*") == "")
		if !p.long && shortest > key.MaxID {
			return nil, fmt.Errorf("%w: it matches identifiers of %d bytes and more only, of which Redis has the hash: see PatternLongIDs", ErrPattern, shortest)
		}
	}
	if p.long {
		p.scan = space.Prefix() + "*"
		return p, nil
	}
	p.scan = space.Prefix() + key.EscapeGlob(stored(space, parts[0])) + "*"
	longest := ""
	for _, lit := range parts[1:] {
		if len(lit) > len(longest) {
			longest = lit
		}
	}
	if longest != "" {
		p.scan += key.EscapeGlob(stored(space, longest)) + "*"
	}
	return p, nil
}

// stored returns how a part of an identifier, of MaxID bytes at most, is stored.
func stored(space key.Space, part string) string {
	if part == "" {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(space.Key(part), space.Prefix()), "}")
}

// globParts returns the literal parts of a pattern, between its wildcards: one
// if it has none. shortest is the length of the shortest identifier that
// matches, and bounded reports that no longer one does.
func globParts(glob string) (parts []string, shortest int, bounded bool, err error) {
	var lit []byte
	bounded = true
	wild := func() {
		parts, lit = append(parts, string(lit)), nil
	}
	for i := 0; i < len(glob); i++ {
		shortest++
		switch c := glob[i]; {
		case c == '\\' && i+1 < len(glob):
			i++
			lit = append(lit, glob[i])
		case c == '*':
			wild()
			shortest--
			bounded = false
		case c == '?':
			wild()
		case c == '[':
			n := classLen(glob[i:])
			if n == 0 {
				return nil, 0, false, fmt.Errorf(`%w: the class at byte %d has no end, want "]", or "\[" for a bracket`, ErrPattern, i)
			}
			wild()
			i += n - 1
		default:
			lit = append(lit, c)
		}
	}
	wild()
	return parts, shortest, bounded, nil
}

// classLen returns the length of the class that s begins with, 0 if it has no
// end. As in Redis a bracket may be the end of a range: "[a-]" has no end.
func classLen(s string) int {
	i := 1
	if i < len(s) && s[i] == '^' {
		i++
	}
	for i < len(s) {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i += 2
		case s[i] == ']':
			return i + 1
		case i+2 < len(s) && s[i+1] == '-':
			i += 3
		default:
			i++
		}
	}
	return 0
}

// match reports whether the key is one of a value, and its identifier matches.
func (p *pattern) match(k string) bool {
	id, long, ok := p.decode(k)
	switch {
	case !ok:
		return false
	case long && p.exact:
		return p.long && id == stored(p.space, p.literal)
	case long:
		return p.long
	case p.exact:
		return id == p.literal
	}
	return key.MatchGlob(p.glob, id)
}

// matchLease is match for the keys of leases.
func (p *pattern) matchLease(k string) bool {
	k, ok := strings.CutSuffix(k, key.LeaseSuffix)
	return ok && p.match(k)
}

// touches reports whether the key is one of a value that matches, or of its
// lease.
func (p *pattern) touches(k string) bool { return p.match(k) || p.matchLease(k) }

const (
	longMark  = "%L" // see package key
	paramMark = "%P"
	longLen   = len(longMark) + 64
	hashLen   = 32
)

var unescape = strings.NewReplacer("%7B", "{", "%7D", "}", "%25", "%")

// decode returns the identifier of the key of a value. That of a long one is
// the hash, as it is stored. What is no key of a value of this namespace is
// not ok: it is not one that building it again gives back.
func (p *pattern) decode(k string) (id string, long, ok bool) {
	rest, ok := strings.CutPrefix(k, p.space.Prefix())
	if !ok {
		return "", false, false
	}
	rest, ok = strings.CutSuffix(rest, "}")
	if !ok {
		return "", false, false
	}
	id, hash, params := strings.Cut(rest, paramMark)
	if params && (len(hash) != hashLen || !isHex(hash)) {
		return "", false, false
	}
	if strings.HasPrefix(id, longMark) {
		return id, true, len(id) == longLen && isHex(id[len(longMark):])
	}
	if strings.IndexByte(id, '%') < 0 && strings.IndexByte(id, '{') < 0 && strings.IndexByte(id, '}') < 0 {
		return id, false, id != "" && len(id) <= key.MaxID
	}
	plain := unescape.Replace(id)
	return plain, false, len(plain) <= key.MaxID && stored(p.space, plain) == id
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

package rc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A CacheService caches values of one type under one namespace. Make it with
// [New]. All methods are safe for concurrent use and return [ErrClosed] after
// the Manager was closed.
//
// Identifiers are any bytes, but not empty. Services of one Manager with the
// same prefix, key version and namespace share their values in Redis and see
// each other's writes; they should have the same type and codec.
type CacheService[T any] struct {
	core *core
	copy func(T) T
}

// New makes a CacheService. namespace is part of each key: 1 to 128 characters
// of A-Z, a-z, 0-9, '.', '_', '/' and '-'. A field of cfg that is out of range
// is an error that names it. New sends nothing.
func New[T any](m *Manager, namespace string, cfg Config[T]) (*CacheService[T], error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	s := cfg.settings(m)
	if err := s.validate(); err != nil {
		return nil, err
	}
	codec := cfg.Codec
	if codec == nil {
		codec = JSON[T]{}
	}
	types := typeFuncs{
		codecID: CodecID(codec),
		encode:  func(dst []byte, v any) ([]byte, error) { return codec.Append(dst, as[T](v)) },
		decode:  func(src []byte) (any, error) { return codec.Decode(src) },
	}
	if check := cfg.Validate; check != nil {
		types.check = func(v any) error { return check(as[T](v)) }
	}
	if version := cfg.Version; version != nil {
		types.version = func(v any) uint64 { return version(as[T](v)) }
	}
	if tags := cfg.Tags; tags != nil {
		types.tags = func(id string, v any) []string { return tags(id, as[T](v)) }
	}
	c, err := newCore(m, namespace, s, types)
	if err != nil {
		return nil, fmt.Errorf("rc: new %q: %w", namespace, err)
	}
	return &CacheService[T]{core: c, copy: cfg.Copy}, nil
}

// as returns a value that is a T, or nil for a T that is an interface.
func as[T any](v any) T {
	t, _ := v.(T)
	return t
}

func (s *CacheService[T]) give(v any) T {
	t := as[T](v)
	if s.copy != nil {
		t = s.copy(t)
	}
	return t
}

// GetOrSet returns the value of an identifier: from memory, from Redis, or
// from load, whose result is stored in both.
//
// In the absence of failures load runs once per key and freshness window in
// the whole fleet; whoever else wants the value waits for that one. Its
// context carries the values of ctx but not its end: it ends after
// Config.LoadTimeout, or when nobody waits for a load that may not be stored.
// If load returns [ErrNotFound], that is remembered too, for
// Config.NegativeTTL, and returned to every caller. Other errors are returned
// to those who wait, and loads of the key are held back for
// Config.ErrorBackoff. A panic of load panics in those who wait.
//
// load may be called more than once for what looks like one miss (see the
// package documentation), and concurrently in several processes when Redis
// does not answer. All loaders of a key must compute the same value.
//
// The value may be stale as Config.StaleFor and its relatives allow; use
// [CacheService.Lookup] to learn whether it is. It takes no Redis round trip on
// a hit in memory, one on a hit in Redis, and three on a miss, or two while most
// reads are misses. It never blocks for longer than ctx; without an end of ctx,
// for Config.LockWait to wait for another process, LoadTimeout to load,
// LoadTimeout again to wait for a slot if Redis does not answer, and OpTimeout
// for each round trip.
func (s *CacheService[T]) GetOrSet(ctx context.Context, id string, load func(context.Context) (T, error), opts ...Opt) (v T, err error) {
	if len(opts) == 0 { // the hit path: no allocation, no lock, no key built
		if e := s.core.lookup(ctx, id); e != nil {
			if absent(e) {
				return v, ErrNotFound
			}
			if v, _ = e.Value.(T); s.copy != nil { // give, less a copy of T
				v = s.copy(v)
			}
			return v, nil
		}
	}
	a, err := s.core.getOrSet(ctx, id, untyped(load), opts)
	return s.result(a, err)
}

func untyped[T any](load func(context.Context) (T, error)) loadFunc {
	return func(ctx context.Context) (any, error) { return load(ctx) }
}

func (s *CacheService[T]) result(a answer, err error) (v T, _ error) {
	if err != nil {
		return v, err
	}
	if a.negative {
		return v, ErrNotFound
	}
	return s.give(a.value), nil
}

// Get returns the value of an identifier if it is cached, and whether it is. A
// remembered ErrNotFound is not found. It never loads. It takes one round
// trip, none on a hit in memory. The error is [ErrUnavailable] if Redis does
// not answer and memory has nothing that may be served instead.
func (s *CacheService[T]) Get(ctx context.Context, id string, opts ...Opt) (v T, found bool, err error) {
	if len(opts) == 0 {
		if e := s.core.lookup(ctx, id); e != nil {
			if absent(e) {
				return v, false, nil
			}
			return s.give(e.Value), true, nil
		}
	}
	a, found, err := s.core.lookupOnly(ctx, id, opts)
	if err != nil || !found || a.negative {
		return v, false, err
	}
	return s.give(a.value), true, nil
}

// An Item is a value with what is known about it.
type Item[T any] struct {
	// Value is the value; the zero T if Found is false.
	Value T
	// Found reports whether there is a value. NotFound reports that the
	// source said there is none, and that was remembered.
	Found, NotFound bool
	// Source is the tier the value came from.
	Source Source
	// Stale reports whether the value is past its time, and Reason why it
	// is served all the same.
	Stale  bool
	Reason StaleReason
	// Age is the time since the value was stored, by Redis' clock.
	Age time.Duration
	// FreshFor is how long the value is fresh still, 0 if it is stale.
	FreshFor time.Duration
}

// Lookup is [CacheService.Get] with all that is known about the value.
func (s *CacheService[T]) Lookup(ctx context.Context, id string, opts ...Opt) (Item[T], error) {
	a, found, err := s.core.lookupOnly(ctx, id, opts)
	if err != nil || !found {
		return Item[T]{}, err
	}
	it := Item[T]{
		Found: !a.negative, NotFound: a.negative, Source: a.source,
		Stale: a.stale != NotStale, Reason: a.stale, Age: a.age, FreshFor: a.ttl,
	}
	if it.Found {
		it.Value = s.give(a.value)
	}
	return it, nil
}

// Exists reports whether a value is cached that Get would return. It costs
// what Get costs.
func (s *CacheService[T]) Exists(ctx context.Context, id string, opts ...Opt) (bool, error) {
	a, found, err := s.core.lookupOnly(ctx, id, opts)
	return found && !a.negative && err == nil, err
}

// TTL returns how long the cached value is fresh still, and whether there is a
// value; 0 for one that is stale. It costs what Get costs.
func (s *CacheService[T]) TTL(ctx context.Context, id string, opts ...Opt) (ttl time.Duration, found bool, err error) {
	a, found, err := s.core.lookupOnly(ctx, id, opts)
	if err != nil || !found || a.negative {
		return 0, false, err
	}
	return a.ttl, true, nil
}

// Refresh loads the value of an identifier now, even if a fresh one is cached,
// and returns it. It shares a load that runs already, and returns the value of
// another process that loaded after Refresh began.
func (s *CacheService[T]) Refresh(ctx context.Context, id string, load func(context.Context) (T, error), opts ...Opt) (T, error) {
	a, err := s.core.refresh(ctx, id, untyped(load), opts)
	return s.result(a, err)
}

// Set stores a value that was just written at its source. Loads of the key in
// flight, in any process, can no longer be stored. When it has returned nil,
// no later read through this Manager finds an older value; other processes
// are told by Redis, within Options.MaxStaleness at most. With Config.Version
// it does not replace a newer value.
//
// It takes one round trip. If Redis cannot be told, the error is an
// [*InvalidationError], and the key's old value is invalidated as soon as it
// can. A value that cannot be encoded, or is too large, is an error too; then
// the old value is deleted.
func (s *CacheService[T]) Set(ctx context.Context, id string, v T, opts ...Opt) error {
	return s.core.replicated(ctx, opts, func() error { return s.core.set(ctx, id, v, opts) }, id)
}

// Delete removes the value of an identifier everywhere, and lets no load in
// flight store one from before. It is never served again, not even as a stale
// one. It keeps the promises of [CacheService.Set], costs the same, and fails
// the same way. Deleting what is not there is no error.
func (s *CacheService[T]) Delete(ctx context.Context, id string, opts ...Opt) error {
	return s.core.replicated(ctx, opts, func() error { return s.core.remove(ctx, id, false, opts) }, id)
}

// DeleteBefore removes a value older than a version, and keeps loads from
// storing one: a loader that asks a database replica which lags behind may
// still see it. It leaves a tombstone for as long as a value could live; newer
// values, and those of the version itself, replace it, and a newer value that
// is there already stays. It takes Config.Version, or loaders that call
// [SetVersion]: values without a version are stored all the same. A version of
// 0 is an error. Otherwise it is like Delete.
func (s *CacheService[T]) DeleteBefore(ctx context.Context, id string, version uint64, opts ...Opt) error {
	return s.core.replicated(ctx, opts, func() error { return s.core.deleteBefore(ctx, id, version, opts) }, id)
}

// Expire makes the value of an identifier stale now, everywhere: the next
// GetOrSet loads. Unlike after Delete the old value may still be served if
// that load fails, as Config.StaleFor allows. Otherwise it is like Delete.
func (s *CacheService[T]) Expire(ctx context.Context, id string, opts ...Opt) error {
	return s.core.replicated(ctx, opts, func() error { return s.core.remove(ctx, id, true, opts) }, id)
}

// GetOrSetMany is [CacheService.GetOrSet] for many identifiers. load is called
// once at most, with the identifiers that are neither cached nor being loaded
// by another process; values of other processes are waited for. Identifiers
// that load does not return do not exist at the source, and are remembered as
// [ErrNotFound] is; ones it returns unasked are ignored. load is called again,
// with one identifier, for a value another process failed to bring, and to
// refresh one in the background.
//
// The result has the values found, by identifier; those that do not exist are
// not in it. If some identifiers failed, it has the others, and the error is a
// [*ManyError]. Naming an identifier twice is naming it once. It takes one
// round trip per node for what is in Redis, and two more for what is not.
func (s *CacheService[T]) GetOrSetMany(ctx context.Context, ids []string, load func(ctx context.Context, missing []string) (map[string]T, error), opts ...Opt) (map[string]T, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make(map[string]T, len(ids))
	rest := ids
	if len(opts) == 0 { // the hit path, as in GetOrSet
		rest = s.hits(ctx, ids, out)
		if len(rest) == 0 && len(ids) > 0 {
			return out, nil
		}
	}
	values, err := s.core.getOrSetMany(ctx, rest, func(ctx context.Context, missing []string) (map[string]any, error) {
		m, err := load(ctx, missing)
		if err != nil {
			return nil, err
		}
		return boxed(m), nil
	}, opts)
	if values == nil {
		return nil, err
	}
	for id, v := range values {
		out[id] = s.give(v)
	}
	return out, err
}

// hits puts what is fresh in memory into out, and returns the identifiers of
// which memory does not know whether they exist.
func (s *CacheService[T]) hits(ctx context.Context, ids []string, out map[string]T) (rest []string) {
	for _, id := range ids {
		switch e := s.core.lookup(ctx, id); {
		case e == nil:
			rest = append(rest, id)
		case !absent(e):
			out[id] = s.give(e.Value)
		}
	}
	return rest
}

func boxed[T any](m map[string]T) map[string]any {
	out := make(map[string]any, len(m))
	for id, v := range m {
		out[id] = v
	}
	return out
}

// SetMany is [CacheService.Set] for many values, one round trip per node. The
// error is a [*ManyError] with those that failed.
func (s *CacheService[T]) SetMany(ctx context.Context, values map[string]T, opts ...Opt) error {
	ids := slices.Collect(maps.Keys(values))
	return s.core.replicated(ctx, opts, func() error { return s.core.setMany(ctx, boxed(values), opts) }, ids...)
}

// DeleteMany is [CacheService.Delete] for many identifiers, one round trip per
// node. The error is a [*ManyError] with those that failed.
func (s *CacheService[T]) DeleteMany(ctx context.Context, ids []string, opts ...Opt) error {
	return s.core.replicated(ctx, opts, func() error { return s.core.deleteMany(ctx, ids, opts) }, ids...)
}

// Stats returns the counts of this service; those of the Manager are zero.
func (s *CacheService[T]) Stats() Stats { return s.core.n.stats() }

// Key returns the Redis key of an identifier.
func (s *CacheService[T]) Key(id string, opts ...Opt) (string, error) {
	o, err := s.core.call(opts)
	if err != nil {
		return "", err
	}
	k, err := s.core.key(id, o.params)
	return k.rk, err
}

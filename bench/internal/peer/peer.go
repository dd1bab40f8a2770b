package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

// A Load asks the source for one value.
type Load = func(ctx context.Context) (subject.Product, error)

// A LoadMany asks the source for several values. Those it does not return do
// not exist.
type LoadMany = func(ctx context.Context, missing []string) (map[string]subject.Product, error)

// A Cache is a peer, opened.
type Cache interface {
	// Name is the one it was opened with.
	Name() string
	// GetOrLoad returns the value of an identifier, which it loads if it has
	// none. The error is ErrNotFound if load says so, now or earlier.
	GetOrLoad(ctx context.Context, id string, load Load) (subject.Product, error)
	// Invalidate is what one calls after the source has changed.
	Invalidate(ctx context.Context, id string) error
	// Close ends it and what it has opened. No call may be running.
	Close() error
}

// A Batcher is a Cache that has a call for several identifiers. Those that do
// not exist are not in the result.
type Batcher interface {
	Cache
	Many(ctx context.Context, ids []string, load LoadMany) (map[string]subject.Product, error)
}

// A Setter is a Cache that can be given a value.
type Setter interface {
	Cache
	Set(ctx context.Context, id string, v subject.Product) error
}

// A Tagger is a Cache that knows tags.
type Tagger interface {
	Cache
	InvalidateTag(ctx context.Context, tag string) error
}

// ErrNotFound is what a Load returns for what does not exist. It matches the
// error that each peer has for that, so that a Load can be handed on as it is.
var ErrNotFound error = notFound{}

type notFound struct{}

func (notFound) Error() string { return "peer: not found" }

// Is makes errors.Is find the errors of the libraries.
func (notFound) Is(target error) bool {
	return target == rc.ErrNotFound || target == sturdyc.ErrNotFound || target == otter.ErrNotFound
}

// Settings are the same for all peers of a comparison. What a peer has no use
// for, it ignores.
type Settings struct {
	// Addrs are nodes of a Redis Cluster.
	Addrs []string
	// Prefix, and a colon behind it, begin every key in Redis, unless it is
	// empty. It consists of letters, digits, '.', '_', '/' and '-'.
	Prefix string
	// TTL is how long a value is kept, or, if it may be stale, fresh. Defaults
	// to subject.TTL. See Traits.MinTTL.
	TTL time.Duration
	// StaleFor is how long after that a value may be served while a new one is
	// loaded, by the flavours whose names end in "+stale" only. Defaults to TTL.
	StaleFor time.Duration
	// NegativeTTL is how long ErrNotFound is remembered, where the library
	// lets one say. Defaults to 30s, or TTL if that is less.
	NegativeTTL time.Duration
	// LoadTimeout is how long a load may take. It sets the time of locks where
	// they must last as long as a load. Defaults to 30s.
	LoadTimeout time.Duration
	// OpTimeout is rc.Options.OpTimeout: fleetcache's is 250 ms by default, the
	// clients of the others wait for 3 to 10 s.
	OpTimeout time.Duration
	// L1Size is how many values are kept in memory; negative keeps none, where
	// the library can do without. Defaults to rc.DefaultL1Size.
	L1Size int
	// Tags returns the tags of a value, for Taggers.
	Tags func(id string, v subject.Product) []string
}

func (s Settings) withDefaults() Settings {
	s.TTL = cmp.Or(s.TTL, subject.TTL)
	s.StaleFor = cmp.Or(s.StaleFor, s.TTL)
	s.NegativeTTL = cmp.Or(s.NegativeTTL, min(rc.DefaultNegativeTTL, s.TTL))
	s.LoadTimeout = cmp.Or(s.LoadTimeout, rc.DefaultLoadTimeout)
	s.L1Size = cmp.Or(s.L1Size, rc.DefaultL1Size)
	return s
}

// key is the key of an identifier in Redis.
func (s *Settings) key(id string) string {
	if s.Prefix == "" {
		return id
	}
	return s.Prefix + ":" + id
}

// Open opens a peer.
func Open(ctx context.Context, name string, s Settings) (Cache, error) {
	k, err := find(name)
	if err != nil {
		return nil, err
	}
	s = s.withDefaults()
	if t := k.traits; s.TTL < t.MinTTL {
		return nil, fmt.Errorf("peer: %s keeps no value for less than %v, TTL is %v", name, t.MinTTL, s.TTL)
	}
	c, err := k.open(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("peer: open %s: %w", name, err)
	}
	return c, nil
}

// Names returns the names of all peers, fleetcache first.
func Names() []string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.name)
	}
	return out
}

// TraitsOf returns what is known of a peer.
func TraitsOf(name string) (Traits, error) {
	k, err := find(name)
	return k.traits, err
}

func find(name string) (kind, error) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, fmt.Errorf("peer: no peer %q, there are %q", name, Names())
	}
	return all[i], nil
}

// absent makes ErrNotFound of what a library returns for it.
func absent(err error, theirs ...error) error {
	for _, t := range theirs {
		if errors.Is(err, t) {
			return ErrNotFound
		}
	}
	return err
}

package rc

import (
	"cmp"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/lock"
)

// Defaults of [Config].
const (
	DefaultTTL           = 5 * time.Minute
	DefaultJitter        = 0.1
	DefaultEarlyBeta     = 1.0
	DefaultNegativeTTL   = 30 * time.Second
	DefaultLoadTimeout   = 30 * time.Second
	DefaultLockWait      = 10 * time.Second
	DefaultLeaseTTL      = 3 * time.Second
	DefaultErrorBackoff  = 250 * time.Millisecond
	DefaultFallbackLoads = 16
	DefaultDegradedTTL   = time.Second
	DefaultMaxValueBytes = 8 << 20
	DefaultL1Size        = 10_000
)

// Off turns off what a negative value of a field turns off.
const Off = -1

// Config configures a [CacheService]. The zero value works: every zero field
// means its default. It is generic because some of its fields are functions of
// the cached type.
type Config[T any] struct {
	// Prefix begins every key. Services that share values share it.
	// Defaults to Options.Prefix.
	Prefix string
	// KeyVersion separates generations of what is stored: change it when
	// the stored form of T changes. Defaults to "v1".
	KeyVersion string

	// TTL is how long a value is fresh. Defaults to 5m.
	TTL time.Duration
	// StaleFor is how long a value is kept after that, and may be served
	// while a new one is loaded, or instead of one when the source or Redis
	// fails. Redis keeps it for TTL + StaleFor. Defaults to 0: never.
	StaleFor time.Duration
	// Jitter changes each TTL at random by up to this fraction of it, in
	// either direction; at most 0.5, negative for none. Defaults to 0.1.
	Jitter float64
	// EarlyBeta scales how much before its end a value is loaded again in
	// the background: about EarlyBeta times what the load took (XFetch).
	// Negative never does. Defaults to 1.
	EarlyBeta float64
	// EarlyFraction, if not zero, loads a value again in the background
	// once this fraction of its TTL has passed, between 0 and 1, instead of
	// by EarlyBeta. Defaults to 0.
	EarlyFraction float64
	// SoftTimeout is how long a caller waits for a new value while it could
	// have a stale one. 0 does not wait: it takes the stale value, and the
	// new one is loaded in the background. Negative waits to the end, and
	// takes the stale value only if the load fails. Defaults to 0.
	SoftTimeout time.Duration
	// MaxStale caps how long after the end of its TTL a value may still be
	// served, below StaleFor. Negative serves no stale value. Defaults to
	// StaleFor.
	MaxStale time.Duration
	// NegativeTTL is how long ErrNotFound of a loader is remembered.
	// Negative does not. Defaults to 30s, or TTL if that is less.
	NegativeTTL time.Duration

	// LoadTimeout bounds one load. The loader's context ends with it, and
	// its callers get ErrLoadTimeout even if the loader does not return.
	// Defaults to 30s.
	LoadTimeout time.Duration
	// LockWait is how long a caller waits for another process to load,
	// before it takes a stale value or loads for itself, without storing the
	// result. Defaults to 10s.
	LockWait time.Duration
	// LeaseTTL is how long the right to load lasts when its holder is not
	// heard of: after that another process takes over. A holder that is well
	// prolongs it, so loads may take longer. Smaller recovers sooner from a
	// killed holder; larger rides out longer pauses. Defaults to 3s.
	LeaseTTL time.Duration
	// RefreshLock, if not nil, is a lock that each loader of this service runs
	// under, besides the lease in the slot of its key, which every service has
	// and which decides whether a loaded value may be stored. It is for sources
	// where two loads of a key at once must not happen even during a failover
	// or without Redis: a Redlock (lock.OpenShards, lock.OpenRedlock) with the
	// Redis key as its name. The caller closes it, after the Manager.
	//
	// It costs a round trip to each of its nodes before every load and one
	// behind it that nobody waits for. Its price is availability: a load waits
	// for one that was invalidated while it runs, and where the lock cannot be
	// had there is no load: callers get a stale value, or ErrRefreshLock. When
	// the lock is lost, the context of the loader ends. The wait is part of
	// LoadTimeout. In a batch each identifier has its lock.
	//
	// Defaults to nil: the lease alone.
	RefreshLock *lock.Locker
	// ErrorBackoff is how long the whole fleet does not load a key again
	// after its load failed. Negative does not hold back. Defaults to 250ms.
	ErrorBackoff time.Duration

	// FallbackLoads is how many loads without Redis may run at a time in
	// this process. Defaults to 16.
	FallbackLoads int
	// DegradedTTL is how long a value loaded without Redis is kept in L1,
	// at most MaxStaleness. Negative does not keep it. Defaults to 1s.
	DegradedTTL time.Duration
	// MaxValueBytes is the largest encoded value that is stored; a larger
	// one is returned, counted and not stored. Defaults to 8 MiB.
	MaxValueBytes int

	// L1Size is how many values are kept in memory. Negative keeps none.
	// Defaults to 10,000.
	L1Size int
	// Tags, if not nil, returns tags of a value that is about to be stored,
	// besides those of WithTags and AddTags: 1 to 512 bytes each, 256 at
	// most. See Manager.InvalidateTag. It must not block.
	Tags func(id string, v T) []string
	// Copy, if not nil, makes the value that a caller gets from one that
	// others may get too. Without it callers share decoded values, and must
	// not change what they point to. Defaults to nil.
	Copy func(T) T
	// Validate, if not nil, is asked about each value read from Redis. One
	// that fails is a miss. Defaults to nil.
	Validate func(T) error
	// Version, if not nil, returns a number that grows with each change of
	// the value at its source. Then neither a load nor Set replaces a newer
	// value by an older one. 0 means unknown. Defaults to nil.
	Version func(T) uint64
	// Codec encodes values. Defaults to JSON.
	Codec Codec[T]
}

// settings is a Config without the cached type, and with the defaults.
type settings struct {
	prefix, keyVersion                        string
	ttl, staleFor, softTimeout, maxStale      time.Duration
	jitter, earlyBeta, earlyFraction          float64
	negativeTTL, loadTimeout, lockWait, lease time.Duration
	errorBackoff, degradedTTL                 time.Duration
	fallbackLoads, maxValueBytes, l1Size      int
	refreshLock                               *lock.Locker
}

func (c Config[T]) settings(m *Manager) settings {
	ttl := cmp.Or(c.TTL, DefaultTTL)
	s := settings{
		prefix:        cmp.Or(c.Prefix, m.opts.Prefix),
		keyVersion:    c.KeyVersion,
		ttl:           ttl,
		staleFor:      c.StaleFor,
		softTimeout:   c.SoftTimeout,
		maxStale:      cmp.Or(c.MaxStale, max(c.StaleFor, 0)),
		jitter:        cmp.Or(c.Jitter, DefaultJitter),
		earlyBeta:     cmp.Or(c.EarlyBeta, DefaultEarlyBeta),
		earlyFraction: c.EarlyFraction,
		negativeTTL:   cmp.Or(c.NegativeTTL, min(DefaultNegativeTTL, ttl)),
		loadTimeout:   cmp.Or(c.LoadTimeout, DefaultLoadTimeout),
		lockWait:      cmp.Or(c.LockWait, DefaultLockWait),
		lease:         cmp.Or(c.LeaseTTL, DefaultLeaseTTL),
		errorBackoff:  cmp.Or(c.ErrorBackoff, DefaultErrorBackoff),
		degradedTTL:   min(cmp.Or(c.DegradedTTL, DefaultDegradedTTL), m.opts.MaxStaleness),
		fallbackLoads: cmp.Or(c.FallbackLoads, DefaultFallbackLoads),
		maxValueBytes: cmp.Or(c.MaxValueBytes, DefaultMaxValueBytes),
		l1Size:        cmp.Or(c.L1Size, DefaultL1Size),
		refreshLock:   c.RefreshLock,
	}
	return s
}

// maxTime is the longest time to live that is accepted: Redis takes more, but
// sums of such times must not overflow.
const maxTime = 20 * 365 * 24 * time.Hour

func (s settings) validate() error {
	const none = time.Duration(-1 << 63)
	for _, f := range []struct {
		name            string
		value, min, max time.Duration
	}{
		{"TTL", s.ttl, time.Millisecond, maxTime},
		{"StaleFor", s.staleFor, 0, maxTime},
		{"MaxStale", s.maxStale, none, s.staleFor},
		{"NegativeTTL", s.negativeTTL, none, maxTime},
		{"LoadTimeout", s.loadTimeout, time.Millisecond, 24 * time.Hour},
		{"LockWait", s.lockWait, time.Millisecond, 24 * time.Hour},
		{"LeaseTTL", s.lease, 30 * time.Millisecond, time.Hour},
		{"ErrorBackoff", s.errorBackoff, none, time.Hour},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("rc: Config.%s is %v, must be %v to %v", f.name, f.value, max(f.min, 0), f.max)
		}
	}
	switch {
	case s.jitter > 0.5:
		return fmt.Errorf("rc: Config.Jitter is %v, must be at most 0.5", s.jitter)
	case s.earlyFraction < 0 || s.earlyFraction >= 1:
		return fmt.Errorf("rc: Config.EarlyFraction is %v, must be at least 0 and less than 1", s.earlyFraction)
	case s.jitter != s.jitter || s.earlyBeta != s.earlyBeta || s.earlyFraction != s.earlyFraction:
		return fmt.Errorf("rc: Config.Jitter, EarlyBeta or EarlyFraction is not a number")
	case s.fallbackLoads < 1:
		return fmt.Errorf("rc: Config.FallbackLoads is %d, must be at least 1", s.fallbackLoads)
	case s.maxValueBytes < 1:
		return fmt.Errorf("rc: Config.MaxValueBytes is %d, must be at least 1", s.maxValueBytes)
	}
	return nil
}

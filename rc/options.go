package rc

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/fleetcache/fleetcache/internal/key"
)

// Defaults of [Options].
const (
	DefaultDialTimeout      = 2 * time.Second
	DefaultOpTimeout        = 250 * time.Millisecond
	DefaultHeartbeat        = 500 * time.Millisecond
	DefaultMaxStaleness     = 2 * time.Second
	DefaultWatchInterval    = time.Second
	DefaultClientCacheBytes = 16 << 20
	DefaultBlockingPool     = 64
	DefaultRecoveryQueue    = 10_000
	DefaultMaxRefreshes     = 64
	DefaultReplayWindow     = 5 * time.Second
)

// Coherence is a way to hear of changes made elsewhere.
type Coherence int

const (
	// Tracking lets the servers announce what changed, to the connections that
	// have read it (CLIENT TRACKING, OPTIN).
	Tracking Coherence = iota
	// Broadcast lets every writer announce what it changed, on the bus of package
	// [invalidation]: for servers, and proxies in front of them, without client
	// tracking. Each write is one round trip more.
	Broadcast
)

// Options configure a [Manager]. The zero value works: every zero field means
// its default.
type Options struct {
	// ClientName is shown by CLIENT LIST. Defaults to "fleetcache".
	ClientName string
	// Username is the ACL user, Password its password. They override those
	// of the URL. Default to the URL's.
	Username, Password string
	// TLS, if not nil, turns on TLS with this configuration. Defaults to
	// that of a rediss:// URL, none otherwise.
	TLS *tls.Config
	// MasterSet is the name of the primary that Sentinels watch. It makes
	// the addresses of the URL those of Sentinels. Defaults to the URL's
	// master_set parameter.
	MasterSet string

	// Prefix begins every key, unless Config.Prefix says otherwise, and the
	// few keys the Manager itself reads or writes. An ACL user must be allowed
	// its keys. Defaults to "cache".
	Prefix string

	// DialTimeout bounds making a connection. An operation that finds a
	// connection being made for another one may wait for that long, in place
	// of OpTimeout and of the end of its context. Defaults to 2s.
	DialTimeout time.Duration
	// OpTimeout bounds each operation on Redis. Larger rides out a slow
	// server; smaller sends callers to their loaders sooner. Defaults to
	// 250ms.
	OpTimeout time.Duration
	// Heartbeat is the time between two beats of each primary: some 100
	// bytes and one small reply each. It must be at most a third of
	// MaxStaleness, so that one lost beat does not cost the L1. Defaults to
	// 500ms, or a quarter of MaxStaleness if that is less.
	Heartbeat time.Duration
	// MaxStaleness bounds how old a value from L1 can be: it shows no state
	// that was replaced more than MaxStaleness before the read began,
	// whatever froze, failed or was cut off. Without failures the lag is
	// that of one push. Larger rides out longer silence of a server.
	// Defaults to 2s.
	MaxStaleness time.Duration
	// WatchInterval is the time between two looks at which primary owns
	// which slot: one CLUSTER SLOTS to each. Its sum with Heartbeat must be
	// below MaxStaleness. Defaults to 1s, or half of MaxStaleness if that is
	// less.
	WatchInterval time.Duration

	// Coherence is how this process hears of changes made elsewhere. All
	// processes that share keys need the same. Defaults to Tracking.
	Coherence Coherence

	// ClientCacheBytes bounds the replies kept in memory for DoCache calls
	// on [Manager.Client], in bytes; negative keeps none. Values of a
	// CacheService are not among them, see Config.L1Size. Defaults to 16 MiB.
	ClientCacheBytes int
	// BlockingPool is how many connections per node there may be for
	// blocking commands on [Manager.Client]. Defaults to 64.
	BlockingPool int
	// RecoveryQueue is how many invalidations that could not be delivered
	// are kept to be sent again. Defaults to 10,000.
	RecoveryQueue int
	// ReplayWindow is how long an invalidation that Redis has taken is
	// remembered, to be sent again when its slot gets another primary or the
	// connection to its node ends: asynchronous replication may have lost it.
	// Sending one again costs a load; what Set stored is then deleted. Negative
	// remembers none. Defaults to 5s.
	ReplayWindow time.Duration
	// MaxRefreshes is how many background loads may run at a time in this
	// process. One too many is left out; the next hit tries again. Defaults
	// to 64.
	MaxRefreshes int

	// Logger gets what is not returned to anybody. Defaults to discarding.
	Logger *slog.Logger
	// Observer, if not nil, is told what happens, for metrics and traces.
	Observer Observer
}

func (o Options) withDefaults() Options {
	o.ClientName = cmp.Or(o.ClientName, "fleetcache")
	o.Prefix = cmp.Or(o.Prefix, key.DefaultPrefix)
	o.DialTimeout = cmp.Or(o.DialTimeout, DefaultDialTimeout)
	o.OpTimeout = cmp.Or(o.OpTimeout, DefaultOpTimeout)
	o.MaxStaleness = cmp.Or(o.MaxStaleness, DefaultMaxStaleness)
	o.Heartbeat = cmp.Or(o.Heartbeat, min(DefaultHeartbeat, o.MaxStaleness/4))
	o.WatchInterval = cmp.Or(o.WatchInterval, min(DefaultWatchInterval, o.MaxStaleness/2))
	o.ClientCacheBytes = cmp.Or(o.ClientCacheBytes, DefaultClientCacheBytes)
	o.BlockingPool = cmp.Or(o.BlockingPool, DefaultBlockingPool)
	o.RecoveryQueue = cmp.Or(o.RecoveryQueue, DefaultRecoveryQueue)
	o.ReplayWindow = cmp.Or(o.ReplayWindow, DefaultReplayWindow)
	o.MaxRefreshes = cmp.Or(o.MaxRefreshes, DefaultMaxRefreshes)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) validate() error {
	if _, err := key.NewSpace(o.Prefix, "", "x"); err != nil {
		return fmt.Errorf("rc: Options.Prefix: %w", err)
	}
	for _, f := range []struct {
		name     string
		value    time.Duration
		min, max time.Duration
	}{
		{"DialTimeout", o.DialTimeout, time.Millisecond, time.Hour},
		{"OpTimeout", o.OpTimeout, time.Millisecond, time.Hour},
		{"MaxStaleness", o.MaxStaleness, 20 * time.Millisecond, 24 * time.Hour},
		{"Heartbeat", o.Heartbeat, time.Millisecond, o.MaxStaleness / 3},
		{"WatchInterval", o.WatchInterval, time.Millisecond, o.MaxStaleness - o.Heartbeat - 1},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("rc: Options.%s is %v, must be %v to %v", f.name, f.value, f.min, f.max)
		}
	}
	if o.Coherence != Tracking && o.Coherence != Broadcast {
		return fmt.Errorf("rc: Options.Coherence is %d, must be Tracking or Broadcast", o.Coherence)
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"BlockingPool", o.BlockingPool}, {"RecoveryQueue", o.RecoveryQueue}, {"MaxRefreshes", o.MaxRefreshes}} {
		if f.value < 1 {
			return fmt.Errorf("rc: Options.%s is %d, must be at least 1", f.name, f.value)
		}
	}
	return nil
}

//go:build unix

package stampede

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/progress"
)

// A Config says what is run. [Full] returns one, and [Config.Quick] a smaller one.
type Config struct {
	// Peers are the names of the contenders, in package peer.
	Peers []string
	// Processes is how many instances there are, Callers how many concurrent
	// callers each of them has.
	Processes, Callers int
	// Expiring is how many keys are read until they expire and after that,
	// Written how many are updated meanwhile, too.
	Expiring, Written int
	// Think is how long a caller waits between two requests, on average. It
	// sets the offered load.
	Think time.Duration
	// TTL is for how long values are cached.
	TTL time.Duration
	// Service is what a query takes, Connections how many run at a time.
	Service     time.Duration
	Connections int
	// WriteEvery is the time between two updates of one process.
	WriteEvery time.Duration
	// Window is how long a phase is measured.
	Window time.Duration
	// Rounds is how often each contender has its turn.
	Rounds int
	// Failover adds phases in which a primary is killed.
	Failover bool
	// OpTimeout is rc.Options.OpTimeout, zero for its default.
	OpTimeout time.Duration
	// Command is what repeats the run, for the report.
	Command string
	// Bar, if not nil, shows the progress.
	Bar *progress.Bar
}

// Full is the run behind docs/benchmarks.md.
func Full(peers []string) Config {
	return Config{
		Peers: peers, Processes: 4, Callers: 50, Expiring: 8, Written: 4,
		Think: 40 * time.Millisecond, TTL: 2 * time.Second,
		Service: 30 * time.Millisecond, Connections: 16,
		WriteEvery: 200 * time.Millisecond,
		Window:     10 * time.Second, Rounds: 1, Failover: true,
	}
}

// Quick is less than a minute of c: shorter, without failover, and without the
// contenders that lose what others of their kind lose.
func (c Config) Quick() Config {
	c.TTL, c.Window, c.Failover = time.Second, 2*time.Second, false
	c.Peers = slices.DeleteFunc(slices.Clone(c.Peers), func(name string) bool {
		return name == "rueidis GET" || name == "sturdyc" || name == "sturdyc+stale"
	})
	return c
}

// patience is how long a caller waits for an answer. Nobody waits longer in
// front of a web page; in these runs it is reached only by what hangs.
const patience = 10 * time.Second

// width is the time after the first query of a key in which further ones have
// the same cause: half a TTL.
func (c Config) width() int64 { return int64(c.TTL / 2) }

// warmUp is the time before the measured window: until each key has been
// loaded, and has expired once.
func (c Config) warmUp() time.Duration { return 3 * c.TTL / 2 }

// phase is how long one contender has its turn.
func (c Config) phase() time.Duration { return startUp + c.warmUp() + c.Window }

// startUp is about what the processes take to begin and end, and clusterUp a
// cluster.
const (
	startUp   = 700 * time.Millisecond
	clusterUp = 3 * time.Second
	healing   = 4 * time.Second // of a cluster after a failover
)

// Length is about how long the run takes, for [progress.New].
func (c Config) Length() time.Duration {
	turns := time.Duration(c.Rounds * len(c.Peers))
	d := clusterUp + turns*c.phase()
	if c.Failover {
		d += clusterUp + turns*(c.phase()+healing)
	}
	return d
}

func (c Config) validate() error {
	for _, p := range c.Peers {
		if _, err := peer.TraitsOf(p); err != nil {
			return err
		}
	}
	switch {
	case len(c.Peers) == 0:
		return fmt.Errorf("stampede: no contender")
	case min(c.Processes, c.Callers, c.Expiring, c.Connections, c.Rounds) < 1 || c.Written < 0:
		return fmt.Errorf("stampede: a number of processes, callers, keys, connections or rounds is below 1")
	case c.TTL < 10*c.Service:
		return fmt.Errorf("stampede: a TTL of %v is not ten times the service time of %v: one expiry would run into the next", c.TTL, c.Service)
	case c.Window < 2*c.TTL:
		return fmt.Errorf("stampede: a window of %v is too short to see values with a TTL of %v expire", c.Window, c.TTL)
	}
	return nil
}

// ids are the identifiers of all keys: first those that expire.
func (c Config) ids() []string {
	ids := make([]string, 0, c.Expiring+c.Written)
	for i := range c.Expiring {
		ids = append(ids, "expiring-"+strconv.Itoa(i))
	}
	for i := range c.Written {
		ids = append(ids, "written-"+strconv.Itoa(i))
	}
	return slices.Clip(ids)
}

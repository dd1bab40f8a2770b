//go:build unix

package steps

import (
	"slices"
	"time"
)

// kind is what is between callers and database.
type kind string

const (
	nothing kind = "nothing" // every request is a query
	memory  kind = "memory"  // a map with expiry, without a lock around loads
	redis   kind = "redis"   // written by hand: client-side caching and singleflight
	fleet   kind = "fleet"   // fleetcache
)

// A step is one more feature. Times are those of the scenario; a zero field is
// a feature that is off.
type step struct {
	Name string
	// Adds says what is added, Theirs what FusionCache's documentation
	// calculates for the same state, 0 for nothing.
	Adds   string
	Theirs int64

	Kind     kind
	Alone    bool          // a prefix for each process, so that nothing is shared
	Throttle time.Duration // Config.ErrorBackoff
	StaleFor time.Duration // Config.StaleFor
	Soft     time.Duration // Config.SoftTimeout; 0 waits to the end
	AtOnce   bool          // SoftTimeout 0: a stale value is served at once
	Early    float64       // Config.EarlyFraction
}

// allSteps are the steps in their order.
func allSteps() []step {
	all := []step{
		{Name: "no cache", Adds: "every request asks the database", Theirs: 18_000_000, Kind: nothing},
		{Name: "memory", Adds: "a map with a TTL in each process; whoever misses loads", Theirs: 12_000_000, Kind: memory},
		{Name: "shared loads", Adds: "fleetcache in each process for itself (a prefix of its own): one load per process", Theirs: 120_000, Kind: fleet, Alone: true},
		{Name: "Redis by hand", Adds: "for comparison: rueidis DoCache, SET and singleflight, shared by the processes", Kind: redis},
		{Name: "one load in the fleet", Adds: "fleetcache, one prefix: Redis, coherence and the lease", Kind: fleet},
	}
	s := all[len(all)-1]
	for _, next := range []func(*step){
		func(s *step) {
			s.Name, s.Adds, s.Throttle = "failures throttled", "Config.ErrorBackoff 30s", scenarioThrottle
		},
		func(s *step) {
			s.Name, s.Adds, s.StaleFor = "stale if error", "Config.StaleFor 2h, SoftTimeout negative: old values in place of errors", scenarioStaleFor
			s.Theirs = 39_000
		},
		func(s *step) {
			s.Name, s.Adds, s.Early, s.Theirs = "early refresh", "Config.EarlyFraction 0.9", scenarioEarly, 39_500
		},
		func(s *step) {
			s.Name, s.Adds, s.Soft, s.Theirs = "soft timeout", "Config.SoftTimeout 100ms", scenarioSoftTimeout, 39_500
		},
		func(s *step) {
			s.Name, s.Adds, s.AtOnce, s.Theirs = "stale at once", "Config.SoftTimeout 0, the default: nobody waits while there is an old value", true, 11_000
		},
	} {
		next(&s)
		all = append(all, s)
	}
	return all
}

// steps are those that c runs.
func (c Config) steps() []step {
	all := allSteps()
	if c.Only == nil {
		return all
	}
	return slices.DeleteFunc(all, func(s step) bool { return !slices.Contains(c.Only, s.Name) })
}

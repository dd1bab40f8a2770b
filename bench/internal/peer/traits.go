package peer

import (
	"context"
	"time"
)

// A Scope is among whom a key is loaded once at a time.
type Scope string

// The scopes.
const (
	Caller  Scope = "each caller"
	Process Scope = "a process"
	Fleet   Scope = "the fleet"
)

// Traits are what a peer can do, for those who say what a comparison means.
type Traits struct {
	// Module is the path of its module.
	Module string
	// Memory is whether values are kept in the process, Redis whether they are
	// in Redis.
	Memory, Redis bool
	// Coherent is whether memory is told when another process invalidates.
	// Without memory it is true.
	Coherent bool
	// Once is among whom a key is loaded once at a time.
	Once Scope
	// Negative is whether ErrNotFound is remembered.
	Negative bool
	// Stale is whether old values are served while new ones are loaded.
	Stale bool
	// Fenced is whether a load that began before an Invalidate is kept from
	// storing its value after it.
	Fenced bool
	// MinTTL is the smallest TTL it can be given.
	MinTTL time.Duration
}

// A kind is a peer that can be opened.
type kind struct {
	name   string
	open   func(context.Context, Settings) (Cache, error)
	traits Traits
}

// kinds returns all peers, in the order in which tables have them.
func kinds() []kind {
	const fleetcache = "github.com/fleetcache/fleetcache"
	ours := Traits{Module: fleetcache, Memory: true, Redis: true, Coherent: true, Once: Fleet, Negative: true, Fenced: true}
	sturdy := Traits{Module: "github.com/viccon/sturdyc", Memory: true, Once: Process, Negative: true}
	inProcess := Traits{Module: "github.com/maypok86/otter/v2", Memory: true, Once: Process}
	return []kind{
		{"fleetcache", openFleet("fleetcache", false), ours},
		{"fleetcache+stale", openFleet("fleetcache+stale", true), stale(ours)},
		{"rueidisaside", openAside, Traits{
			Module: "github.com/redis/rueidis/rueidisaside", Memory: true, Redis: true, Coherent: true,
			Once: Fleet, Negative: true, Fenced: true, MinTTL: time.Millisecond,
		}},
		{"rueidis DoCache", openPlain("rueidis DoCache", true), Traits{
			Module: "github.com/redis/rueidis", Memory: true, Redis: true, Coherent: true, Once: Caller, MinTTL: time.Second,
		}},
		{"rueidis GET", openPlain("rueidis GET", false), Traits{
			Module: "github.com/redis/rueidis", Redis: true, Coherent: true, Once: Caller, MinTTL: time.Second,
		}},
		{"go-redis/cache", openGoRedis, Traits{
			Module: "github.com/go-redis/cache/v9", Memory: true, Redis: true, Once: Process, MinTTL: time.Second,
		}},
		{"go-redis+redsync", openRedsync, Traits{
			Module: "github.com/go-redsync/redsync/v4", Redis: true, Coherent: true, Once: Fleet, MinTTL: time.Millisecond,
		}},
		{"rockscache", openRocks, Traits{
			Module: "github.com/dtm-labs/rockscache", Redis: true, Coherent: true, Once: Fleet, Negative: true, Fenced: true, MinTTL: time.Second,
		}},
		{"gocache", openGoCache, Traits{
			Module: "github.com/eko/gocache/lib/v4", Memory: true, Redis: true, Once: Process, MinTTL: time.Millisecond,
		}},
		{"sturdyc", openSturdy("sturdyc", false, false), sturdy},
		{"sturdyc+stale", openSturdy("sturdyc+stale", false, true), stale(sturdy)},
		{"sturdyc+redis", openSturdy("sturdyc+redis", true, false), onRedis(sturdy)},
		{"sturdyc+redis+stale", openSturdy("sturdyc+redis+stale", true, true), stale(onRedis(sturdy))},
		{"otter", openOtter("otter", false), inProcess},
		{"otter+stale", openOtter("otter+stale", true), stale(inProcess)},
	}
}

func stale(t Traits) Traits {
	t.Stale = true
	return t
}

func onRedis(t Traits) Traits {
	t.Redis, t.MinTTL = true, time.Millisecond
	return t
}

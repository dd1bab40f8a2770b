package instance

import (
	"encoding/json"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// Env in the environment, with any value, makes the program an instance: then
// it must call [Main] and nothing else.
const Env = "FLEETCACHE_CHAOS_INSTANCE"

// The calls that the parent makes. Each takes the type in brackets.
const (
	OpOpen  = "open"  // [Open] begins a phase: makes the Manager and the services
	OpStart = "start" // [Work] starts readers and writers, in addition to those there are
	OpWait  = "wait"  // none: returns when writers that end by themselves have
	OpClose = "close" // none: ends the phase; all is reported when it returns
	OpLink  = "link"  // [LinkFault] hurts or heals the way to Redis
	OpStats = "stats" // none: returns rc.Stats
	OpTell  = "tell"  // [Tell] writes groups once, and returns when the cache was told
)

// The calls that an instance makes.
const (
	OpCommit = "commit" // [Commit], returns the versions
	OpLoad   = "load"   // [Load], returns the versions
	OpReport = "report" // [Report]
)

// Open is what an instance needs for a phase.
type Open struct {
	Instance, Instances int
	// Exported is a clustertest.Exported.
	Exported json.RawMessage
	// Board is its file.
	Board     string
	Keys      []history.Key
	Groups    []history.Group
	Namespace string
	// Broadcast is the mode of coherence; otherwise it is tracking.
	Broadcast bool
	Bound     time.Duration
	Limits    history.Limits
	// L1Off keeps nothing in memory.
	L1Off bool
	// LateClient makes the client notice silent connections late.
	LateClient bool
}

// Work is how hard an instance works.
type Work struct {
	// Readers is the number of goroutines that read and rest after a few
	// reads, Spinning that of those that never rest: they are in the middle of
	// a read when the process is frozen.
	Readers, Spinning int
	// Pause is about the time between two writes of one key by one writer;
	// 0 makes no writers.
	Pause time.Duration
	// Register makes each reader do that many operations on the keys of
	// ClassRegister instead, for porcupine.
	Register int
	// ClientPerKey gives each register client a share of the keys that no
	// other of this instance uses.
	ClientPerKey bool
}

// Tell names groups by their numbers.
type Tell struct{ Groups []int }

// Commit asks the database for the next version of each of the keys, which
// the given verb will tell the cache, of a group if there is a number.
type Commit struct {
	Keys  []int
	Verb  string
	Group int
}

// Load asks the database for the current version of each of the keys.
type Load struct{ Keys []int }

// Versions is what the database answers, in the order of the keys.
type Versions struct{ Versions []uint64 }

// Report is what happened since the last one.
type Report struct {
	history.Batch
	// Writes are those whose call has returned.
	Writes []history.Write
	// Replays are invalidations delivered from the queue of the library.
	Replays []Replay
}

// Replay is one invalidation that had failed and was delivered later: of a key,
// or of one key of a group.
type Replay struct {
	Key, Group int
	At         history.Time
}

// LinkFault is what is done to the way from the instance to some nodes.
type LinkFault struct {
	// Do is "cut", "blackhole", "delay", "heal", or "update", which only
	// brings new addresses.
	Do string
	// Nodes are announced addresses, none for all.
	Nodes         []string
	Delay, Jitter time.Duration
	Exported      json.RawMessage
}

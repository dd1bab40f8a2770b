package locks

import (
	"encoding/json"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// Env in the environment, with any value, makes the program a holder of locks:
// then it must call [Main] and nothing else.
const Env = "FLEETCACHE_CHAOS_LOCKS"

// The calls that the parent makes. Each takes the type in brackets.
const (
	opOpen  = "open"   // [open] begins a phase: opens both Lockers
	opStart = "start"  // none: starts the contenders
	opHold  = "hold"   // [hold] takes a lock, and returns its [Stay] as it began
	opReach = "reach"  // [reach] says where nodes are reached now
	opLetGo = "let go" // none: ends the stays of opHold
	opClose = "close"  // none: ends all stays; all is reported when it returns
)

// The calls that a holder makes.
const (
	opEnter = "enter" // [Stay] has begun
	opExit  = "exit"  // [Stay] is over
	opWrite = "write" // [writeTo] the resource, returns whether it was accepted
)

// open is what a holder needs for a phase.
type open struct {
	Process int
	// Exported is a clustertest.Exported.
	Exported json.RawMessage
	Prefix   string
	// Leases and Redlocks are the names.
	Leases, Redlocks []string
	Limits           Limits
	// Each is how many goroutines contend for each name.
	Each int
	// Seed draws how long they stay.
	Seed uint64
	// First is the number of the first stay.
	First int64
}

// hold asks a holder to take a lock among all others, and to keep it until it is
// told to let go.
type hold struct{ Kind, Name string }

// reach holds a clustertest.Exported: a container that is started again is
// reached at another port.
type reach struct{ Exported json.RawMessage }

// writeTo is one write to the resource.
type writeTo struct {
	Stay  int64
	Name  string
	Token uint64
	// Late is whether the holder knows that its stay is over.
	Late bool
	// Wait lets the resource wait until it has taken a write of a newer holder.
	Wait bool
}

// target is a lock to contend for.
type target struct{ kind, name string }

// known converts times of this process into those of the machine's clock.
type known struct {
	here time.Time
	all  history.Time
}

// knownClock compares the two clocks: the closest of a few tries, since the
// process may be interrupted between reading one and the other.
func knownClock() (best known) {
	closest := time.Hour
	for range 100 {
		before := time.Now()
		all := history.Now()
		if d := time.Since(before); d < closest {
			closest, best = d, known{before, all}
		}
	}
	return best
}

// at may be late by the microseconds between the two readings: the claim of a
// stay is then longer than it was. Locks end milliseconds before they must.
func (k known) at(t time.Time) history.Time { return k.all.Add(t.Sub(k.here)) }

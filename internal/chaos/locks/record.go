package locks

import (
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// The kinds of locks. They know nothing of each other.
const (
	Lease   = "lease"
	Redlock = "redlock"
)

// A Stay is what one holder did under one lock.
type Stay struct {
	ID      int64 // unique in a phase
	Process int
	Kind    string
	Name    string
	Token   uint64
	// Since is a time at which the lock had not been granted yet, if that is
	// known: the first Until less the TTL.
	Since history.Time
	// Entry is when the lock was there. Exit is when its context was cancelled
	// or Release called, whichever was first. It is 0 if the parent was not told.
	Entry, Exit history.Time
	// Until is that of the lock, as it was last seen before the exit; 0 if the
	// holder was killed before it could tell.
	Until history.Time
	// Lost is whether the lock ended otherwise than by Release.
	Lost bool
	// Held is whether the parent has asked for this stay, for a fault to hit.
	Held bool
}

// End returns when the claim of the stay was over.
func (s *Stay) End() history.Time {
	if s.Until == 0 {
		return s.Exit
	}
	return min(s.Exit, s.Until)
}

// A Write is one attempt to write to the resource, in the order in which they
// came.
type Write struct {
	Stay     int64
	Name     string
	Token    uint64
	At       history.Time
	Accepted bool
	// Late is whether the holder knew that its stay was over.
	Late bool
}

// A Span is one fault.
type Span struct {
	Fault, Detail string
	// Shards are those that it hit.
	Shards []int
	// MayLose is whether the shards may forget what they acknowledge. What is
	// granted to who hears of it after Forgot, they do not.
	MayLose              bool
	Began, Forgot, Ended history.Time
}

// A Phase is all facts of one phase.
type Phase struct {
	Name string
	// Shards has the shard of each name of a lease.
	Shards map[string]int
	Stays  []Stay
	Writes []Write
	Spans  []Span
	// Failures say what went wrong in the harness, or did not go on.
	Failures     []string
	Began, Ended history.Time
}

// Seconds returns how long the phase took.
func (p *Phase) Seconds() float64 { return p.Ended.Sub(p.Began).Seconds() }

// Limits are those of the locks of a run.
type Limits struct {
	TTL, OpTimeout time.Duration
	// Votes is the number of names of Redlock.
	Votes int
}

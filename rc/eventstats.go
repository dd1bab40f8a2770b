package rc

import (
	"sync/atomic"
)

// EventStats are counts of events since the Manager was made.
type EventStats struct {
	// Emitted counts calls of Emit that had a mapping, Announced events given to
	// the bus, Appended events given to a stream.
	Emitted, Announced, Appended uint64
	// Heard counts events that came from the bus, Read entries that came from
	// streams for the first time, TakenOver those that another consumer, or an
	// earlier run of this one, had left.
	Heard, Read, TakenOver uint64
	// Applied counts events from elsewhere of which every invalidation has
	// landed; one that has to be applied again counts again.
	Applied uint64
	// Unknown, Undecodable and Poisoned count events from elsewhere that have no
	// mapping, do not decode, and whose mapping panicked or named a bad target.
	// Panics counts the mappings that did.
	Unknown, Undecodable, Poisoned, Panics uint64
	// Failed counts events of which an invalidation failed, each try once.
	Failed uint64
	// Retried counts entries of streams that were tried again, Acked those that
	// were acknowledged, DeadLettered those that were put aside, Dropped those
	// given up because of Stream.DropPoison.
	Retried, Acked, DeadLettered, Dropped uint64
	// Gaps counts how often events may have been missed.
	Gaps uint64
	// StreamErrors counts operations on streams that failed.
	StreamErrors uint64
	// Held is how many entries are waiting to be tried again now.
	Held int
}

// eventCounters are what EventStats is read from.
type eventCounters struct {
	emitted, announced, appended                        atomic.Uint64
	heard, read, takenOver, applied                     atomic.Uint64
	unknown, undecodable, poisoned, panics, failed      atomic.Uint64
	retried, acked, deadLettered, dropped, gaps, errors atomic.Uint64
	held                                                atomic.Int64
}

// judge counts a fate.
func (n *eventCounters) judge(k fateKind) {
	[...]*atomic.Uint64{
		fateLanded: &n.applied, fateUnknown: &n.unknown, fateUndecodable: &n.undecodable,
		fatePoisoned: &n.poisoned, fateFailed: &n.failed,
	}[k].Add(1)
}

// EventStats returns what has been counted so far. The counts are read one by
// one.
func (m *Manager) EventStats() EventStats {
	n := &m.events.n
	return EventStats{
		Emitted: n.emitted.Load(), Announced: n.announced.Load(), Appended: n.appended.Load(),
		Heard: n.heard.Load(), Read: n.read.Load(), TakenOver: n.takenOver.Load(), Applied: n.applied.Load(),
		Unknown: n.unknown.Load(), Undecodable: n.undecodable.Load(), Poisoned: n.poisoned.Load(),
		Panics: n.panics.Load(), Failed: n.failed.Load(),
		Retried: n.retried.Load(), Acked: n.acked.Load(), DeadLettered: n.deadLettered.Load(),
		Dropped: n.dropped.Load(), Gaps: n.gaps.Load(), StreamErrors: n.errors.Load(), Held: int(n.held.Load()),
	}
}

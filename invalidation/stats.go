package invalidation

import "sync/atomic"

// Stats are counts since the Bus was opened.
type Stats struct {
	// Published counts the events of messages that were published, those sent
	// again included; PublishFailed those of messages that were not, or not
	// surely.
	Published, PublishFailed uint64
	// Messages counts those that arrived, without duplicates and malformed ones.
	Messages uint64
	// Duplicates counts messages that arrived a second time, and were dropped.
	Duplicates uint64
	// Malformed counts messages that were dropped because they could not be
	// read: somebody else publishes there, or a newer version of this package.
	Malformed uint64
	// Delivered counts calls of handlers that returned, Gaps included.
	Delivered uint64
	// Gaps counts how often messages of a partition may have been missed.
	// Overflows are not counted here.
	Gaps uint64
	// Overflows counts events that did not fit into a queue.
	Overflows uint64
	// Panics counts calls of handlers that did not return.
	Panics uint64
	// Connections counts the connections that were made to hear partitions.
	// Those that publish are not counted.
	Connections uint64
	// Subscriptions counts how often a partition came to be heard.
	Subscriptions uint64
	// Beats counts the heartbeats that a server answered, BeatsFailed those that
	// none answered or that found messages missing.
	Beats, BeatsFailed uint64
}

// counters are what Stats is made of.
type counters struct {
	published, publishFailed                 atomic.Uint64
	messages, duplicates, malformed          atomic.Uint64
	delivered, gaps, overflows, panics       atomic.Uint64
	connections, subscriptions, beats, fails atomic.Uint64
}

// Stats returns what has been counted so far. The counts are read one by one.
func (b *Bus) Stats() Stats {
	c := &b.stats
	return Stats{
		Published: c.published.Load(), PublishFailed: c.publishFailed.Load(),
		Messages: c.messages.Load(), Duplicates: c.duplicates.Load(), Malformed: c.malformed.Load(),
		Delivered: c.delivered.Load(), Gaps: c.gaps.Load(), Overflows: c.overflows.Load(), Panics: c.panics.Load(),
		Connections: c.connections.Load(), Subscriptions: c.subscriptions.Load(),
		Beats: c.beats.Load(), BeatsFailed: c.fails.Load(),
	}
}

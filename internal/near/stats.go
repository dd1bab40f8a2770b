package near

import "sync/atomic"

type counters struct {
	pushes, flushes, resets, late, unasked atomic.Uint64
}

// Stats are the counts of a [Table] since it was made.
type Stats struct {
	// Pushes counts keys that a push removed from memory. Pushes for keys
	// that were not held are not counted.
	Pushes uint64
	// Flushes counts pushes that removed everything (FLUSHALL, FLUSHDB).
	Flushes uint64
	// Resets counts feeds that ended while their connection stayed open.
	Resets uint64
	// LateBeats counts those of them that ended because a beat came back
	// after the feed had expired.
	LateBeats uint64
	// Unasked counts tracked replies that nobody waited for any more.
	Unasked uint64
	// Keys is the number of keys held at the moment.
	Keys int
}

// Stats returns the table's counts. It locks each shard for a moment.
func (t *Table) Stats() Stats {
	s := Stats{
		Pushes:    t.counts.pushes.Load(),
		Flushes:   t.counts.flushes.Load(),
		Resets:    t.counts.resets.Load(),
		LateBeats: t.counts.late.Load(),
		Unasked:   t.counts.unasked.Load(),
	}
	for i := range t.shards {
		t.shards[i].mu.Lock()
		s.Keys += len(t.shards[i].entries)
		t.shards[i].mu.Unlock()
	}
	return s
}

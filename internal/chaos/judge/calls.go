package judge

import (
	"fmt"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// Calls counts the calls that told the cache of writes, whatever the number of
// keys each was for.
type Calls struct {
	// Total is how many there were, Acked those that returned nil. Grouped are
	// those of them that invalidated a tag, a namespace or a pattern.
	Total, Acked, Grouped int
	// Missed are the acknowledged ones that a read did not know of which began
	// more than the bound later, or any time later in the same instance, though
	// Redis did not lose them. It is another count of what StaleBeyondBound and
	// OwnWritesMissed count by reads.
	Missed int
	// LostByReplication are those that Redis acknowledged and forgot.
	LostByReplication int
	// Replayed counts deliveries from the queue of the library, of invalidations
	// that had failed and of those that were sent again because a failover may
	// have lost them (Resent counts how often it came to that).
	Replayed, Resent uint64
	// GapsInjected is how often a fault cut an instance off from news of a node
	// for certain. GapsDetected is how often instances noticed that they may
	// have missed something: gaps of the bus, each of one partition; with
	// tracking, connections made anew, feeds given up, and flushes.
	GapsInjected, GapsDetected uint64
	// Published counts events on the bus.
	Published uint64
}

func (c *Calls) add(o Calls) {
	c.Total += o.Total
	c.Acked += o.Acked
	c.Grouped += o.Grouped
	c.Missed += o.Missed
	c.LostByReplication += o.LostByReplication
	c.Replayed += o.Replayed
	c.Resent += o.Resent
	c.GapsInjected += o.GapsInjected
	c.GapsDetected += o.GapsDetected
	c.Published += o.Published
}

// calls counts calls.
func (c *court) calls() {
	all, acked, grouped, lost := map[history.Call]bool{}, map[history.Call]bool{}, map[history.Call]bool{}, map[history.Call]bool{}
	for _, k := range c.ledger {
		for i, w := range k.writes {
			call := w.Call()
			all[call] = true
			if w.Acked != 0 {
				acked[call] = true
			}
			if w.Group > 0 {
				grouped[call] = true
			}
			if k.lost[i] {
				lost[call] = true
			}
		}
	}
	s, f := &c.p.Stats, &c.p.Feed
	n := Calls{
		Total: len(all), Acked: len(acked), Grouped: len(grouped), Missed: len(c.unseen), LostByReplication: len(lost),
		Replayed: s.Replayed, Resent: s.Resent, GapsDetected: f.Gaps, Published: f.Published,
	}
	if !f.Broadcast {
		n.GapsDetected = f.Redialed + f.Resets + f.Flushes
	}
	for _, span := range c.p.Spans {
		n.GapsInjected += uint64(span.Feeds)
	}
	c.v.Calls = n
}

// missed notes the first call that a read beyond the bound did not know of.
func (c *court) missed(s history.Sample, k *keyLog) {
	for i := k.newer(s.Version); i < len(k.writes); i++ {
		if t := k.heard[i]; t != 0 && !k.gone(i) && s.Began.Sub(t) > c.p.Bound {
			c.miss(k, k.writes[i].Version)
			return
		}
	}
}

// miss notes the call of a version. One that was not acknowledged, because it
// had failed and was delivered later, or is kept, counts as well: its caller was
// told that it will be.
func (c *court) miss(k *keyLog, version uint64) {
	w, _, ok := k.find(version)
	if !ok {
		return
	}
	if c.unseen == nil {
		c.unseen = map[history.Call]bool{}
	}
	c.unseen[w.Call()] = true
}

// InvalidationResult returns the line that a run of the phases with groups ends
// with. Lost are acknowledged invalidations that an instance did not hear of
// within the bound; those that Redis lost by itself are apart.
func (v Verdict) InvalidationResult(mode, backend string, seed uint64) string {
	c := v.Calls
	events := uint64(c.Total)
	if mode == "broadcast" {
		events = c.Published
	}
	return fmt.Sprintf("RESULT mode=%s events=%d gaps_injected=%d gaps_detected=%d stale_beyond_bound=%d replayed=%d lost=%d lost_by_async_replication=%d "+
		"invalidations=%d grouped=%d failed_loudly=%d own_writes_missed=%d resent=%d reads=%d staleness_max_ms=%.1f backend=%s seed=%d phases=%d violations=%d",
		mode, events, c.GapsInjected, c.GapsDetected, v.StaleBeyondBound, c.Replayed, c.Missed, c.LostByReplication,
		c.Total, c.Grouped, v.Failed.Total, v.OwnWritesMissed, c.Resent, v.Reads, v.Max.Seconds()*1000, backend, seed, v.Phases, len(v.Violations()))
}

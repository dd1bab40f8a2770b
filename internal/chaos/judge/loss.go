package judge

import (
	"cmp"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

const (
	// ReplicationLag is how long before a fault a write may have been
	// acknowledged without having reached the replica that takes over.
	ReplicationLag = time.Second
	// takeoverPause is how long the acknowledgements of a shard pause at
	// least when a replica takes over by itself.
	takeoverPause = 250 * time.Millisecond
	// unknownTakeover is how long after the begin of a fault another node may
	// take over at the latest, if nobody saw when and nothing paused.
	unknownTakeover = 3 * time.Second
)

// lossWindow is a time in which a shard could lose acknowledged writes.
type lossWindow struct {
	from, to history.Time // when a lost version was acknowledged
	takeover history.Time // not before this did another node serve the shard
}

// covers reports whether a write that was heard of at a time can have been
// acknowledged in the window, if its process did not run for a while before.
func (w lossWindow) covers(t history.Time, asleep time.Duration) bool {
	return w.from <= t && t.Add(-asleep) < w.to
}

// lossWindows returns the windows of each shard of a phase.
func lossWindows(p *history.Phase) map[int][]lossWindow {
	acks := map[int][]history.Time{}
	for _, k := range p.Keys {
		acks[k.Shard] = nil
	}
	for _, w := range p.Writes {
		if t := heard(w); t != 0 && validKey(p, w.Key) {
			shard := shardOf(p, w)
			acks[shard] = append(acks[shard], t)
		}
	}
	windows := map[int][]lossWindow{}
	for shard, times := range acks {
		slices.Sort(times)
		for _, s := range p.Spans {
			if s.MayLose && concerns(s, shard) {
				windows[shard] = append(windows[shard], lossesOf(p, s, times)...)
			}
		}
	}
	return windows
}

// shardOf returns the shard that acknowledged a write: the one of the token that
// was replaced, or of the key. The key is a valid one.
func shardOf(p *history.Phase, w history.Write) int {
	if g := groupOf(p, w); g != nil && g.Shard >= 0 {
		return g.Shard
	}
	return p.Keys[w.Key].Shard
}

// groupOf returns the group that a write invalidated, nil if it was the key.
func groupOf(p *history.Phase, w history.Write) *history.Group {
	if w.Group < 1 || w.Group > len(p.Groups) {
		return nil
	}
	return &p.Groups[w.Group-1]
}

// byToken reports whether a write left its key as it is, and replaced a token
// that its value was stored with.
func byToken(p *history.Phase, w history.Write) bool {
	g := groupOf(p, w)
	return g != nil && g.Kind != history.GroupPattern
}

// concerns reports whether a fault may harm a shard.
func concerns(s history.Span, shard int) bool {
	return s.Shards == nil || slices.Contains(s.Shards, shard)
}

// lossesOf returns the windows of one fault in a shard, given the times at which
// its writes were acknowledged: that of the takeover, and, if something was
// healed, that of the primary which was replaced and does not know it yet.
func lossesOf(p *history.Phase, s history.Span, acks []history.Time) []lossWindow {
	windows := []lossWindow{takeoverOf(p, s, acks)}
	if s.Healing != 0 {
		windows = append(windows, lossWindow{from: s.Healing, to: recovered(p, s), takeover: s.Healing})
	}
	return windows
}

func takeoverOf(p *history.Phase, s history.Span, acks []history.Time) lossWindow {
	from := s.Began
	for _, o := range p.Spans { // one that kept replicas from following
		if o.Redis && o.Began < from && recovered(p, o) >= s.Began {
			from = o.Began
		}
	}
	w := lossWindow{from: from.Add(-ReplicationLag), takeover: s.Began, to: s.Held}
	if !s.Commanded {
		// A pause after the takeover is none of it: the machine may stall.
		if pauses := takeoverPauses(acks, s.Began, cmp.Or(s.Held, recovered(p, s))); len(pauses) > 0 {
			w.takeover, w.to = max(pauses[0].from, s.Began), cmp.Or(s.Held, pauses[len(pauses)-1].to)
		}
	}
	w.to = cmp.Or(w.to, min(cmp.Or(s.Ended, p.Ended), s.Began.Add(unknownTakeover)))
	return w
}

// takeoverPauses returns the times between two of the sorted times, or between
// one and the end, that overlap from and to and are long enough to have been a
// takeover: takeoverPause, and half of the longest. There can be several if
// faults overlap.
func takeoverPauses(times []history.Time, from, to history.Time) []interval {
	var all []interval
	longest := 2 * takeoverPause
	last := from
	for _, t := range append(slices.Clone(times), to) {
		if t >= from && last < to {
			all = append(all, interval{last, t})
			longest = max(longest, t.Sub(last))
		}
		last = t
	}
	return slices.DeleteFunc(all, func(i interval) bool { return i.to.Sub(i.from) < longest/2 })
}

// recovered returns when a fault was over in every respect.
func recovered(p *history.Phase, s history.Span) history.Time {
	return cmp.Or(s.Recovered, p.Ended)
}

func validKey(p *history.Phase, key int) bool { return key >= 0 && key < len(p.Keys) }

// seenInRedis is a version that Redis itself was seen to hold.
type seenInRedis struct {
	key          int
	version      uint64
	began, ended history.Time
}

// evidence collects what was read from Redis itself.
func evidence(p *history.Phase) []seenInRedis {
	var all []seenInRedis
	for _, samples := range [][]history.Sample{p.Regressions, p.Suspects} {
		for _, s := range samples {
			if s.Source == history.FromL2 {
				all = append(all, seenInRedis{s.Key, s.Version, s.Began, s.Ended})
			}
		}
	}
	for _, k := range p.Peeks {
		if k.Version != 0 {
			all = append(all, seenInRedis{k.Key, k.Version, k.Began, k.Ended})
		}
	}
	return all
}

// markLost marks the versions that Redis forgot, and counts them.
func (c *court) markLost() {
	for _, e := range evidence(c.p) {
		if !validKey(c.p, e.key) {
			continue
		}
		k := c.ledger.of(e.key)
		for i := k.newer(e.version); i < len(k.writes); i++ {
			if t := k.heard[i]; t != 0 && t < e.began && !k.lost[i] && c.mayBeLost(k.writes[i], e.ended) {
				k.lost[i] = true
				c.v.Lost.Versions++
			}
		}
	}
}

// mayBeLost reports whether a version that was heard of can have been lost by
// the time its absence showed.
func (c *court) mayBeLost(w history.Write, shown history.Time) bool {
	asleep := c.asleep(w.By, begin(w), heard(w)) // with the answer already there
	return slices.ContainsFunc(c.losses[shardOf(c.p, w)], func(l lossWindow) bool {
		return l.covers(heard(w), asleep) && shown >= l.takeover
	})
}

// late reports whether a read that is excused missed a lost version that its
// instance should have sent again by then: it has learned of the takeover within
// one bound, and others have heard of what it sent within another, unless it
// slept. A pattern is not sent again.
func (c *court) late(s history.Sample, k *keyLog) bool {
	for i := k.newer(s.Version); i < len(k.writes); i++ {
		w, t := k.writes[i], k.heard[i]
		if g := groupOf(c.p, w); !k.lost[i] || t >= s.Began || g != nil && g.Kind == history.GroupPattern {
			continue
		}
		asleep := c.asleep(w.By, begin(w), t)
		var over history.Time
		for _, l := range c.losses[shardOf(c.p, w)] {
			if l.covers(t, asleep) {
				over = max(over, l.to)
			}
		}
		if over != 0 && s.Began > over.Add(2*c.p.Bound+c.asleep(w.By, over, s.Began)) {
			return true
		}
	}
	return false
}

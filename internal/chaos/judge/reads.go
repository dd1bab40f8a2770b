package judge

import (
	"fmt"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// The rules, as findings name them.
const (
	ruleStale    = "read beyond the bound"
	ruleOwn      = "own write missed"
	ruleFill     = "stale fill"
	ruleRedis    = "old value in Redis"
	ruleLoads    = "loads per window"
	ruleWait     = "overdue wait"
	ruleLinear   = "not linearizable"
	ruleDisorder = "facts out of order"
	ruleExcused  = "excused by asynchronous replication"
	ruleLate     = "not sent again"
	ruleForgot   = "excused by dropped keys"
)

// reads judges the reads that looked too old when they were made.
func (c *court) reads() {
	c.v.staleness.Merge(c.p.Staleness)
	for _, s := range c.p.Suspects {
		k := c.ledger.of(s.Key)
		naive, judged := behind(s, k.supersededAll(s.Version)), behind(s, k.superseded(s.Version))
		c.v.staleness.Record(judged)
		if naive > c.p.Bound && len(c.v.Above) < maxAbove {
			c.v.Above = append(c.v.Above, Above{At: s.Began, Staleness: naive, Excused: judged <= c.p.Bound})
		}
		switch {
		case judged > c.p.Bound:
			c.v.StaleBeyondBound++
			c.missed(s, k)
			c.find(ruleStale, s.Began, "%s", c.describe(s, k))
		case c.ownMissed(s, k):
			c.v.OwnWritesMissed++
			c.miss(k, s.OwnVersion)
			c.find(ruleOwn, s.Began, "instance %d had written version %d (failed and kept: %v): %s", s.Instance, s.OwnVersion, s.OwnQueued, c.describe(s, k))
		case (naive > c.p.Bound || s.Own) && k.forgot(s.Version, s.Began):
			c.v.Forgotten.Reads++
			c.find(ruleForgot, s.Began, "%s", c.describe(s, k))
		case naive > c.p.Bound || s.Own:
			c.v.Lost.Reads++
			c.find(ruleExcused, s.Began, "%s", c.describe(s, k))
			if c.late(s, k) {
				c.v.Lost.Late++
				c.find(ruleLate, s.Began, "%s", c.describe(s, k))
			}
		}
	}
}

// behind returns how stale a read was, given when its version was superseded.
func behind(s history.Sample, superseded history.Time) (d time.Duration) {
	if superseded == 0 || superseded >= s.Began {
		return 0
	}
	return s.Began.Sub(superseded)
}

// ownMissed reports whether a read missed a write of its own instance that
// Redis neither lost nor forgot.
func (c *court) ownMissed(s history.Sample, k *keyLog) bool {
	if !s.Own || s.OwnVersion <= s.Version {
		return false
	}
	_, gone, _ := k.find(s.OwnVersion)
	return !gone
}

// describe says what is known about a read that was too old.
func (c *court) describe(s history.Sample, k *keyLog) string {
	var b strings.Builder
	fmt.Fprintf(&b, "instance %d got version %d of %s from %s by %s", s.Instance, s.Version, c.key(s.Key), s.Source, s.Verb)
	for i := k.newer(s.Version); i < len(k.writes); i++ {
		w := k.writes[i]
		if t := k.heard[i]; t != 0 && t < s.Began {
			fmt.Fprintf(&b, "; version %d was heard of %v before (%s by instance %d, took %v, lost: %v, forgotten: %v)",
				w.Version, s.Began.Sub(t), w.Verb, w.By, w.Ended.Sub(w.Began), k.lost[i], k.forgotten[i])
			break
		}
	}
	if w, _, ok := k.find(s.Version); ok {
		fmt.Fprintf(&b, "; it was written by instance %d with %s %v before", w.By, w.Verb, s.Began.Sub(w.Began))
		if w.Acked == 0 {
			fmt.Fprintf(&b, ", which failed after %v: %s", w.Ended.Sub(w.Began), w.Err)
		}
	}
	for _, f := range c.p.Fills {
		if f.Key == s.Key && f.Version == s.Version && f.Stored && f.Began < s.Ended {
			fmt.Fprintf(&b, "; instance %d filled it %v before", f.By, s.Began.Sub(f.Began))
		}
	}
	return b.String()
}

// peeks judges looks at Redis itself, made when no fault of Redis was going on.
func (c *court) peeks() {
	for _, e := range c.p.Peeks {
		t := c.ledger.of(e.Key).superseded(e.Version)
		if e.Version == 0 || t == 0 || t >= e.Began || c.redisFault(e.Began, e.Ended) {
			continue
		}
		c.v.OldInRedis++
		s := history.Sample{Instance: e.By, Key: e.Key, Verb: "a look at the bytes", Version: e.Version, Began: e.Began, Ended: e.Ended, Source: history.FromL2}
		c.find(ruleRedis, e.Began, "%s", c.describe(s, c.ledger.of(e.Key)))
	}
}

// redisFault reports whether a fault of Redis was going on, or had just begun.
func (c *court) redisFault(from, to history.Time) bool {
	for _, s := range c.p.Spans {
		if s.Redis && from <= recovered(c.p, s) && to >= s.Began.Add(-ReplicationLag) {
			return true
		}
	}
	return false
}

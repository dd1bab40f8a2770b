package judge

import (
	"cmp"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// markForgotten marks, and counts, the versions that Redis dropped while a Set
// of an older one was under way, if that one was then read from Redis.
func (c *court) markForgotten() {
	for _, e := range evidence(c.p) {
		if !validKey(c.p, e.key) || c.p.Keys[e.key].Class != history.ClassVersioned {
			continue
		}
		k := c.ledger.of(e.key)
		older, _, ok := k.find(e.version)
		if !ok {
			continue // it was there before the phase
		}
		for i := k.newer(e.version); i < len(k.writes); i++ {
			if t := k.heard[i]; t != 0 && t < e.began && !k.gone(i) && c.mayBeForgotten(older, k.writes[i], e.ended) {
				k.forgotten[i] = true
				c.v.Forgotten.Versions++
			}
		}
	}
}

// mayBeForgotten reports whether a fault that drops keys can have removed the
// newer of two versions before the Set of the older one was over, by the time
// that one was seen.
func (c *court) mayBeForgotten(older, newer history.Write, shown history.Time) bool {
	for _, s := range c.p.Spans {
		dropped := cmp.Or(s.Held, recovered(c.p, s)) // at the latest
		if s.Healing != 0 {
			dropped = recovered(c.p, s) // slots that go back leave their keys again
		}
		if s.Forgets && concerns(s, c.p.Keys[older.Key].Shard) && older.Ended >= s.Began && newer.Began <= dropped && shown >= s.Began {
			return true
		}
	}
	return false
}

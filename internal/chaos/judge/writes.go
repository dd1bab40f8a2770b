package judge

import (
	"slices"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// writes counts what became of the writes.
func (c *court) writes() {
	for _, w := range c.p.Writes {
		switch {
		case w.Acked != 0:
			c.v.WritesAcked++
		case w.Ended == 0:
			c.v.Interrupted++
		default:
			c.v.Failed.Total++
			c.became(w)
		}
	}
}

// became says what became of a write that failed loudly.
func (c *court) became(w history.Write) {
	f := &c.v.Failed
	switch {
	case w.Replayed != 0:
		f.Replayed++
	case c.acknowledgedLater(w):
		f.Superseded++
	case c.p.Converged != 0:
		f.Landed++
	default:
		f.Dropped++
	}
}

// acknowledgedLater reports whether a newer write of the same key reached
// Redis afterwards.
func (c *court) acknowledgedLater(w history.Write) bool {
	k := c.ledger.of(w.Key)
	return slices.ContainsFunc(k.heard[k.newer(w.Version):], func(t history.Time) bool { return t >= w.Ended })
}

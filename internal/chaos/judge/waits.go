package judge

import (
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// WaitMargin is how much longer than its limits a call may take: for
// scheduling, on a machine that everybody shares.
const WaitMargin = 250 * time.Millisecond

// waits judges the calls that took longer than their limits.
func (c *court) waits() {
	for _, w := range c.p.Waits {
		took := w.Ended.Sub(w.Began)
		asleep := c.asleep(w.Instance, w.Began, w.Ended, history.Parent)
		if took-asleep <= w.Limit+WaitMargin {
			continue
		}
		c.v.OverdueWaits++
		c.find(ruleWait, w.Began, "%s of %s by instance %d took %v, of which it did not run for %v; its limits add up to %v (result: %q)",
			w.Verb, c.key(w.Key), w.Instance, took, asleep, w.Limit, w.Err)
	}
}

// asleep returns for how long between two times a process, or one of the others,
// did not run.
func (c *court) asleep(instance int, from, to history.Time, others ...int) time.Duration {
	var in []interval
	for _, s := range c.p.Stalls {
		if s.Instance == instance || slices.Contains(others, s.Instance) {
			in = append(in, interval{s.Began, s.Ended})
		}
	}
	return covered(in, from, to)
}

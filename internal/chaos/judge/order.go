package judge

import "github.com/fleetcache/fleetcache/internal/chaos/history"

// order finds facts that cannot be: then the clocks or the records are wrong,
// and nothing that follows from them is worth anything.
func (c *court) order() {
	for _, w := range c.p.Writes {
		c.ordered("write", w.Key, w.Committed, w.Began, w.Ended)
		c.ordered("acknowledgement", w.Key, w.Began, w.Acked)
		c.ordered("replay", w.Key, w.Began, w.Replayed)
	}
	for _, l := range c.p.Loads {
		c.ordered("load", l.Key, l.Began, l.Ended)
	}
	for _, f := range c.p.Fills {
		c.ordered("fill", f.Key, f.LoadBegan, f.Began, f.Ended)
	}
	for _, s := range c.p.Suspects {
		c.ordered("read", s.Key, s.Began, s.Ended)
	}
	for _, w := range c.p.Waits {
		c.ordered("wait", w.Key, w.Began, w.Ended)
	}
	for _, o := range c.p.Ops {
		c.ordered("operation", o.Key, o.Call, o.Return)
	}
	for _, s := range c.p.Spans {
		c.ordered("fault "+s.Name, -1, s.Began, s.Held, s.Healing, s.Ended, s.Recovered)
	}
	c.ordered("phase", -1, c.p.Began, c.p.Ended)
	c.ordered("phase", -1, c.p.Healed, c.p.Converged)
	c.sameVersionOnce()
}

// ordered checks that times, those that are set, do not go back, and that the
// key is one of the phase; -1 is none.
func (c *court) ordered(what string, key int, times ...history.Time) {
	last := history.Time(0)
	wrong := key != -1 && !validKey(c.p, key)
	for _, t := range times {
		if t == 0 {
			continue
		}
		wrong = wrong || t < last
		last = t
	}
	if wrong {
		c.v.Disorder++
		c.find(ruleDisorder, 0, "%s of %s has times %v", what, c.key(key), times)
	}
}

// sameVersionOnce checks that no version of a key was written twice: the
// database counts.
func (c *court) sameVersionOnce() {
	for key, k := range c.ledger {
		for i := 1; i < len(k.writes); i++ {
			if k.writes[i].Version == k.writes[i-1].Version {
				c.v.Disorder++
				c.find(ruleDisorder, 0, "version %d of %s was written twice", k.writes[i].Version, c.key(key))
			}
		}
	}
}

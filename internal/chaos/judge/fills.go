package judge

import "github.com/fleetcache/fleetcache/internal/chaos/history"

// fills judges the loaded values that Redis stored.
func (c *court) fills() {
	for _, f := range c.p.Fills {
		if !f.Stored {
			continue
		}
		c.v.Fills++
		k := c.ledger.of(f.Key)
		i, excused := c.voided(f, k)
		switch {
		case i < 0:
		case excused:
			c.v.Lost.Fills++
			c.find(ruleExcused, f.Began, "instance %d filled version %d of %s", f.By, f.Version, c.key(f.Key))
		default:
			c.v.StaleFills++
			w := k.writes[i]
			c.find(ruleFill, f.Began, "instance %d stored version %d of %s, loaded %v before, though version %d (%s by instance %d) had been heard of %v before",
				f.By, f.Version, c.key(f.Key), f.Began.Sub(f.LoadBegan), w.Version, w.Verb, w.By, f.Began.Sub(k.heard[i]))
		}
	}
}

// voided returns the write that should have voided the right to a fill, -1 if
// there is none, and whether Redis may have forgotten all of those. A write that
// replaced a token voids no right: what is stored with the old one is not served,
// or it shows in the reads.
func (c *court) voided(f history.Fill, k *keyLog) (index int, excused bool) {
	index, excused = -1, true
	for i := k.newer(f.Version); i < len(k.writes); i++ {
		t := k.heard[i]
		if t == 0 || t >= f.Began || byToken(c.p, k.writes[i]) {
			continue
		}
		if k.lost[i] || c.mayBeLost(k.writes[i], f.Ended) {
			if index < 0 {
				index = i
			}
			continue
		}
		return i, false
	}
	return index, excused
}

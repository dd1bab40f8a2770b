package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// Window is a time in which one load of a key should do: from the
// acknowledgement of one invalidation to the begin of the next. It ends, and
// none begins, at an invalidation that failed, until a later one is
// acknowledged: it may take effect at any moment between.
//
// Without faults at most one load begins in a window. A load begins in the
// instance, which may be some time before the database hears of it. With faults:
//
//	1 + instances x (⌈D/OpTimeout⌉ + 2)
//
// where D is the part of the window that overlaps a fault, its recovery, and
// the bound on staleness after that. While a node does not answer, each
// instance loads for itself. Before each such load an operation takes up to
// OpTimeout to fail; once the breaker is open the result is kept for
// DegradedTTL, which is not shorter. Each instance may do so once more at
// either end, and one load is the fleet's.
type Window struct {
	Key          int
	Began, Ended history.Time
	Loads        int
	Bound        int
}

// LoadBound returns how many loads may begin in a window that overlaps faults
// for the given time, in a phase with faults.
func LoadBound(instances int, opTimeout, overlap time.Duration) int {
	opTimeout = max(opTimeout, time.Millisecond)
	return 1 + instances*(int((overlap+opTimeout-1)/opTimeout)+2)
}

// windows judges the loads of the quiet keys.
func (c *court) windows() {
	loads := map[int][]history.Load{}
	for _, l := range c.p.Loads {
		loads[l.Key] = append(loads[l.Key], l)
	}
	for n, key := range c.p.Keys {
		if key.Class != history.ClassQuiet {
			continue
		}
		for i, l := range loads[n] {
			loads[n][i].Began = c.begun(l)
		}
		for _, w := range windowsOf(c.p, n, c.ledger.of(n).writes) {
			if c.p.FaultFree && c.stalled(w) {
				c.v.WindowsSetAside++
				continue
			}
			c.window(w, loads[n])
		}
	}
}

// begun returns when the instance began a load, as far as is known: the database
// hears of it later, and by then an invalidation may be acknowledged that has
// voided the load already. What is known is of those whose value was offered to
// Redis. A load may lie within a slower one of the same instance that was voided:
// its own offer is the closest around it.
func (c *court) begun(l history.Load) history.Time {
	at, around := l.Began, time.Duration(math.MaxInt64)
	for _, f := range c.p.Fills {
		if f.Key != l.Key || f.By != l.By || f.LoadBegan > l.Began || l.Ended > f.Began {
			continue
		}
		if d := f.Began.Sub(f.LoadBegan); d < around {
			at, around = f.LoadBegan, d
		}
	}
	return at
}

// windowsOf cuts a phase into the windows of a key.
func windowsOf(p *history.Phase, key int, writes []history.Write) []Window {
	writes = slices.Clone(writes)
	slices.SortFunc(writes, func(a, b history.Write) int { return cmp.Compare(begin(a), begin(b)) })
	var windows []Window
	from, open := p.Began, true
	for _, w := range writes {
		if open && begin(w) > from {
			windows = append(windows, Window{Key: key, Began: from, Ended: begin(w)})
		}
		if w.Acked == 0 {
			open = false
			continue
		}
		// Of calls that overlapped, the one that ended last counts.
		from, open = max(from, w.Acked), true
	}
	if open && p.Ended > from {
		windows = append(windows, Window{Key: key, Began: from, Ended: p.Ended})
	}
	return windows
}

// begin returns when a write began. Of one whose instance was killed only its
// commit is known.
func begin(w history.Write) history.Time { return cmp.Or(w.Began, w.Committed) }

func (c *court) window(w Window, loads []history.Load) {
	var by []string
	for _, l := range loads {
		if l.Began > w.Began && l.Began < w.Ended {
			w.Loads++
			by = append(by, fmt.Sprintf("instance %d %v after its begin for %v", l.By, l.Began.Sub(w.Began), l.Ended.Sub(l.Began)))
		}
	}
	w.Bound = 1
	if !c.p.FaultFree {
		w.Bound = LoadBound(c.p.Instances, c.p.Config.OpTimeout, c.faulty(w))
	}
	c.v.Windows++
	c.v.MaxLoads = max(c.v.MaxLoads, w.Loads)
	c.v.LoadBound = max(c.v.LoadBound, w.Bound)
	if w.Loads > w.Bound {
		c.v.LoadsAboveBound++
		c.find(ruleLoads, w.Began, "%d loads of %s in a window of %v, the bound is %d: %v", w.Loads, c.key(w.Key), w.Ended.Sub(w.Began), w.Bound, by)
	}
}

// faulty returns how much of a window overlaps the faults of the phase and the
// time after them in which instances may not have noticed their end.
func (c *court) faulty(w Window) time.Duration {
	var spans []interval
	for _, s := range c.p.Spans {
		spans = append(spans, interval{s.Began, recovered(c.p, s).Add(c.p.Bound)})
	}
	return covered(spans, w.Began, w.Ended)
}

// stalled reports whether a process did not run for so long within a window
// that its operations can have failed for that alone.
func (c *court) stalled(w Window) bool {
	return slices.ContainsFunc(c.p.Stalls, func(s history.Stall) bool {
		return s.Ended > w.Began && s.Began < w.Ended && s.Ended.Sub(s.Began) >= c.p.Config.OpTimeout/2
	})
}

// interval is a stretch of time.
type interval struct{ from, to history.Time }

// covered returns how much of the time between from and to lies in at least
// one of the intervals.
func covered(in []interval, from, to history.Time) (sum time.Duration) {
	slices.SortFunc(in, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	for _, i := range in {
		if a, b := max(i.from, from), min(i.to, to); b > a {
			sum += b.Sub(a)
			from = b
		}
	}
	return sum
}

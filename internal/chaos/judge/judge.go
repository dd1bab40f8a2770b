package judge

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// Options says how to judge. The zero value works.
type Options struct {
	// Drawings is the directory for drawings of histories that are not
	// linearizable. It must exist. Defaults to none.
	Drawings string
	// LinearizableWithin bounds the check of one key. A check that does not
	// end by then is a violation. Defaults to 30s.
	LinearizableWithin time.Duration
}

// maxFindings bounds how many findings of one rule are kept in words; all are
// counted.
const maxFindings = 10

// maxAbove bounds how many reads from beyond the bound are kept for a plot.
const maxAbove = 1000

// Phase judges one phase. It blocks for the checks of linearizability only,
// and changes nothing in p.
func Phase(p *history.Phase, o Options) Verdict {
	o.LinearizableWithin = cmp.Or(o.LinearizableWithin, 30*time.Second)
	c := &court{p: p, ledger: newLedger(p.Writes), losses: lossWindows(p), v: Verdict{
		Name: p.Name, What: p.What, FaultFree: p.FaultFree, Phases: 1, Took: p.Ended.Sub(p.Began), Bound: p.Bound,
		Faults: len(p.Spans), Reads: p.Reads, ReadErrors: p.Errors, Unavailable: p.Unavailable, TimedOut: p.TimedOut, Unkept: unkept(p),
	}}
	c.order()
	c.markLost()
	c.markForgotten()
	c.ledger.settle()
	c.reads()
	c.fills()
	c.peeks()
	c.windows()
	c.writes()
	c.calls()
	c.waits()
	c.linear(o)
	c.end()
	return c.v
}

// unkept returns how many suspects were seen but not kept to be judged.
func unkept(p *history.Phase) uint64 {
	return p.Suspected - min(p.Suspected, uint64(len(p.Suspects)))
}

// court is the judgement of one phase in the making.
type court struct {
	p      *history.Phase
	ledger ledger
	losses map[int][]lossWindow // by shard
	v      Verdict
	// unseen are the acknowledged calls that a read beyond the bound missed.
	unseen map[history.Call]bool
	kept   map[string]int // findings by rule
}

// find keeps a finding in words, unless there are many of its rule.
func (c *court) find(rule string, at history.Time, format string, args ...any) {
	if c.kept == nil {
		c.kept = map[string]int{}
	}
	if c.kept[rule]++; c.kept[rule] > maxFindings {
		return
	}
	text := fmt.Sprintf(format, args...)
	if at != 0 {
		text = fmt.Sprintf("%s (at %.3fs; %s)", text, at.Sub(c.p.Began).Seconds(), c.during(at))
	}
	c.v.Findings = append(c.v.Findings, Finding{Rule: rule, Text: text})
}

// during says which faults were going on.
func (c *court) during(at history.Time) string {
	var names []string
	for _, s := range c.p.Spans {
		switch {
		case at < s.Began || at > recovered(c.p, s):
		case s.Ended != 0 && at > s.Ended:
			names = append(names, fmt.Sprintf("recovering from %s, healed %v before", s.Name, at.Sub(s.Ended)))
		default:
			names = append(names, fmt.Sprintf("during %s (%s), begun %v before", s.Name, s.Detail, at.Sub(s.Began)))
		}
	}
	if len(names) == 0 {
		return "no fault then"
	}
	return strings.Join(names, "; ")
}

// key names a key for people.
func (c *court) key(n int) string {
	if !validKey(c.p, n) {
		return fmt.Sprintf("key %d, which does not exist", n)
	}
	k := c.p.Keys[n]
	return fmt.Sprintf("%q (%s, slot %d, shard %d)", k.ID, k.Class, k.Slot, k.Shard)
}

// end judges what concerns the phase as a whole.
func (c *court) end() {
	p, v := c.p, &c.v
	v.measure()
	v.Problems = append(v.Problems, p.Failures...)
	if p.Reads == 0 && !p.Porcupine {
		v.Problems = append(v.Problems, "no reads: nothing was tested")
	}
	if p.Errors > 0 {
		v.Problems = append(v.Problems, fmt.Sprintf("%d reads failed though they had a loader and time: %s", p.Errors, p.Error))
	}
	if v.WritesAcked == 0 && !p.Porcupine {
		v.Problems = append(v.Problems, "no write was acknowledged: nothing was tested")
	}
	switch {
	case p.Unconverged != "":
		v.Unconverged = p.Unconverged
	case p.Healed != 0 && p.Converged == 0:
		v.Unconverged = "not converged, and nobody said why"
	case p.Healed != 0:
		v.Convergence = max(p.Converged.Sub(p.Healed), 0)
	}
}

package locks

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// An Overlap is two stays of one name that claimed it at the same time.
type Overlap struct {
	Older, Newer Stay
	For          time.Duration
	// Explained names the fault because of which the lease could be granted
	// twice; empty if there is none.
	Explained string
}

func (o Overlap) String() string {
	text := fmt.Sprintf("%s %s: processes %d and %d for %v, the second %v after the first", o.Older.Kind, o.Older.Name,
		o.Older.Process, o.Newer.Process, o.For.Round(time.Microsecond), o.Newer.Entry.Sub(o.Older.Entry).Round(time.Microsecond))
	if o.Explained != "" {
		return text + "; " + o.Explained
	}
	return text
}

// A Verdict is what the facts of a phase mean.
type Verdict struct {
	Phase  string
	Locks  map[string]int // stays of each kind
	Faults int
	Lost   int // stays that ended otherwise than by Release
	// Overdue counts stays that ended by Until: their holders were stopped, and
	// noticed later.
	Overdue  int
	Overlaps []Overlap
	// Refused counts writes under a token below the highest, and LateRefused
	// those of them whose holder knew that its stay was over. Leaked counts accepted writes of a holder
	// that was certainly granted the lock before one that had written.
	Refused, LateRefused, Leaked int
	// Disorder counts grants of a token that is not above those of all grants
	// that were certainly before.
	Disorder int
	Seconds  float64
	broken   []string
}

// Judge returns what the facts of a phase mean.
func Judge(p *Phase) Verdict {
	v := Verdict{Phase: p.Name, Locks: map[string]int{}, Faults: len(p.Spans), Seconds: p.Seconds()}
	v.broken = slices.Clone(p.Failures)
	groups := map[[2]string][]Stay{}
	for _, s := range p.Stays {
		v.Locks[s.Kind]++
		if s.Lost {
			v.Lost++
		}
		if s.End() < s.Exit {
			v.Overdue++
		}
		groups[[2]string{s.Kind, s.Name}] = append(groups[[2]string{s.Kind, s.Name}], s)
		if s.Kind == Redlock && s.Token != 0 {
			v.breach("a lock of Redlock has the token %d", s.Token)
		}
	}
	for key, stays := range groups {
		v.overlaps(p, stays)
		if key[0] == Lease {
			v.order(stays)
		}
	}
	slices.SortFunc(v.Overlaps, func(a, b Overlap) int { return cmp.Compare(a.Newer.Entry, b.Newer.Entry) })
	v.writes(p)
	v.blame()
	return v
}

// blame makes a violation of all overlaps of one holder that nothing explains.
func (v *Verdict) blame() {
	type blamed struct {
		first Overlap
		n     int
	}
	var all []*blamed
	of := map[int64]*blamed{}
	for _, o := range v.Overlaps {
		b := of[o.Older.ID]
		switch {
		case o.Explained != "":
		case b != nil:
			b.n++
		default:
			of[o.Older.ID] = &blamed{o, 1}
			all = append(all, of[o.Older.ID])
		}
	}
	for _, b := range all {
		v.breach("%d overlaps with one holder of %v", b.n, b.first)
	}
}

func (v *Verdict) breach(format string, args ...any) {
	v.broken = append(v.broken, fmt.Sprintf(format, args...))
}

// overlaps finds all pairs of stays of one kind and name that claim it at once.
func (v *Verdict) overlaps(p *Phase, stays []Stay) {
	slices.SortFunc(stays, func(a, b Stay) int { return cmp.Compare(a.Entry, b.Entry) })
	var alive []Stay // those that may reach into the next one
	for _, s := range stays {
		alive = slices.DeleteFunc(alive, func(a Stay) bool { return a.End() <= s.Entry })
		if s.End() <= s.Entry {
			continue // it was over before its holder knew
		}
		for _, a := range alive {
			o := Overlap{Older: a, Newer: s, For: min(a.End(), s.End()).Sub(s.Entry)}
			if s.Kind == Lease {
				o.Explained = explain(p, a, s)
			}
			v.Overlaps = append(v.Overlaps, o)
		}
		alive = append(alive, s)
	}
}

// explain names the fault that may have made the shard of a lease forget the
// first grant before it made the second.
func explain(p *Phase, first, second Stay) string {
	for _, s := range p.Spans {
		if s.MayLose && slices.Contains(s.Shards, p.Shards[first.Name]) && s.Began <= second.Entry && first.Entry <= s.Forgot {
			return fmt.Sprintf("%s (%s) began %v before the second", s.Fault, s.Detail, second.Entry.Sub(s.Began).Round(time.Millisecond))
		}
	}
	return ""
}

// order looks for tokens that do not grow from one grant to another that was
// certainly later.
func (v *Verdict) order(stays []Stay) {
	byEntry, bySince := slices.Clone(stays), slices.Clone(stays)
	slices.SortFunc(byEntry, func(a, b Stay) int { return cmp.Compare(a.Entry, b.Entry) })
	slices.SortFunc(bySince, func(a, b Stay) int { return cmp.Compare(a.Since, b.Since) })
	var highest uint64
	for _, s := range bySince {
		for len(byEntry) > 0 && byEntry[0].Entry <= s.Since {
			highest, byEntry = max(highest, byEntry[0].Token), byEntry[1:]
		}
		if s.Token <= highest {
			v.Disorder++
			v.breach("lease %s: token %d was granted after %d", s.Name, s.Token, highest)
		}
	}
}

// writes looks at what the resource took.
func (v *Verdict) writes(p *Phase) {
	stays := make(map[int64]*Stay, len(p.Stays))
	for i := range p.Stays {
		stays[p.Stays[i].ID] = &p.Stays[i]
	}
	type state struct {
		token uint64       // the highest accepted
		since history.Time // the latest of those who have written
	}
	names := map[string]*state{}
	for _, w := range p.Writes {
		s, at := stays[w.Stay], names[w.Name]
		if s == nil {
			v.breach("a write of stay %d, of which nothing else is known", w.Stay)
			continue
		}
		if at == nil {
			at = &state{}
			names[w.Name] = at
		}
		if !w.Accepted {
			v.Refused++
			if w.Late {
				v.LateRefused++
			}
			if w.Token >= at.token {
				v.breach("lease %s: a write with token %d was refused after %d", w.Name, w.Token, at.token)
			}
			continue
		}
		if w.Token < at.token || s.Entry <= at.since {
			v.Leaked++
			v.breach("lease %s: the write of an older holder, with token %d, was accepted after %d", w.Name, w.Token, at.token)
		}
		at.token, at.since = max(at.token, w.Token), max(at.since, s.Since)
	}
}

// Count returns the number of overlaps of a kind, and of those of them that a
// fault explains.
func (v *Verdict) Count(kind string) (all, explained int) {
	for _, o := range v.Overlaps {
		if o.Older.Kind == kind {
			all++
			if o.Explained != "" {
				explained++
			}
		}
	}
	return all, explained
}

// Violations returns the promises that were broken, in words.
func (v *Verdict) Violations() []string { return v.broken }

// Sum adds up verdicts. A run in which the fence had nothing to refuse has not
// shown that it does.
func Sum(all []Verdict) Verdict {
	sum := Verdict{Phase: "total", Locks: map[string]int{}}
	for _, v := range all {
		for kind, n := range v.Locks {
			sum.Locks[kind] += n
		}
		sum.Faults += v.Faults
		sum.Lost += v.Lost
		sum.Overdue += v.Overdue
		sum.Overlaps = append(sum.Overlaps, v.Overlaps...)
		sum.Refused += v.Refused
		sum.LateRefused += v.LateRefused
		sum.Leaked += v.Leaked
		sum.Disorder += v.Disorder
		sum.Seconds += v.Seconds
		for _, text := range v.broken {
			sum.broken = append(sum.broken, v.Phase+": "+text)
		}
	}
	if sum.Refused == 0 {
		sum.breach("no write was refused: the fence has not been tried")
	}
	return sum
}

// Result returns the line that a run ends with.
func (v *Verdict) Result(processes int, seed uint64) string {
	redlock, _ := v.Count(Redlock)
	lease, explained := v.Count(Lease)
	return fmt.Sprintf("RESULT locks=%d faults=%d redlock_overlaps=%d lease_overlaps=%d fenced_writes_refused=%d fenced_writes_leaked=%d"+
		" lease_overlaps_explained=%d token_disorder=%d lost_locks=%d overdue=%d redlock_locks=%d lease_locks=%d processes=%d seconds=%.0f seed=%d",
		v.Locks[Lease]+v.Locks[Redlock], v.Faults, redlock, lease, v.Refused, v.Leaked,
		explained, v.Disorder, v.Lost, v.Overdue, v.Locks[Redlock], v.Locks[Lease], processes, v.Seconds, seed)
}

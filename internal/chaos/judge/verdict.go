package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// Verdict is what the judge found in a phase, or, summed by [Verdict.Add], in
// several. It is small, and keeps its meaning as JSON.
type Verdict struct {
	// Name and What are those of the phase.
	Name, What string
	FaultFree  bool
	// Phases is how many phases are summed, Took how long they took and
	// Faults how many faults were made in them.
	Phases, Faults int
	Took           time.Duration

	// Bound is the bound on staleness. Staleness of a read is how long before
	// its begin a newer version had first been heard of, 0 if none had; P50,
	// P99 and Max are of all reads, but for those that are excused count only
	// versions that were neither lost nor forgotten. Most reads are not stale
	// at all: Stale is how many were, StaleP50 and StaleP99 are of these.
	Bound time.Duration
	Reads uint64
	// ReadErrors failed though they had a loader and time. Unavailable had no
	// loader and said so, TimedOut ended with the context of their caller.
	ReadErrors, Unavailable, TimedOut uint64

	StaleBeyondBound       int
	P50, P99, Max          time.Duration
	Stale                  uint64
	StaleP50, StaleP99     time.Duration
	OwnWritesMissed        int
	Unkept                 uint64 // suspects that were not kept to be judged
	OldInRedis, StaleFills int
	Fills                  int // that were stored

	// Windows is how many windows of quiet keys were judged; WindowsSetAside
	// were not, because a process of a phase without faults did not run in
	// them for as long as OpTimeout/2. MaxLoads is the most loads in one,
	// LoadBound the largest bound, LoadsAboveBound the number of windows
	// above their own. See Window.
	Windows, WindowsSetAside             int
	MaxLoads, LoadBound, LoadsAboveBound int
	// MaxLoadsNoFault is MaxLoads of the phases without faults.
	MaxLoadsNoFault int

	WritesAcked int
	Failed      Failed
	// Interrupted writes were cut short: their instance was killed, or the
	// phase ended before the cache was called.
	Interrupted int

	OverdueWaits int
	Calls        Calls
	Lost         Lost
	Forgotten    Forgotten
	// Convergence is the longest time from the healing of all faults until
	// every instance read what is current. Unconverged says why that did not
	// happen.
	Convergence time.Duration
	Unconverged string
	Linear      Linear
	// Disorder counts facts that cannot be.
	Disorder int
	// Problems are failures of the test itself.
	Problems []string

	// Findings are violations and excused facts in words, some of each rule.
	Findings []Finding `json:"-"`

	// Above are reads from beyond the bound, those that are excused included,
	// at most some.
	Above []Above `json:"-"`

	staleness history.Hist
}

// Above is a read from beyond the bound.
type Above struct {
	At        history.Time
	Staleness time.Duration
	// Excused reports that Redis had lost what the read did not have.
	Excused bool
}

// Failed counts writes of which the caller was told that Redis was not.
type Failed struct {
	Total int
	// Replayed were delivered later. Superseded were followed by a newer
	// write of the key that reached Redis. Landed are the others of a phase
	// that converged: they had reached Redis after all, or nothing was left
	// to remove. Dropped are the rest.
	Replayed, Superseded, Landed, Dropped int
}

// Lost counts what asynchronous replication lost: versions that Redis had
// acknowledged and forgot, and the reads and fills that are excused by that. Late
// are those of the reads that began so long after the takeover that the
// invalidation should have been sent again by then (Options.ReplayWindow).
type Lost struct{ Versions, Reads, Fills, Late int }

// Forgotten counts versions of keys of [history.ClassVersioned] that Redis held
// and dropped while a Set of an older one was under way, which then found nothing
// newer, and the reads that are excused by that. The cache keeps no versions of
// what Redis has not got: that is a limit of Config.Version.
type Forgotten struct{ Versions, Reads int }

// Linear counts checked histories of single keys.
type Linear struct{ Keys, Ops, Illegal, Undecided int }

// Finding is one fact in words.
type Finding struct{ Rule, Text string }

// Add sums two verdicts. The names stay those of v, unless it has none.
func (v *Verdict) Add(o Verdict) {
	if v.Phases == 0 {
		v.Name, v.What, v.FaultFree = o.Name, o.What, o.FaultFree
	}
	v.MaxLoadsNoFault = max(v.NoFaultLoads(), o.NoFaultLoads())
	v.FaultFree = v.FaultFree && o.FaultFree
	v.Phases += o.Phases
	v.Faults += o.Faults
	v.Took += o.Took
	v.Bound = max(v.Bound, o.Bound)
	v.Reads += o.Reads
	v.ReadErrors += o.ReadErrors
	v.Unavailable += o.Unavailable
	v.TimedOut += o.TimedOut
	v.StaleBeyondBound += o.StaleBeyondBound
	v.OwnWritesMissed += o.OwnWritesMissed
	v.Unkept += o.Unkept
	v.OldInRedis += o.OldInRedis
	v.StaleFills += o.StaleFills
	v.Fills += o.Fills
	v.Windows += o.Windows
	v.WindowsSetAside += o.WindowsSetAside
	v.MaxLoads = max(v.MaxLoads, o.MaxLoads)
	v.LoadBound = max(v.LoadBound, o.LoadBound)
	v.LoadsAboveBound += o.LoadsAboveBound
	v.WritesAcked += o.WritesAcked
	v.Failed.add(o.Failed)
	v.Interrupted += o.Interrupted
	v.OverdueWaits += o.OverdueWaits
	v.Calls.add(o.Calls)
	v.Lost.Versions += o.Lost.Versions
	v.Lost.Reads += o.Lost.Reads
	v.Lost.Fills += o.Lost.Fills
	v.Lost.Late += o.Lost.Late
	v.Forgotten.Versions += o.Forgotten.Versions
	v.Forgotten.Reads += o.Forgotten.Reads
	v.Convergence = max(v.Convergence, o.Convergence)
	v.Unconverged = strings.Trim(v.Unconverged+"; "+o.Unconverged, "; ")
	v.Linear.Keys += o.Linear.Keys
	v.Linear.Ops += o.Linear.Ops
	v.Linear.Illegal += o.Linear.Illegal
	v.Linear.Undecided += o.Linear.Undecided
	v.Disorder += o.Disorder
	v.Problems = append(slices.Clone(v.Problems), o.Problems...)
	v.Findings = append(slices.Clone(v.Findings), o.Findings...)
	v.Above = append(slices.Clone(v.Above), o.Above...)
	// A histogram has a map: merging into that of v would change the one v
	// was copied from.
	var sum history.Hist
	sum.Merge(v.staleness)
	sum.Merge(o.staleness)
	v.staleness = sum
	v.measure()
}

// measure computes what follows from the histogram of staleness.
func (v *Verdict) measure() {
	all, stale := v.staleness, v.staleness
	stale.N, stale.Zeros = all.N-all.Zeros, 0
	v.P50, v.P99, v.Max = all.Quantile(0.5), all.Quantile(0.99), all.Max
	v.Stale, v.StaleP50, v.StaleP99 = stale.N, stale.Quantile(0.5), stale.Quantile(0.99)
}

// NoFaultLoads returns the most loads in a window of a phase without faults.
func (v Verdict) NoFaultLoads() int {
	if v.FaultFree {
		return v.MaxLoads
	}
	return v.MaxLoadsNoFault
}

func (f *Failed) add(o Failed) {
	f.Total += o.Total
	f.Replayed += o.Replayed
	f.Superseded += o.Superseded
	f.Landed += o.Landed
	f.Dropped += o.Dropped
}

// Sum adds up verdicts, under the given name.
func Sum(name string, verdicts []Verdict) Verdict {
	var v Verdict
	for _, o := range verdicts {
		v.Add(o)
	}
	v.Name, v.What = name, ""
	return v
}

// Violations returns what must not be and is, a line each; none means that the
// promises were kept and that something was tested.
func (v Verdict) Violations() []string {
	var all []string
	must := func(n uint64, rule, format string, args ...any) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%s: %d "+format, append([]any{v.Name, n}, args...)...)+v.example(rule))
		}
	}
	must(uint64(v.StaleBeyondBound), ruleStale, "reads beyond the bound of %v", v.Bound)
	must(v.Unkept, "", "more suspicious reads were not kept to be judged")
	must(uint64(v.OwnWritesMissed), ruleOwn, "reads missed a write of their own instance")
	must(uint64(v.StaleFills), ruleFill, "stale fills")
	must(uint64(v.Lost.Late), ruleLate, "reads still missed what Redis had lost long before, and what was not sent again")
	must(uint64(v.OldInRedis), ruleRedis, "old values in Redis without a fault of Redis")
	must(uint64(v.LoadsAboveBound), ruleLoads, "windows with too many loads, at most %d", v.MaxLoads)
	must(uint64(v.OverdueWaits), ruleWait, "overdue waits")
	must(uint64(v.Linear.Illegal+v.Linear.Undecided), ruleLinear, "histories not shown to be linearizable")
	must(uint64(v.Disorder), ruleDisorder, "facts that cannot be")
	if v.Unconverged != "" {
		all = append(all, fmt.Sprintf("%s: did not converge: %s", v.Name, v.Unconverged))
	}
	for _, p := range v.Problems {
		all = append(all, fmt.Sprintf("%s: %s", v.Name, p))
	}
	return all
}

// example returns a finding of a rule, to go behind a sentence.
func (v Verdict) example(rule string) string {
	for _, f := range v.Findings {
		if f.Rule == rule {
			return "; one: " + f.Text
		}
	}
	return ""
}

// Result returns the line that a run ends with. staleness_p99_ms is of all reads,
// most of which are not stale; stale_reads_p99_ms is of those that are.
func (v Verdict) Result(backend string, seed uint64) string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }
	return fmt.Sprintf("RESULT backend=%s seed=%d faults=%d reads=%d stale_beyond_bound=%d stale_fills=%d max_loads_per_window_no_fault=%d overdue_waits=%d "+
		"lost_by_async_replication=%d staleness_p99_ms=%s staleness_max_ms=%s "+
		"own_writes_missed=%d max_loads_per_window=%d writes_acked=%d failed_loudly=%d convergence_max_ms=%s not_linearizable=%d "+
		"stale_reads=%d stale_reads_p99_ms=%s versions_forgotten=%d violations=%d",
		backend, seed, v.Faults, v.Reads, v.StaleBeyondBound, v.StaleFills, v.NoFaultLoads(), v.OverdueWaits,
		v.Lost.Versions, ms(v.P99), ms(v.Max),
		v.OwnWritesMissed, v.MaxLoads, v.WritesAcked, v.Failed.Total, ms(v.Convergence), v.Linear.Illegal+v.Linear.Undecided,
		v.Stale, ms(v.StaleP99), v.Forgotten.Versions, len(v.Violations()))
}

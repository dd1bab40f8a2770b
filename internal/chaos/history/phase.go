package history

import "time"

// Phase is everything that is known of one phase of a run. Its lists are in no
// particular order.
type Phase struct {
	Name string
	// What says in a sentence what was done to whom.
	What         string
	Began, Ended Time
	// Bound is Options.MaxStaleness.
	Bound time.Duration
	// Config has the other limits that the instances ran with.
	Config Limits
	// Instances is the number of instances, numbered from 0.
	Instances int
	Keys      []Key
	// Groups are numbered from 1 elsewhere.
	Groups []Group
	// FaultFree reports that nothing was done: loads per window must be 1.
	FaultFree bool

	Batch
	// Writes and Loads are the database's own records.
	Writes []Write
	Loads  []Load
	Spans  []Span
	// Converged is when, after everything was healed, every instance had read
	// the version of every key that was current at Healed, and writes of
	// every key were acknowledged again; 0 if that did not happen in time.
	Healed, Converged Time
	// Unconverged says what was missing, if Converged is 0.
	Unconverged string
	// Porcupine reports that the phase is judged by Ops.
	Porcupine bool
	// Failures are what went wrong with the phase itself: a fault that could
	// not be made, an instance that ended by itself.
	Failures []string
}

// Limits are the configured limits of the instances.
type Limits struct {
	OpTimeout, DialTimeout, LoadTimeout, LockWait time.Duration
	LeaseTTL, DegradedTTL, TTL, ErrorBackoff      time.Duration
	Heartbeat, WatchInterval                      time.Duration
}

// Batch is what an instance reports, several times in a phase. Add sums them.
type Batch struct {
	// Reads counts reads that returned an answer. Unavailable counts those
	// without a loader that said so, TimedOut those that ended with the
	// context of their caller, and Errors those that failed although they had
	// a loader and time; Error is one of these.
	Reads, Unavailable, TimedOut, Errors uint64
	Error                                string
	// Staleness has the reads that are not in Samples as suspects.
	Staleness Hist
	// Verbs counts calls by verb.
	Verbs   map[string]uint64
	Buckets []Bucket
	// Suspects are the reads from beyond the bound, or from before a write of
	// the same instance, by what was known when they were made. Suspected
	// counts them; it is more than there are if too many were not kept.
	Suspects  []Sample
	Suspected uint64
	// Regressions are reads from Redis itself that returned a version whose
	// successor had been acknowledged before: evidence of what Redis forgot.
	// Of each instance, key and version the last is kept.
	Regressions []Sample
	Fills       []Fill
	Waits       []Wait
	Stalls      []Stall
	Peeks       []Peek // those that found less than was acknowledged
	Ops         []Op
	Stats       Stats
	Feed        Feed
	// Closing has what Manager.Close said.
	Closing []string
}

// Add adds the facts of o to those of b.
func (b *Batch) Add(o Batch) {
	b.Reads += o.Reads
	b.Unavailable += o.Unavailable
	b.TimedOut += o.TimedOut
	b.Errors += o.Errors
	if b.Error == "" {
		b.Error = o.Error
	}
	b.Staleness.Merge(o.Staleness)
	for v, n := range o.Verbs {
		if b.Verbs == nil {
			b.Verbs = map[string]uint64{}
		}
		b.Verbs[v] += n
	}
	b.Buckets = mergeBuckets(b.Buckets, o.Buckets)
	b.Suspects = append(b.Suspects, o.Suspects...)
	b.Suspected += o.Suspected
	b.Regressions = append(b.Regressions, o.Regressions...)
	b.Fills = append(b.Fills, o.Fills...)
	b.Waits = append(b.Waits, o.Waits...)
	b.Stalls = append(b.Stalls, o.Stalls...)
	b.Peeks = append(b.Peeks, o.Peeks...)
	b.Ops = append(b.Ops, o.Ops...)
	b.Stats.add(o.Stats)
	b.Feed.add(o.Feed)
	b.Closing = append(b.Closing, o.Closing...)
}

func mergeBuckets(into, from []Bucket) []Bucket {
	at := make(map[int64]int, len(into))
	for i, b := range into {
		at[b.At] = i
	}
	for _, b := range from {
		i, ok := at[b.At]
		if !ok {
			at[b.At] = len(into)
			into = append(into, b)
			continue
		}
		into[i].Reads += b.Reads
		into[i].Errors += b.Errors
		into[i].Stalest = max(into[i].Stalest, b.Stalest)
	}
	return into
}

func (s *Stats) add(o Stats) {
	s.L1Hits += o.L1Hits
	s.L2Hits += o.L2Hits
	s.Misses += o.Misses
	s.Loads += o.Loads
	s.DegradedLoads += o.DegradedLoads
	s.Fills += o.Fills
	s.FillsVoided += o.FillsVoided
	s.FillsSuperseded += o.FillsSuperseded
	s.Queued += o.Queued
	s.Replayed += o.Replayed
	s.QueueDropped += o.QueueDropped
	s.QueueExpired += o.QueueExpired
	s.Invalidations += o.Invalidations
	s.InvalidationErrors += o.InvalidationErrors
	s.WaitTimeouts += o.WaitTimeouts
	s.Marks += o.Marks
	s.MarkErrors += o.MarkErrors
	s.Resent += o.Resent
}

// Run is a whole run of the suite.
type Run struct {
	Backend, Server string // "local", "redis-server 7.0.15"
	Seed            uint64
	Command         string
	Short           bool
	Instances       int
	Began, Ended    Time
	Date            time.Time // when it began, by the wall clock
	Phases          []Phase
}

// Delivered reports whether an invalidation of a key that the queue delivered by
// time replayed must have been sent after a call that failed at time failed. If
// less time lies between than a delivery may take, it may have been under way
// already.
func (l Limits) Delivered(failed, replayed Time) bool {
	return failed != 0 && replayed.Sub(failed) > l.OpTimeout+l.DialTimeout
}

//go:build unix

package instance

import (
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/rc"
)

// maxSuspects bounds how many reads are kept between two reports; all are
// counted.
const maxSuspects = 500

// recorder collects what happens until the next report.
type recorder struct {
	mu        sync.Mutex // protects the rest
	rep       Report
	bucket    history.Bucket
	regressed map[regression]history.Sample
	last      rc.Stats // at the last report
}

type regression struct {
	key     int
	version uint64
}

// answered says how a call that was to return a value ended.
type answered int

const (
	gave        answered = iota // an answer
	unavailable                 // Redis does not answer, and there is no loader
	timedOut                    // the context of the caller ended
	failed                      // anything else
)

// called counts a call by its verb, and a read by how it ended.
func (r *recorder) called(verb string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rep.Verbs == nil {
		r.rep.Verbs = map[string]uint64{}
	}
	r.rep.Verbs[verb]++
}

func (r *recorder) ended(how answered, at history.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucketLocked(at)
	switch how {
	case gave:
		r.rep.Reads++
		b.Reads++
	case unavailable:
		r.rep.Unavailable++
	case timedOut:
		r.rep.TimedOut++
	case failed:
		r.rep.Errors++
		b.Errors++
		if r.rep.Error == "" {
			r.rep.Error = err.Error()
		}
	}
}

// bucketLocked returns the bucket of a moment, which is hardly ever another one
// than that of the call before.
func (r *recorder) bucketLocked(at history.Time) *history.Bucket {
	n := int64(at) / int64(history.BucketWidth)
	if r.bucket.At != n {
		r.flushBucketLocked()
		r.bucket = history.Bucket{At: n}
	}
	return &r.bucket
}

func (r *recorder) flushBucketLocked() {
	if r.bucket.Reads+r.bucket.Errors > 0 {
		r.rep.Buckets = append(r.rep.Buckets, r.bucket)
	}
	r.bucket = history.Bucket{}
}

// fresh records a read within the bound.
func (r *recorder) fresh(staleness time.Duration, at history.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Staleness.Record(staleness)
	b := r.bucketLocked(at)
	b.Stalest = max(b.Stalest, staleness)
}

func (r *recorder) suspect(s history.Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Suspected++
	if len(r.rep.Suspects) < maxSuspects {
		r.rep.Suspects = append(r.rep.Suspects, s)
	}
}

// regress keeps the last sample of a version.
func (r *recorder) regress(s history.Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.regressed == nil {
		r.regressed = map[regression]history.Sample{}
	}
	r.regressed[regression{s.Key, s.Version}] = s
}

func (r *recorder) fill(f history.Fill) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Fills = append(r.rep.Fills, f)
}

func (r *recorder) waited(w history.Wait) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Waits = append(r.rep.Waits, w)
}

func (r *recorder) stalled(s history.Stall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Stalls = append(r.rep.Stalls, s)
}

func (r *recorder) peeked(p history.Peek) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Peeks = append(r.rep.Peeks, p)
}

func (r *recorder) wrote(w history.Write) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Writes = append(r.rep.Writes, w)
}

func (r *recorder) replayed(p Replay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Replays = append(r.rep.Replays, p)
}

func (r *recorder) operated(o history.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Ops = append(r.rep.Ops, o)
}

func (r *recorder) closing(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Closing = append(r.rep.Closing, text)
}

// take returns what has happened since the last call, given the counters now.
func (r *recorder) take(now rc.Stats) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushBucketLocked()
	rep := r.rep
	for _, s := range r.regressed {
		rep.Regressions = append(rep.Regressions, s)
	}
	rep.Stats = difference(now, r.last)
	rep.Feed.Resets, rep.Feed.Flushes = now.FeedResets-r.last.FeedResets, now.Flushes-r.last.Flushes
	r.last, r.rep, r.regressed = now, Report{}, nil
	return rep
}

func difference(a, b rc.Stats) history.Stats {
	return history.Stats{
		L1Hits: a.L1Hits - b.L1Hits, L2Hits: a.L2Hits - b.L2Hits, Misses: a.Misses - b.Misses,
		Loads: a.Loads - b.Loads, DegradedLoads: a.DegradedLoads - b.DegradedLoads,
		Fills: a.Fills - b.Fills, FillsVoided: a.FillsVoided - b.FillsVoided, FillsSuperseded: a.FillsSuperseded - b.FillsSuperseded,
		Queued: a.Queued - b.Queued, Replayed: a.Replayed - b.Replayed,
		QueueDropped: a.QueueDropped - b.QueueDropped, QueueExpired: a.QueueExpired - b.QueueExpired,
		Invalidations: a.Invalidations - b.Invalidations, InvalidationErrors: a.InvalidationErrors - b.InvalidationErrors,
		WaitTimeouts: a.WaitTimeouts - b.WaitTimeouts,
		Marks:        a.Marks - b.Marks, MarkErrors: a.MarkErrors - b.MarkErrors, Resent: a.Resent - b.Resent,
	}
}

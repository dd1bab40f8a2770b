//go:build unix

package fleet

import (
	"fmt"
	"time"
)

// figures are what a run of readers and a writer came to.
type figures struct {
	hammerResult
	Written writeResult
	Loads   uint64
	// Violations counts reads from beyond the bound by the final ledger, by
	// the tier they came from; Excused those whose newer versions were lost.
	Violations map[string]int
	Excused    uint64
	Recovery   time.Duration
}

func (r figures) String() string {
	bad := 0
	for _, n := range r.Violations {
		bad += n
	}
	return fmt.Sprintf("reads %d (%d failed), writes %d (%d failed, %d lost), loads %d, violations %d, excused %d, max staleness %.1f ms, recovery %d ms",
		r.Reads, r.Errors, r.Written.Acknowledged, r.Written.Failed, r.Written.Lost, r.Loads,
		bad, r.Excused, float64(r.Stalest.Microseconds())/1000, r.Recovery.Milliseconds())
}

// bound is a run of readers and a writer through a fault.
type bound struct {
	*testFleet
	writer  *proc
	readers []*proc
	began   int64
}

// startBound starts a process that writes and some that read. These have read
// from memory before the first write: on a busy machine, values that are
// invalidated all the time are hardly ever stored.
func (f *testFleet) startBound(readers int, h hammerArgs, w writeArgs) *bound {
	f.t.Helper()
	procs := f.spawn(1 + readers)
	b := &bound{testFleet: f, writer: procs[0], readers: procs[1:], began: monotonic()}
	for _, p := range b.readers {
		p.call("hammer", h, nil)
	}
	for _, p := range b.readers {
		until(f.t, "the readers have warmed up", func() bool { return p.stats().L1Hits > 500 })
	}
	b.writer.call("write", w, nil)
	return b
}

// acknowledged waits until a write of a key that begins after the call is
// acknowledged, and returns when that was.
func (b *bound) acknowledged(key int) (at int64) {
	b.t.Helper()
	v := b.ledger.current(key)
	until(b.t, fmt.Sprintf("writes of %s are acknowledged again", b.args.IDs[key]), func() bool {
		at = b.ledger.superseded(key, v)
		return at != 0
	})
	return at
}

// linger lets the run go on for a multiple of MaxStaleness, in which a value
// kept too long would become a violation.
func (b *bound) linger(times float64) {
	time.Sleep(time.Duration(times * float64(b.args.MaxStaleness)))
}

// judge ends the run, and fails the test for every violation.
func (b *bound) judge() figures {
	b.t.Helper()
	var w writeResult
	b.writer.call("written", nil, &w)
	r := b.judgeReaders()
	r.Written = w
	for key, id := range b.args.IDs {
		if n := b.ledger.current(key); n < 10 {
			b.t.Errorf("%s was written %d times: nothing was tested", id, n)
		}
	}
	return r
}

// judgeReaders is judge for a run whose writes the test made itself.
func (b *bound) judgeReaders() figures {
	b.t.Helper()
	var r figures
	for _, p := range b.readers {
		var h hammerResult
		p.call("hammered", nil, &h)
		r.add(h)
	}
	r.Violations = map[string]int{}
	for _, s := range r.Suspects {
		at := b.ledger.superseded(s.Key, s.Version)
		if at == 0 || time.Duration(s.Began-at) <= b.args.MaxStaleness {
			continue
		}
		r.Violations[s.Source]++
		if n := r.Violations[s.Source]; n <= 3 {
			b.t.Errorf("violation: %s from %s is version %d, whose successor was acknowledged %v before the read began (%v after the start); current is %d",
				b.args.IDs[s.Key], s.Source, s.Version, time.Duration(s.Began-at), time.Duration(s.Began-b.began), b.ledger.current(s.Key))
		}
	}
	bad := 0
	for source, n := range r.Violations {
		bad += n
		b.t.Errorf("%d violations from %s", n, source)
	}
	r.Excused = uint64(len(r.Suspects) - bad)
	if n := r.Seen - uint64(len(r.Suspects)); n > 0 {
		b.t.Errorf("%d more suspects were not kept to be judged", n)
	}
	if r.Errors > 0 {
		b.t.Errorf("%d reads failed, though the loader never does: %s", r.Errors, r.Error)
	}
	for key := range b.args.IDs {
		r.Loads += b.ledger.loads(key)
	}
	return r
}

// noLoss fails the test if Redis has forgotten a write.
func (b *bound) noLoss(r figures) {
	b.t.Helper()
	if r.Written.Lost > 0 || r.Excused > 0 {
		b.t.Errorf("Redis went back by %d versions, %d reads were excused for it; want none without a failover", r.Written.Lost, r.Excused)
	}
}

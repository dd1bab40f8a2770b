//go:build unix

package instance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/board"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/rc"
)

// newTestPhase is a phase of one key without a Manager, with versions 1 to 3.
func newTestPhase(t *testing.T, class history.Class) *phase {
	t.Helper()
	b, err := board.Open(filepath.Join(t.TempDir(), "board"), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		if _, err := b.Commit(0); err != nil {
			t.Fatal(err)
		}
	}
	return &phase{
		args:  Open{Keys: []history.Key{{ID: "a", Class: class}}, Bound: 100, Limits: history.Limits{OpTimeout: 10, DialTimeout: 5}},
		board: b, rec: &recorder{}, own: make([]ownWrites, 1), number: map[string]int{"a": 0},
	}
}

func TestJudgeOfReads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		version   uint64
		acked     history.Time // version 3
		own       uint64
		source    string
		suspect   bool
		staleness time.Duration // if it is not
		regressed bool
	}{
		{name: "current", version: 3, acked: 500, source: history.FromL1},
		{name: "nobody was told", version: 2, source: history.FromL1},
		{name: "told after it began", version: 2, acked: 1001, source: history.FromL2},
		{name: "within the bound", version: 2, acked: 901, source: history.FromL1, staleness: 99},
		{name: "at the bound", version: 1, acked: 900, source: history.FromL1, staleness: 100},
		{name: "beyond", version: 2, acked: 899, source: history.FromL1, suspect: true},
		{name: "regressed", version: 2, acked: 999, source: history.FromL2, staleness: 1, regressed: true},
		{name: "own write", version: 2, own: 3 << 1, source: history.FromL1, suspect: true},
		{name: "own write, kept", version: 2, own: 3<<1 | 1, source: history.FromL1, suspect: true},
		{name: "own write read", version: 3, own: 3 << 1, source: history.FromL1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newTestPhase(t, history.ClassSet)
			if c.acked != 0 {
				p.board.Acknowledge(0, 3, c.acked)
			}
			p.judge(history.Sample{Version: c.version, Began: 1000, Ended: 1010, Source: c.source}, c.own)
			r := p.rec.take(rc.Stats{})
			if c.suspect != (len(r.Suspects) == 1) || c.suspect != (r.Suspected == 1) {
				t.Errorf("suspects %+v, want one: %v", r.Suspects, c.suspect)
			}
			if !c.suspect && (r.Staleness.N != 1 || r.Staleness.Max != c.staleness) {
				t.Errorf("staleness %v of %d reads, want %v of 1", r.Staleness.Max, r.Staleness.N, c.staleness)
			}
			if c.regressed != (len(r.Regressions) == 1) {
				t.Errorf("regressions %+v, want one: %v", r.Regressions, c.regressed)
			}
			if c.own != 0 && c.suspect && (r.Suspects[0].OwnVersion != 3 || r.Suspects[0].OwnQueued != (c.own&1 == 1)) {
				t.Errorf("suspect is %+v", r.Suspects[0])
			}
		})
	}
}

func TestAnswersThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		class           history.Class
		row             Row
		found, notFound bool
		errors, judged  uint64
	}{
		{"value", history.ClassSet, Row{"a", 2}, true, false, 0, 1},
		{"miss", history.ClassSet, Row{}, false, false, 0, 0},
		{"value of another key", history.ClassSet, Row{"b", 2}, true, false, 1, 0},
		{"not found, though it exists", history.ClassSet, Row{}, false, true, 1, 0},
		{"not found, rightly", history.ClassNegative, Row{}, false, true, 0, 1},
		{"version that does not exist", history.ClassNegative, Row{"a", 3}, true, false, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newTestPhase(t, c.class)
			p.answer(reading{verb: "Get", began: 10, own: []uint64{0}}, 0, 0, c.row, c.found, c.notFound, history.FromL1, 20)
			r := p.rec.take(rc.Stats{})
			if r.Errors != c.errors || r.Reads != 1-c.errors || r.Staleness.N != c.judged {
				t.Errorf("%d errors, %d reads, %d judged (%s); want %d, %d, %d", r.Errors, r.Reads, r.Staleness.N, r.Error, c.errors, 1-c.errors, c.judged)
			}
		})
	}
}

func TestReplayAcknowledgesWhatItMustHaveCovered(t *testing.T) {
	t.Parallel()
	p := newTestPhase(t, history.ClassSet)
	failure := &rc.InvalidationError{Key: "a", Queued: true, Err: errors.New("no answer")}
	p.wrote(history.Write{Version: 1, Ended: 100}, failure)
	p.wrote(history.Write{Version: 2, Ended: 190}, failure)
	p.wrote(history.Write{Version: 3, Ended: 195}, &rc.InvalidationError{Key: "a", Err: errors.New("no answer")})
	if got := p.own[0].newest.Load(); got != 2<<1|1 {
		t.Errorf("newest own write is %d, want version 2, kept", got)
	}
	p.replayed(0, 0, 200)
	for v, want := range map[uint64]history.Time{1: 200, 2: 0, 3: 0} {
		if got := p.board.Acknowledged(0, v); got != want {
			t.Errorf("version %d acknowledged at %d, want %d", v, got, want)
		}
	}
	p.replayed(0, 0, 300)
	if got := p.board.Acknowledged(0, 2); got != 300 {
		t.Errorf("version 2 acknowledged at %d, want 300", got)
	}
	r := p.rec.take(rc.Stats{})
	if len(r.Writes) != 3 || !r.Writes[0].Queued || r.Writes[2].Queued || r.Writes[0].Err == "" || len(r.Replays) != 2 {
		t.Errorf("report is %+v", r)
	}
}

// TestReplayOfAGroup acknowledges what failed by the same group only, and a late
// delivery of the key alone does not make up for it.
func TestReplayOfAGroup(t *testing.T) {
	t.Parallel()
	p := newTestPhase(t, history.ClassTagFast)
	p.args.Groups = []history.Group{{Name: "other", Kind: history.GroupTag, Keys: []int{0}}, {Name: "tag", Kind: history.GroupTag, Keys: []int{0}}}
	p.groups = map[string]int{"other": 1, "tag": 2, "ns": 3}
	failure := &rc.InvalidationError{Key: "t", Queued: true, Err: errors.New("no answer")}
	p.wrote(history.Write{Version: 1, Group: 2, Ended: 100}, failure)
	p.wrote(history.Write{Version: 2, Ended: 100}, failure)
	o := observer{in: p}
	for _, e := range []rc.InvalidationEvent{
		{ID: "tag", Verb: "InvalidateTag"},                 // no replay
		{ID: "other", Verb: "InvalidateTag", Replay: true}, // another tag
	} {
		o.Invalidation(t.Context(), e)
	}
	if a, b := p.board.Acknowledged(0, 1), p.board.Acknowledged(0, 2); a != 0 || b != 0 {
		t.Errorf("acknowledged at %d and %d, want neither", a, b)
	}
	o.Invalidation(t.Context(), rc.InvalidationEvent{ID: "tag", Verb: "ExpireTag", Replay: true})
	if a, b := p.board.Acknowledged(0, 1), p.board.Acknowledged(0, 2); a == 0 || b != 0 {
		t.Errorf("acknowledged at %d and %d, want the first", a, b)
	}
	o.Invalidation(t.Context(), rc.InvalidationEvent{Namespace: "x", ID: "a", Verb: "Delete", Replay: true})
	if b := p.board.Acknowledged(0, 2); b == 0 {
		t.Error("the write of the key itself is not acknowledged")
	}
	if g := p.groupOf(rc.InvalidationEvent{Namespace: "ns", Verb: "Clear"}); g != 3 {
		t.Errorf("Clear is of group %d, want 3", g)
	}
}

func TestHowReadsEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want answered
	}{
		{nil, gave},
		{context.DeadlineExceeded, timedOut},
		{fmt.Errorf("x: %w", context.Canceled), timedOut},
		{fmt.Errorf("x: %w", rc.ErrUnavailable), unavailable},
		{errors.New("no answer"), failed},
	} {
		if got := how(c.err); got != c.want {
			t.Errorf("how(%v) = %d, want %d", c.err, got, c.want)
		}
	}
	p := &phase{args: Open{Limits: history.Limits{LoadTimeout: time.Second}}}
	for took, want := range map[time.Duration]answered{time.Second: timedOut, time.Second - 1: failed} {
		if got := p.ended(took, fmt.Errorf("x: %w", rc.ErrLoadTimeout)); got != want {
			t.Errorf("a load timed out after %v: %d, want %d", took, got, want)
		}
	}
}

func TestLastAbsent(t *testing.T) {
	t.Parallel()
	for v, want := range []uint64{0, 1, 1, 3, 3} {
		if got := lastAbsent(uint64(v)); got != want {
			t.Errorf("lastAbsent(%d) = %d, want %d", v, got, want)
		}
	}
}

func TestSuspectsAreBoundedAndCounted(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	for range maxSuspects + 10 {
		r.suspect(history.Sample{})
	}
	for v := range uint64(3) {
		r.regress(history.Sample{Key: 1, Version: v / 2, Began: history.Time(v)})
	}
	rep := r.take(rc.Stats{Loads: 5})
	if len(rep.Suspects) != maxSuspects || rep.Suspected != maxSuspects+10 {
		t.Errorf("%d of %d suspects kept", len(rep.Suspects), rep.Suspected)
	}
	if len(rep.Regressions) != 2 {
		t.Errorf("regressions %+v, want the last of each version", rep.Regressions)
	}
	if rep.Stats.Loads != 5 || r.take(rc.Stats{Loads: 7}).Stats.Loads != 2 {
		t.Error("counters are not those since the last report")
	}
}

package judge

import (
	"testing"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// TestThawedPrimaryMayStillAcknowledge: until it learns that it was replaced, it
// takes writes that nobody will hear of.
func TestThawedPrimaryMayStillAcknowledge(t *testing.T) {
	p := takeover()
	p.Regressions = []history.Sample{read(600, 7600*ms, history.FromL2)} // 601 was acknowledged at 7001 ms
	suspect(p, read(600, acked(601).Add(bound)+1, history.FromL1))
	if v := Phase(p, Options{}); v.StaleBeyondBound != 1 || v.Lost.Versions != 0 {
		t.Errorf("nothing to heal: %d stale reads, lost %+v; want 1 and none", v.StaleBeyondBound, v.Lost)
	}
	p.Spans[0].Healing = 7000 * ms
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Lost != (Lost{Versions: 50, Reads: 1}) { // 601 to 650, up to 7491 ms
		t.Errorf("lost %+v, want 50 versions and 1 read", v.Lost)
	}
	p.Spans[0].MayLose = false
	if v := Phase(p, Options{}); v.StaleBeyondBound != 1 {
		t.Errorf("a fault that loses nothing: %d stale reads, want 1", v.StaleBeyondBound)
	}
	p.Spans[0].MayLose, p.Regressions = true, nil
	if v := Phase(p, Options{}); v.StaleBeyondBound != 1 {
		t.Errorf("without evidence: %d stale reads, want 1", v.StaleBeyondBound)
	}
}

// TestBetweenTakeoverAndHealingNothingIsLost.
func TestBetweenTakeoverAndHealingNothingIsLost(t *testing.T) {
	p := takeover()
	p.Spans[0].Healing = 7000 * ms
	p.Regressions = []history.Sample{read(500, 7600*ms, history.FromL2)} // 501 was acknowledged at 6001 ms
	suspect(p, read(500, acked(501).Add(bound)+1, history.FromL1))
	if v := Phase(p, Options{}); v.StaleBeyondBound != 1 {
		t.Errorf("%d stale reads, want 1", v.StaleBeyondBound)
	}
}

// stalled is a phase with a takeover at 3 s that made nothing pause, and a stall
// of the machine from 5 s to 5.6 s.
func stalled() *history.Phase {
	p := phase()
	outage(p, 5000*ms, 5600*ms)
	p.Spans = []history.Span{{
		Name: "failover force", Began: 3000 * ms, Held: 3060 * ms, Ended: 3100 * ms, Recovered: 9000 * ms,
		MayLose: true, Redis: true, Commanded: true,
	}}
	return p
}

// TestStallIsNoTakeover: if it is known when the takeover was, a later pause
// does not count, neither as its begin nor as its end.
func TestStallIsNoTakeover(t *testing.T) {
	for _, tt := range []struct {
		commanded bool
		held      history.Time
	}{{true, 3060 * ms}, {true, 0}, {false, 3060 * ms}} {
		p := stalled()
		p.Spans[0].Commanded, p.Spans[0].Held = tt.commanded, tt.held
		p.Regressions = []history.Sample{read(198, 3050*ms, history.FromL2)}
		v := Phase(p, Options{})
		wantClean(t, v)
		if v.Lost.Versions != 7 { // 199 to 205, acknowledged by 3041 ms
			t.Errorf("%+v: lost %d versions, want 7", tt, v.Lost.Versions)
		}
	}
}

// TestStallAfterATakeoverLosesNothing.
func TestStallAfterATakeoverLosesNothing(t *testing.T) {
	for _, commanded := range []bool{true, false} {
		p := stalled()
		p.Spans[0].Commanded = commanded
		p.Regressions = []history.Sample{read(300, 5700*ms, history.FromL2)} // 301 was acknowledged at 4001 ms
		suspect(p, read(300, acked(301).Add(bound)+1, history.FromL1))
		if v := Phase(p, Options{}); v.Lost.Versions != 0 || v.StaleBeyondBound != 1 {
			t.Errorf("commanded %v: lost %d versions, %d stale reads; want 0 and 1", commanded, v.Lost.Versions, v.StaleBeyondBound)
		}
	}
}

// TestTakeoverEndsWhenItWasSeen: the new primary may not have been the first to
// acknowledge something after a pause.
func TestTakeoverEndsWhenItWasSeen(t *testing.T) {
	p := takeover()
	p.Spans[0].Held = 5100 * ms
	p.Regressions = []history.Sample{read(400, 5300*ms, history.FromL2)}
	if v := Phase(p, Options{}); v.Lost.Versions != 10 { // 401 to 410, acknowledged by 5091 ms
		t.Errorf("lost %d versions, want 10", v.Lost.Versions)
	}
}

// TestFaultOfAnotherShardExcusesNothing.
func TestFaultOfAnotherShardExcusesNothing(t *testing.T) {
	for _, tt := range []struct {
		shards      []int
		lost, stale int
	}{{nil, 2, 0}, {[]int{0}, 2, 0}, {[]int{1, 2}, 0, 1}} {
		p := takeover()
		p.Spans[0].Shards = tt.shards
		suspect(p, read(198, acked(199).Add(bound)+ms, history.FromL1))
		if v := Phase(p, Options{}); v.Lost.Versions != tt.lost || v.StaleBeyondBound != tt.stale {
			t.Errorf("shards %v: lost %d versions, %d stale reads; want %d and %d", tt.shards, v.Lost.Versions, v.StaleBeyondBound, tt.lost, tt.stale)
		}
	}
}

// TestAnswerThatWaitedForItsReader: an instance that did not run heard of it
// after the takeover, but Redis had answered before.
func TestAnswerThatWaitedForItsReader(t *testing.T) {
	p := takeover()
	w := &p.Writes[199] // version 200 began at 2990 ms
	w.Ended, w.Acked = 5500*ms, 5500*ms
	p.Regressions = []history.Sample{read(198, 5600*ms, history.FromL2)}
	lost := func() int { return Phase(p, Options{}).Lost.Versions }
	if n := lost(); n != 1 {
		t.Errorf("lost %d versions, want 199 alone", n)
	}
	p.Stalls = []history.Stall{{Instance: 0, Began: 2991 * ms, Ended: 5500 * ms}}
	if n := lost(); n != 3 { // and 401, whose call the end of the pause is within
		t.Errorf("lost %d versions, want 199, 200 and 401", n)
	}
	p.Stalls[0].Instance = 1
	if n := lost(); n != 1 {
		t.Errorf("lost %d versions when another instance stalled, want 199 alone", n)
	}
}

package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

const (
	ms    = history.Time(time.Millisecond)
	bound = 2 * time.Second
)

// phase is one that keeps every promise: key 0 is written every 10 ms for 10 s,
// key 1 is quiet.
func phase() *history.Phase {
	p := &history.Phase{
		Name: "test", Began: 1000 * ms, Ended: 11000 * ms, Bound: bound, Instances: 3,
		Config: history.Limits{OpTimeout: 250 * time.Millisecond},
		Keys: []history.Key{
			{ID: "a", Class: history.ClassSet},
			{ID: "q", Class: history.ClassQuiet, Shard: 1},
		},
	}
	p.Reads = 100
	for i := range 1000 {
		at := p.Began + history.Time(i)*10*ms
		p.Writes = append(p.Writes, history.Write{Key: 0, Version: uint64(i + 1), Verb: "Set", Committed: at, Began: at, Ended: at + ms, Acked: at + ms})
	}
	return p
}

// acked returns when version v of key 0 was acknowledged.
func acked(v int) history.Time { return 1000*ms + history.Time(v-1)*10*ms + ms }

// outage takes back the acknowledgements of key 0 between two times.
func outage(p *history.Phase, from, to history.Time) {
	for i := range p.Writes {
		if w := &p.Writes[i]; w.Key == 0 && w.Acked > from && w.Acked < to {
			w.Acked, w.Err, w.Queued = 0, "timeout", true
		}
	}
}

func read(version int, began history.Time, source string) history.Sample {
	return history.Sample{Key: 0, Version: uint64(version), Began: began, Ended: began + ms, Source: source, Verb: "GetOrSet"}
}

// suspect adds a suspicious read.
func suspect(p *history.Phase, s history.Sample) {
	p.Suspects = append(p.Suspects, s)
	p.Suspected++
}

func wantClean(t *testing.T, v Verdict) {
	t.Helper()
	if bad := v.Violations(); len(bad) > 0 {
		t.Errorf("violations: %s", strings.Join(bad, "\n"))
	}
}

// wantViolation checks that there is one violation, which has the text in it.
func wantViolation(t *testing.T, v Verdict, text string) {
	t.Helper()
	bad := v.Violations()
	if len(bad) != 1 || !strings.Contains(bad[0], text) {
		t.Errorf("violations are %q, want one with %q", bad, text)
	}
}

func TestGoodPhaseHasNoViolations(t *testing.T) {
	v := Phase(phase(), Options{})
	wantClean(t, v)
	if v.WritesAcked != 1000 || v.Windows != 1 || v.Took != 10*time.Second {
		t.Errorf("writes %d, windows %d, took %v", v.WritesAcked, v.Windows, v.Took)
	}
}

func TestStaleRead(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version int
		began   history.Time
		stale   int
	}{
		{"at the bound", 5, acked(6).Add(bound), 0},
		{"one nanosecond beyond", 5, acked(6).Add(bound) + 1, 1},
		{"of the newest version", 1000, 11000 * ms, 0},
		{"of a version from the future", 1001, 11000 * ms, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := phase()
			suspect(p, read(tt.version, tt.began, history.FromL1))
			v := Phase(p, Options{})
			if v.StaleBeyondBound != tt.stale {
				t.Errorf("%d stale reads, want %d", v.StaleBeyondBound, tt.stale)
			}
			if tt.stale > 0 {
				wantViolation(t, v, "1 reads beyond the bound of 2s; one: instance 0 got version 5")
			} else {
				wantClean(t, v)
			}
		})
	}
}

// TestStaleReadCountsFromTheFirstAcknowledgement: writers overtake each other.
func TestStaleReadCountsFromTheFirstAcknowledgement(t *testing.T) {
	p := phase()
	p.Writes[5].Ended, p.Writes[5].Acked = acked(900), acked(900) // version 6, long after version 7
	suspect(p, read(5, acked(7).Add(bound)+1, history.FromL1))
	wantViolation(t, Phase(p, Options{}), "version 7 was heard of 2.000000001s before")
}

func TestFailedWriteDoesNotSupersede(t *testing.T) {
	p := phase()
	outage(p, acked(5), 11000*ms)
	suspect(p, read(5, 11000*ms, history.FromL1))
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Failed.Total != 995 || v.WritesAcked != 5 {
		t.Errorf("failed %d, acknowledged %d", v.Failed.Total, v.WritesAcked)
	}
	p.Writes[5].Replayed = 5000 * ms
	wantViolation(t, Phase(p, Options{}), "1 reads beyond the bound")
}

func TestSuspectsThatWereNotKept(t *testing.T) {
	p := phase()
	p.Suspected = 3
	wantViolation(t, Phase(p, Options{}), "3 more suspicious reads were not kept")
}

func TestOwnWriteMissed(t *testing.T) {
	p := phase()
	s := read(5, acked(6)+ms, history.FromL1)
	s.Own, s.OwnVersion = true, 6
	suspect(p, s)
	wantViolation(t, Phase(p, Options{}), "1 reads missed a write of their own instance; one: instance 0 had written version 6")
}

func TestOwnWriteThatRedisLostIsExcused(t *testing.T) {
	p := takeover()
	s := read(198, 4995*ms, history.FromL2)
	s.Own, s.OwnVersion = true, 199
	suspect(p, s)
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Lost.Reads != 1 || len(v.Above) != 1 {
		t.Errorf("%d reads excused, above the bound %+v; want one", v.Lost.Reads, v.Above)
	}
	p.Suspects[0].OwnVersion = 900 // not lost
	wantViolation(t, Phase(p, Options{}), "1 reads missed a write of their own instance")
}

// takeover is a phase in which the primary is frozen at 3 s, its replica takes
// over at 5 s, and it is thawed at 7 s. Versions 199 and 200 are lost.
func takeover() *history.Phase {
	p := phase()
	outage(p, 3000*ms, 5000*ms)
	p.Spans = []history.Span{{Name: "freeze primary", Detail: "shard 0", Began: 3000 * ms, Ended: 7000 * ms, Recovered: 7500 * ms, MayLose: true, Redis: true}}
	p.Regressions = []history.Sample{read(198, 4990*ms, history.FromL2)}
	return p
}

func TestLossIsExcusedAndCounted(t *testing.T) {
	p := takeover()
	suspect(p, read(198, acked(199).Add(bound)+ms, history.FromL1))
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Lost != (Lost{Versions: 2, Reads: 1}) {
		t.Errorf("lost %+v, want 2 versions and 1 read", v.Lost)
	}
	if len(v.Above) != 1 || !v.Above[0].Excused || v.Above[0].Staleness != bound+time.Millisecond || v.Max != 0 {
		t.Errorf("above the bound: %+v, max %v; want one that is excused, and 0", v.Above, v.Max)
	}
}

func TestLossExcusesNoMore(t *testing.T) {
	tests := []struct {
		name   string
		change func(*history.Phase)
		lost   int
	}{
		{"without evidence", func(p *history.Phase) { p.Regressions = nil }, 0},
		{"evidence from memory", func(p *history.Phase) { p.Regressions[0].Source = history.FromL1 }, 0},
		{"evidence of another key", func(p *history.Phase) { p.Regressions[0].Key = 1 }, 0},
		{"a fault that loses nothing", func(p *history.Phase) { p.Spans[0].MayLose = false }, 0},
		{"a fault that came later", func(p *history.Phase) { p.Spans[0].Began = 6500 * ms }, 0},
		{"evidence from before the fault", func(p *history.Phase) {
			p.Regressions[0].Began, p.Regressions[0].Ended = acked(200)+1, acked(200)+2
		}, 0},
		{"a look that found nothing", func(p *history.Phase) {
			p.Regressions, p.Peeks = nil, []history.Peek{{Key: 0, Began: 4990 * ms, Ended: 4991 * ms}}
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := takeover()
			tt.change(p)
			suspect(p, read(198, acked(199).Add(bound)+ms, history.FromL1))
			v := Phase(p, Options{})
			if v.Lost.Versions != tt.lost || v.StaleBeyondBound != 1 {
				t.Errorf("lost %d versions, %d stale reads; want %d and 1", v.Lost.Versions, v.StaleBeyondBound, tt.lost)
			}
		})
	}
}

// TestOldWritesAreNotLost: what was acknowledged long before the fault had
// reached the replica, unless a fault had kept it from following.
func TestOldWritesAreNotLost(t *testing.T) {
	p := takeover()
	p.Regressions[0].Version = 50
	suspect(p, read(50, 4000*ms, history.FromL1)) // 51 was acknowledged at 1501 ms
	v := Phase(p, Options{})
	if v.Lost.Versions != 100 || v.StaleBeyondBound != 1 { // from 2001 ms
		t.Errorf("lost %d versions, %d stale reads; want 100 and 1", v.Lost.Versions, v.StaleBeyondBound)
	}
	p.Spans = append(p.Spans, history.Span{Name: "freeze replica", Began: 1400 * ms, Ended: 3500 * ms, Recovered: 3500 * ms, Redis: true})
	v = Phase(p, Options{})
	wantClean(t, v)
	if v.Lost.Versions != 150 {
		t.Errorf("lost %d versions, want 150", v.Lost.Versions)
	}
}

// TestDeposedPrimaryExcusesNothing: a primary that was thawed after its replica
// took over still has what it had. What the new one acknowledged is not lost.
func TestDeposedPrimaryExcusesNothing(t *testing.T) {
	p := takeover()
	p.Regressions = nil
	suspect(p, read(200, 7010*ms, history.FromL2)) // the new primary acknowledged others since 5 s
	v := Phase(p, Options{})
	if v.Lost.Versions != 0 || v.StaleBeyondBound != 1 {
		t.Errorf("lost %d versions, %d stale reads; want 0 and 1", v.Lost.Versions, v.StaleBeyondBound)
	}
}

func TestCommandedTakeoverHasAShortWindow(t *testing.T) {
	p := phase()
	p.Spans = []history.Span{{Name: "failover takeover", Began: 3000 * ms, Ended: 3100 * ms, Recovered: 9000 * ms, MayLose: true, Redis: true}}
	p.Regressions = []history.Sample{read(198, 3050*ms, history.FromL2)}
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Lost.Versions != 7 { // 199 to 205, acknowledged by 3041 ms
		t.Errorf("lost %d versions, want 7", v.Lost.Versions)
	}
	p.Regressions[0] = read(198, 8000*ms, history.FromL2)
	if v := Phase(p, Options{}); v.Lost.Versions != 12 { // up to 3091 ms
		t.Errorf("lost %d versions, want 12", v.Lost.Versions)
	}
}

// TestTwoTakeoversOfAShard: the second of two faults that overlap loses writes,
// too.
func TestTwoTakeoversOfAShard(t *testing.T) {
	p := phase()
	outage(p, 3000*ms, 5000*ms)
	outage(p, 6000*ms, 7500*ms)
	for _, began := range []history.Time{3000 * ms, 4900 * ms} {
		p.Spans = append(p.Spans, history.Span{Name: "kill", Began: began, Ended: 9000 * ms, Recovered: 9000 * ms, MayLose: true, Redis: true})
	}
	p.Regressions = []history.Sample{read(499, 7490*ms, history.FromL2)} // 500 and 501 are lost
	suspect(p, read(499, acked(500).Add(bound)+1, history.FromL1))
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Lost != (Lost{Versions: 1, Reads: 1}) {
		t.Errorf("lost %+v, want one version and one read", v.Lost)
	}
}

func TestStaleFill(t *testing.T) {
	fill := history.Fill{Key: 0, Version: 5, LoadBegan: acked(6) - 5, Began: acked(6) + 1, Ended: acked(6) + 2, Stored: true}
	for _, tt := range []struct {
		name   string
		change func(*history.Fill)
		stale  int
	}{
		{"sent after the acknowledgement", func(*history.Fill) {}, 1},
		{"sent at the acknowledgement", func(f *history.Fill) { f.Began = acked(6) }, 0},
		{"of the newest version", func(f *history.Fill) { f.Version = 6 }, 0},
		{"refused", func(f *history.Fill) { f.Stored = false }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, f := phase(), fill
			tt.change(&f)
			p.Fills = []history.Fill{f}
			v := Phase(p, Options{})
			if v.StaleFills != tt.stale {
				t.Errorf("%d stale fills, want %d", v.StaleFills, tt.stale)
			}
			if tt.stale > 0 {
				wantViolation(t, v, "1 stale fills; one: instance 0 stored version 5")
			}
		})
	}
}

func TestFillAfterALostInvalidationIsExcused(t *testing.T) {
	p := takeover()
	p.Regressions = nil
	p.Fills = []history.Fill{{Key: 0, Version: 199, LoadBegan: 2985 * ms, Began: 4980 * ms, Ended: 4990 * ms, Stored: true}}
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Lost.Fills != 1 {
		t.Errorf("%d fills excused, want 1", v.Lost.Fills)
	}
	// Version 401 was acknowledged by the new primary.
	p.Fills[0].Began, p.Fills[0].Ended = acked(401)+1, acked(401)+2
	wantViolation(t, Phase(p, Options{}), "1 stale fills")
}

func TestOldValueInRedis(t *testing.T) {
	p := phase()
	p.Peeks = []history.Peek{{Key: 0, Version: 5, Began: acked(6) + 1, Ended: acked(6) + 2}}
	wantViolation(t, Phase(p, Options{}), "1 old values in Redis")
	p.Spans = []history.Span{{Name: "freeze replica", Began: acked(3), Recovered: acked(9), Redis: true}}
	wantClean(t, Phase(p, Options{}))
	p.Spans[0].Redis = false
	wantViolation(t, Phase(p, Options{}), "1 old values in Redis")
	p.Peeks[0].Version = 0
	wantClean(t, Phase(p, Options{}))

	p = phase() // acknowledged while it looked
	p.Peeks = []history.Peek{{Key: 0, Version: 5, Began: acked(6), Ended: acked(6) + 2}}
	wantClean(t, Phase(p, Options{}))
}

func TestFactsOutOfOrder(t *testing.T) {
	for name, change := range map[string]func(*history.Phase){
		"acknowledged before it began": func(p *history.Phase) { p.Writes[3].Acked = p.Writes[3].Began - 1 },
		"ended before it began": func(p *history.Phase) {
			p.Loads = []history.Load{{Key: 0, Version: 1, Began: 2000 * ms, Ended: 1999 * ms}}
		},
		"a key that does not exist": func(p *history.Phase) { p.Loads = []history.Load{{Key: 2, Version: 1, Began: 1, Ended: 2}} },
		"a version written twice":   func(p *history.Phase) { p.Writes[3].Version = p.Writes[4].Version },
		"filled before it was loaded": func(p *history.Phase) {
			p.Fills = []history.Fill{{Key: 0, Version: 1000, LoadBegan: 3000 * ms, Began: 2000 * ms, Ended: 4000 * ms}}
		},
		"healed before it was broken": func(p *history.Phase) { p.Spans = []history.Span{{Name: "x", Began: 5000 * ms, Ended: 4000 * ms}} },
		"converged before healing":    func(p *history.Phase) { p.Healed, p.Converged = 5000*ms, 4000*ms },
	} {
		t.Run(name, func(t *testing.T) {
			p := phase()
			change(p)
			wantViolation(t, Phase(p, Options{}), "1 facts that cannot be")
		})
	}
}

func TestConvergence(t *testing.T) {
	p := phase()
	p.Healed, p.Converged = 5000*ms, 5300*ms
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Convergence != 300*time.Millisecond {
		t.Errorf("converged after %v", v.Convergence)
	}
	p.Converged = 0
	wantViolation(t, Phase(p, Options{}), "did not converge")
	p.Unconverged = "instance 2 reads version 3"
	wantViolation(t, Phase(p, Options{}), "instance 2 reads version 3")
}

func TestNothingTestedIsAViolation(t *testing.T) {
	p := phase()
	p.Reads = 0
	wantViolation(t, Phase(p, Options{}), "no reads")
	p = phase()
	p.Writes = nil
	wantViolation(t, Phase(p, Options{}), "no write was acknowledged")
	p = phase()
	p.Porcupine = true
	wantViolation(t, Phase(p, Options{}), "no operations")
	p = phase()
	p.Errors, p.Error = 2, "no such thing"
	wantViolation(t, Phase(p, Options{}), "2 reads failed though they had a loader and time: no such thing")
	p = phase()
	p.Failures = []string{"instance 1 ended by itself"}
	wantViolation(t, Phase(p, Options{}), "instance 1 ended by itself")
}

func TestWhatBecameOfFailedWrites(t *testing.T) {
	p := phase()
	last := len(p.Writes) - 1
	for i := last - 2; i <= last; i++ {
		p.Writes[i].Acked, p.Writes[i].Err = 0, "timeout"
	}
	p.Writes[10].Acked = 0
	p.Writes[last-1].Replayed = 11000 * ms
	p.Writes[20].Acked, p.Writes[20].Ended = 0, 0
	// Newer versions than this were acknowledged while it was under way only.
	p.Writes[30].Acked, p.Writes[30].Ended = 0, 11001*ms
	p.Healed, p.Converged = 5000*ms, 5300*ms
	v := Phase(p, Options{})
	if want := (Failed{Total: 5, Replayed: 1, Superseded: 2, Landed: 2}); v.Failed != want || v.Interrupted != 1 {
		t.Errorf("failed %+v, %d interrupted; want %+v, 1", v.Failed, v.Interrupted, want)
	}
	p.Converged = 0
	if v := Phase(p, Options{}); v.Failed.Dropped != 2 {
		t.Errorf("failed %+v, want two dropped", v.Failed)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	p := phase()
	for range 100 {
		suspect(p, read(1, 9000*ms, history.FromL1))
	}
	v := Phase(p, Options{})
	if v.StaleBeyondBound != 100 || len(v.Findings) != maxFindings || len(v.Above) != 100 || v.Above[0].Excused {
		t.Errorf("%d stale reads, %d findings", v.StaleBeyondBound, len(v.Findings))
	}
}

func TestFileName(t *testing.T) {
	if got := fileName("a/b c.9"); got != "a-b-c-9" {
		t.Errorf("fileName = %q", got)
	}
}

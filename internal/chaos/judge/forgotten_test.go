package judge

import (
	"testing"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// dropped is a phase in which the Set of version 99 of key 0 is under way from
// 1.98 s to 2.05 s, everything is dropped between 2.01 s and 2.02 s, and version
// 99 is then seen in Redis, though 100 and 101 had been acknowledged. There are
// no newer versions.
func dropped() *history.Phase {
	p := phase()
	p.Keys[0].Class = history.ClassVersioned
	p.Writes = p.Writes[:101]
	slow := &p.Writes[98]
	slow.Ended, slow.Acked = 2050*ms, 2050*ms
	p.Spans = []history.Span{{Name: "flush", Began: 2010 * ms, Held: 2020 * ms, Ended: 2300 * ms, Recovered: 2300 * ms, Forgets: true, Redis: true}}
	p.Regressions = []history.Sample{read(99, 2060*ms, history.FromL2)}
	suspect(p, read(99, acked(101).Add(bound)+ms*100, history.FromL2))
	return p
}

func TestForgottenVersionsAreCountedApart(t *testing.T) {
	p := dropped()
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Forgotten != (Forgotten{Versions: 2, Reads: 1}) || v.Lost != (Lost{}) {
		t.Errorf("forgotten %+v, lost %+v; want two versions and one read, and none", v.Forgotten, v.Lost)
	}
	if len(v.Above) != 1 || !v.Above[0].Excused || len(v.Findings) != 1 || v.Findings[0].Rule != ruleForgot {
		t.Errorf("above the bound %+v, findings %+v; want an excused one of each", v.Above, v.Findings)
	}
	sum := Sum("total", []Verdict{v, v})
	if sum.Forgotten != (Forgotten{Versions: 4, Reads: 2}) {
		t.Errorf("the sum has forgotten %+v", sum.Forgotten)
	}
}

func TestForgottenOwnWriteIsExcused(t *testing.T) {
	p := dropped()
	s := &p.Suspects[0]
	s.Began, s.Ended, s.Own, s.OwnVersion = 2070*ms, 2071*ms, true, 101
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.Forgotten.Reads != 1 {
		t.Errorf("forgotten %+v, want one read", v.Forgotten)
	}
}

func TestForgettingExcusesNoMore(t *testing.T) {
	for name, change := range map[string]func(*history.Phase){
		"a key without versions":      func(p *history.Phase) { p.Keys[0].Class = history.ClassSet },
		"nothing was dropped":         func(p *history.Phase) { p.Spans[0].Forgets = false },
		"in another shard":            func(p *history.Phase) { p.Spans[0].Shards = []int{1} },
		"the older Set ended before":  func(p *history.Phase) { p.Writes[98].Ended, p.Writes[98].Acked = 2009*ms, 2009*ms },
		"the older Set was cut short": func(p *history.Phase) { p.Writes[98].Ended, p.Writes[98].Acked = 0, 0 },
		"the newer Sets began after":  func(p *history.Phase) { p.Spans[0].Began, p.Spans[0].Held = 1981*ms, 1985*ms },
		"seen before the drop": func(p *history.Phase) {
			p.Spans[0].Began, p.Spans[0].Held = 2065*ms, 2070*ms
			p.Writes[98].Ended, p.Writes[98].Acked = 2080*ms, 2080*ms
			p.Suspects[0].Source = history.FromL1
		},
		"nobody saw it in Redis":    func(p *history.Phase) { p.Regressions = nil; p.Suspects[0].Source = history.FromL1 },
		"a version that nobody set": func(p *history.Phase) { p.Regressions[0].Version, p.Suspects[0].Version = 0, 0 },
		"a newer one after everything": func(p *history.Phase) {
			p.Writes = append(p.Writes, history.Write{Key: 0, Version: 102, Verb: "Set", Committed: 2100 * ms, Began: 2100 * ms, Ended: 2101 * ms, Acked: 2101 * ms})
			p.Suspects[0].Began, p.Suspects[0].Ended = 4200*ms, 4201*ms
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := dropped()
			change(p)
			if v := Phase(p, Options{}); v.StaleBeyondBound != 1 {
				t.Errorf("%d stale reads, want 1; forgotten %+v", v.StaleBeyondBound, v.Forgotten)
			}
		})
	}
}

// TestHealingDropsAgain: slots that are given back without their keys.
func TestHealingDropsAgain(t *testing.T) {
	p := dropped()
	p.Spans[0].Began, p.Spans[0].Held, p.Spans[0].Healing = 1970*ms, 1975*ms, 2010*ms
	wantClean(t, Phase(p, Options{}))
}

// TestForgottenVersionDoesNotExcuseAFill: the drop voids every right to fill.
func TestForgottenVersionDoesNotExcuseAFill(t *testing.T) {
	p := dropped()
	p.Fills = []history.Fill{{Key: 0, Version: 99, LoadBegan: 1985 * ms, Began: 2040 * ms, Ended: 2045 * ms, Stored: true}}
	wantViolation(t, Phase(p, Options{}), "1 stale fills")
}

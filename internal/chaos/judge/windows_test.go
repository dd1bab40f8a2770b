package judge

import (
	"slices"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// quietWrite is an invalidation of the quiet key; acked 0 is one that failed.
func quietWrite(version int, began, acked history.Time) history.Write {
	return history.Write{Key: 1, Version: uint64(version), Verb: "Delete", Committed: began - ms, Began: began, Ended: max(began+ms, acked), Acked: acked}
}

// loadAt is a load of the quiet key.
func loadAt(t history.Time) history.Load {
	return history.Load{Key: 1, Version: 1, Began: t, Ended: t + 5*ms}
}

func TestWindows(t *testing.T) {
	writes := []history.Write{
		quietWrite(1, 2000*ms, 2010*ms),
		quietWrite(2, 4000*ms, 4100*ms),
		quietWrite(3, 4005*ms, 4010*ms),            // overlaps
		quietWrite(4, 6000*ms, 0),                  // fails
		{Key: 1, Version: 5, Committed: 7000 * ms}, // its instance was killed
		quietWrite(6, 8000*ms, 8010*ms),
		{Key: 1, Version: 7, Committed: 9000 * ms, Ended: 9020 * ms, Acked: 9020 * ms}, // so was this one's, later
	}
	var got [][2]int64
	for _, w := range windowsOf(phase(), 1, writes) {
		got = append(got, [2]int64{int64(w.Began / ms), int64(w.Ended / ms)})
	}
	want := [][2]int64{{1000, 2000}, {2010, 4000}, {4100, 6000}, {8010, 9000}, {9020, 11000}}
	if !slices.Equal(got, want) {
		t.Errorf("windows are %v, want %v", got, want)
	}
}

func TestLoadsPerWindowWithoutFaults(t *testing.T) {
	quiet := func(loads ...history.Time) *history.Phase {
		p := phase()
		p.FaultFree = true
		p.Writes = append(p.Writes, quietWrite(1, 2000*ms, 2010*ms), quietWrite(2, 4000*ms, 4010*ms))
		for _, at := range loads {
			p.Loads = append(p.Loads, loadAt(at))
		}
		return p
	}
	v := Phase(quiet(1500*ms, 2005*ms, 2020*ms, 4005*ms, 4020*ms), Options{})
	wantClean(t, v)
	if v.MaxLoads != 1 || v.Windows != 3 || v.NoFaultLoads() != 1 {
		t.Errorf("at most %d loads in %d windows", v.MaxLoads, v.Windows)
	}
	two := quiet(2020*ms, 3000*ms)
	v = Phase(two, Options{})
	wantViolation(t, v, "1 windows with too many loads, at most 2; one: 2 loads of \"q\"")
	if v.NoFaultLoads() != 2 {
		t.Errorf("NoFaultLoads() = %d, want 2", v.NoFaultLoads())
	}

	// The first of the two began before the window, in the instance.
	offered := history.Fill{Key: 1, Version: 1, LoadBegan: 2009 * ms, Began: 2026 * ms, Ended: 2027 * ms, Reason: "voided"}
	two.Fills = []history.Fill{offered}
	wantClean(t, Phase(two, Options{}))
	for _, other := range []func(*history.Fill){
		func(f *history.Fill) { f.LoadBegan = 2011 * ms },
		func(f *history.Fill) { f.By++ },
		func(f *history.Fill) { f.Key = 0 },
		func(f *history.Fill) { f.Began, f.Ended = 2019*ms, 2019*ms }, // of a load before
	} {
		two.Fills[0] = offered
		other(&two.Fills[0])
		wantViolation(t, Phase(two, Options{}), "1 windows with too many loads")
	}
	two.Fills = nil

	two.Stalls = []history.Stall{{Instance: 2, Began: 2500 * ms, Ended: 2624 * ms}}
	wantViolation(t, Phase(two, Options{}), "1 windows with too many loads")
	two.Stalls[0].Ended++
	two.Stalls[0].Ended += ms
	v = Phase(two, Options{})
	wantClean(t, v)
	if v.WindowsSetAside != 1 || v.Windows != 2 {
		t.Errorf("%d windows set aside, %d judged; want 1 and 2", v.WindowsSetAside, v.Windows)
	}
}

// A load that began within another one of its instance, which an invalidation had
// voided by then, is not taken for that.
func TestLoadWithinAVoidedOne(t *testing.T) {
	p := phase()
	p.FaultFree = true
	p.Writes = append(p.Writes, quietWrite(1, 2000*ms, 2010*ms))
	p.Loads = []history.Load{
		{Key: 1, Version: 1, Began: 2015 * ms, Ended: 2115 * ms},
		{Key: 1, Version: 1, Began: 2060 * ms, Ended: 2065 * ms},
	}
	p.Fills = []history.Fill{
		{Key: 1, Version: 1, LoadBegan: 2059 * ms, Began: 2067 * ms, Ended: 2068 * ms, Stored: true},
		{Key: 1, Version: 1, LoadBegan: 1999 * ms, Began: 2117 * ms, Ended: 2118 * ms, Reason: "voided"},
	}
	for range 2 {
		v := Phase(p, Options{})
		wantClean(t, v)
		if v.MaxLoads != 1 {
			t.Errorf("at most %d loads in a window, want 1", v.MaxLoads)
		}
		slices.Reverse(p.Fills)
	}

	p.Fills[0].LoadBegan, p.Fills[1].LoadBegan = 2011*ms, 2011*ms
	wantViolation(t, Phase(p, Options{}), "1 windows with too many loads")
}

func TestLoadsPerWindowWithFaults(t *testing.T) {
	p := phase()
	p.Spans = []history.Span{
		{Name: "freeze", Began: 3000 * ms, Ended: 3500 * ms, Recovered: 4000 * ms, Redis: true},
		{Name: "kill", Began: 3500 * ms, Ended: 5000 * ms, Recovered: 5500 * ms, Redis: true},
	}
	// From 3 s to the bound after 5.5 s is 4.5 s: 18 operations that fail.
	const want = 1 + 3*(18+2)
	for i := range want {
		p.Loads = append(p.Loads, loadAt(3000*ms+history.Time(i)*ms))
	}
	p.Stalls = []history.Stall{{Began: 3000 * ms, Ended: 6000 * ms}} // sets nothing aside here
	v := Phase(p, Options{})
	wantClean(t, v)
	if v.LoadBound != want || v.MaxLoads != want || v.NoFaultLoads() != 0 {
		t.Errorf("bound %d, loads %d; want %d", v.LoadBound, v.MaxLoads, want)
	}
	p.Loads = append(p.Loads, loadAt(3001*ms))
	wantViolation(t, Phase(p, Options{}), "1 windows with too many loads")
}

func TestOverdueWait(t *testing.T) {
	const limit = time.Second
	wait := func(took time.Duration) *history.Phase {
		p := phase()
		p.Waits = []history.Wait{{Instance: 1, Key: 0, Verb: "Get", Began: 2000 * ms, Ended: (2000 * ms).Add(took), Limit: limit}}
		return p
	}
	wantClean(t, Phase(wait(limit+WaitMargin), Options{}))
	wantViolation(t, Phase(wait(limit+WaitMargin+1), Options{}), "1 overdue waits; one: Get of \"a\"")

	// 500 ms asleep: two stalls that overlap, one that began before.
	p := wait(limit + WaitMargin + 500*time.Millisecond)
	p.Stalls = []history.Stall{
		{Instance: 1, Began: 2200 * ms, Ended: 2400 * ms},
		{Instance: history.Parent, Began: 2300 * ms, Ended: 2500 * ms},
		{Instance: 1, Began: 1000 * ms, Ended: 2200 * ms},
		{Instance: 2, Began: 2500 * ms, Ended: 3500 * ms}, // of another
	}
	wantClean(t, Phase(p, Options{}))
	p.Waits[0].Ended++
	wantViolation(t, Phase(p, Options{}), "1 overdue waits")
}

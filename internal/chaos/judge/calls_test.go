package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// tagged is a phase in which a tag of keys 2 and 3, on shard 1, is invalidated by
// instance 1 at 3 s and 8 s. The token is on shard 0, with key 0.
func tagged() *history.Phase {
	p := phase()
	p.Keys = append(p.Keys, history.Key{ID: "x", Class: history.ClassTagSlow, Shard: 1}, history.Key{ID: "y", Class: history.ClassTagSlow, Shard: 1})
	p.Groups = []history.Group{{Name: "t", Kind: history.GroupTag, Shard: 0, Keys: []int{2, 3}, Slow: true}}
	for i, at := range []history.Time{3000 * ms, 8000 * ms} {
		for _, key := range p.Groups[0].Keys {
			p.Writes = append(p.Writes, history.Write{
				Key: key, Version: uint64(i + 2), By: 1, Verb: "InvalidateTag", Group: 1,
				Committed: at - ms, Began: at, Ended: at + ms, Acked: at + ms,
			})
		}
	}
	return p
}

func readOf(key int, version uint64, began history.Time, source string) history.Sample {
	s := read(int(version), began, source)
	s.Key = key
	return s
}

func TestCallsAreCountedOnce(t *testing.T) {
	v := Phase(tagged(), Options{})
	wantClean(t, v)
	if c := v.Calls; c.Total != 1002 || c.Acked != 1002 || c.Grouped != 2 || c.Missed != 0 || c.LostByReplication != 0 {
		t.Errorf("calls %+v, want 1000 and 2 of a group", c)
	}
}

// TestMissedInvalidation: two keys show that one call was missed.
func TestMissedInvalidation(t *testing.T) {
	p := tagged()
	for _, key := range []int{2, 3, 3} {
		suspect(p, readOf(key, 1, 3001*ms+history.Time(bound)+1, history.FromL1))
	}
	v := Phase(p, Options{})
	if v.StaleBeyondBound != 3 || v.Calls.Missed != 1 {
		t.Errorf("%d stale reads of %d missed calls, want 3 of 1", v.StaleBeyondBound, v.Calls.Missed)
	}
	wantViolation(t, v, "3 reads beyond the bound")
}

func TestMissedOwnInvalidation(t *testing.T) {
	p := tagged()
	s := readOf(2, 1, 3001*ms+1, history.FromL1)
	s.Instance, s.Own, s.OwnVersion = 1, true, 2
	suspect(p, s)
	v := Phase(p, Options{})
	if v.Calls.Missed != 1 {
		t.Errorf("%d missed calls, want 1", v.Calls.Missed)
	}
	wantViolation(t, v, "1 reads missed a write of their own instance")
}

// TestLossIsWhereTheTokenIs: a failover of the token's shard excuses what it may
// have lost, one of the shard of the keys does not.
func TestLossIsWhereTheTokenIs(t *testing.T) {
	for shard, excused := range map[int]bool{0: true, 1: false} {
		p := tagged()
		p.Spans = []history.Span{{
			Name: "failover", Shards: []int{shard}, Began: 2500 * ms, Held: 3500 * ms, Ended: 3600 * ms, Recovered: 3600 * ms,
			MayLose: true, Redis: true, Commanded: true,
		}}
		s := readOf(2, 1, 3400*ms+history.Time(bound), history.FromL2)
		suspect(p, s)
		v := Phase(p, Options{})
		if excused != (v.StaleBeyondBound == 0) || excused != (v.Calls.LostByReplication == 1) || excused != (v.Calls.Missed == 0) {
			t.Errorf("shard %d: %d stale reads, calls %+v", shard, v.StaleBeyondBound, v.Calls)
		}
	}
}

// TestLostInvalidationIsSentAgain: an excuse ends two bounds after the takeover,
// but not for a pattern, which is not sent again.
func TestLostInvalidationIsSentAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind history.GroupKind
		at   history.Time
		late int
	}{
		{"in time", history.GroupTag, 3500*ms + 2*history.Time(bound), 0},
		{"late", history.GroupTag, 3500*ms + 2*history.Time(bound) + 1, 1},
		{"pattern", history.GroupPattern, 3500*ms + 2*history.Time(bound) + 1, 0},
	} {
		p := tagged()
		p.Groups[0].Kind = tt.kind
		p.Spans = []history.Span{{
			Name: "failover", Shards: []int{0}, Began: 2500 * ms, Held: 3500 * ms, Ended: 3600 * ms, Recovered: 3600 * ms,
			MayLose: true, Redis: true, Commanded: true,
		}}
		suspect(p, readOf(2, 1, tt.at, history.FromL2))
		v := Phase(p, Options{})
		if v.Lost.Reads != 1 || v.Lost.Late != tt.late {
			t.Errorf("%s: lost %+v, want one read, late: %d", tt.name, v.Lost, tt.late)
		}
		if tt.late > 0 {
			wantViolation(t, v, "1 reads still missed what Redis had lost")
		} else {
			wantClean(t, v)
		}
	}
}

// TestTokenVoidsNoFill: what is stored with the old token is harmless, what
// survives a pattern is not.
func TestTokenVoidsNoFill(t *testing.T) {
	for kind, stale := range map[history.GroupKind]int{history.GroupTag: 0, history.GroupNamespace: 0, history.GroupPattern: 1} {
		p := tagged()
		p.Groups[0].Kind = kind
		p.Fills = []history.Fill{{Key: 2, Version: 1, LoadBegan: 2990 * ms, Began: 3010 * ms, Ended: 3011 * ms, Stored: true}}
		if v := Phase(p, Options{}); v.StaleFills != stale {
			t.Errorf("%s: %d stale fills, want %d", kind, v.StaleFills, stale)
		}
	}
}

func TestInvalidationResult(t *testing.T) {
	p := tagged()
	p.Spans = []history.Span{{Name: "x", Feeds: 3, Began: 2000 * ms, Ended: 2001 * ms, Recovered: 2001 * ms}}
	p.Feed = history.Feed{Published: 5, Gaps: 2, Redialed: 4, Resets: 1, Flushes: 1}
	p.Stats.Replayed = 7
	for mode, want := range map[string]string{
		"tracking":  "RESULT mode=tracking events=1002 gaps_injected=3 gaps_detected=6 stale_beyond_bound=0 replayed=7 lost=0 lost_by_async_replication=0 ",
		"broadcast": "RESULT mode=broadcast events=5 gaps_injected=3 gaps_detected=2 stale_beyond_bound=0 replayed=7 lost=0 lost_by_async_replication=0 ",
	} {
		p.Feed.Broadcast = mode == "broadcast"
		v := Phase(p, Options{})
		if got := Sum("total", []Verdict{v}).InvalidationResult(mode, "local", 1); !strings.HasPrefix(got, want) {
			t.Errorf("result is %q, want it to begin with %q", got, want)
		}
		sum := Sum("total", []Verdict{v, v})
		if sum.Calls.Total != 2*v.Calls.Total || sum.Calls.GapsInjected != 6 || sum.Took != 20*time.Second {
			t.Errorf("the sum of two has %+v", sum.Calls)
		}
	}
}

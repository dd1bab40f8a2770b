//go:build unix

package stampede

import (
	"slices"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
)

func TestBursts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		begins []int64
		want   []burst
	}{
		{"no query", nil, nil},
		{"one query", []int64{5}, []burst{{5, 1}}},
		{"the width counts from the first, not from the last", []int64{0, 60, 100, 101}, []burst{{0, 3}, {101, 1}}},
		{"two expiries", []int64{0, 1, 2, 500, 501}, []burst{{0, 3}, {500, 2}}},
	} {
		if got := bursts(test.begins, 100); !slices.Equal(got, test.want) {
			t.Errorf("%s: bursts = %v, want %v", test.name, got, test.want)
		}
	}
}

func TestCounted(t *testing.T) {
	t.Parallel()
	all := []burst{{99, 7}, {100, 1}, {300, 4}, {900, 2}, {901, 9}}
	if e, l := counted(all, 100, 1000, 100); e != 3 || l != 7 {
		t.Errorf("counted = %d, %d; want 3 expiries and 7 loads: one began too early, one may go on after the end", e, l)
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	got := spans([]int64{10, 20, 70, 200}, 60)
	if want := []span{{10, 130}, {200, 260}}; !slices.Equal(got, want) {
		t.Errorf("spans = %v, want %v", got, want)
	}
}

func TestMeets(t *testing.T) {
	t.Parallel()
	all := []span{{100, 160}, {300, 360}}
	for _, test := range []struct {
		name        string
		began, took int64
		want        bool
	}{
		{"over before the first", 50, 49, false},
		{"under way when it begins", 50, 50, true},
		{"begins with it", 100, 1, true},
		{"the last moment", 160, 1, true},
		{"after it", 161, 1, false},
		{"between, under way when the second begins", 161, 139, true},
		{"in the second", 350, 1, true},
		{"after all", 361, 1000, false},
	} {
		if got := meets(all, test.began, test.took); got != test.want {
			t.Errorf("%s: meets = %v", test.name, got)
		}
	}
	if meets(nil, 1, 1) {
		t.Error("a key that was never loaded expired")
	}
}

func TestPeak(t *testing.T) {
	t.Parallel()
	queries := []origin.Query{
		{Begin: 0, End: 10}, {Begin: 10, End: 20}, // one after the other
		{Begin: 15, End: 30}, {Begin: 16, End: 30},
		{Begin: 100, End: 200}, {Begin: 100, End: 200}, {Begin: 100, End: 200}, {Begin: 100, End: 200},
	}
	for _, test := range []struct {
		from, to int64
		want     int
	}{{0, 14, 1}, {0, 50, 3}, {0, 200, 4}, {201, 300, 0}} {
		if got := peak(queries, test.from, test.to); got != test.want {
			t.Errorf("peak of %d to %d = %d, want %d", test.from, test.to, got, test.want)
		}
	}
}

func TestBeginsAreInOrder(t *testing.T) {
	t.Parallel()
	got := begins([]origin.Query{{ID: "a", Begin: 3}, {ID: "b", Begin: 2}, {ID: "a", Begin: 1}})
	if !slices.Equal(got["a"], []int64{1, 3}) || !slices.Equal(got["b"], []int64{2}) {
		t.Errorf("begins = %v", got)
	}
}

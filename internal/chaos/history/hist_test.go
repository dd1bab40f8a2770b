package history

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestBinsHoldWhatTheySay(t *testing.T) {
	last := -1
	for d := time.Duration(0); d < math.MaxInt64/2; d += 1 + d/50 {
		b := binOf(d)
		if b < last {
			t.Fatalf("%d is in bin %d, a shorter time was in %d", d, b, last)
		}
		last = b
		if got := top(b); got < d || float64(got-d) > 0.032*float64(d) {
			t.Fatalf("bin %d of %d ends at %d", b, d, got)
		}
		if next := binOf(top(b) + 1); next != b+1 {
			t.Fatalf("bin %d ends at %d, but the next time is in bin %d", b, top(b), next)
		}
	}
}

func TestQuantile(t *testing.T) {
	var a, b Hist
	for i := range 100 {
		h := &a
		if i%2 == 0 {
			h = &b
		}
		h.Record(time.Duration(i) * time.Millisecond)
	}
	a.Merge(b)
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var h Hist
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 50 * time.Millisecond, 0.98: 98 * time.Millisecond, 1: 99 * time.Millisecond} {
		if got := h.Quantile(q); got < want || float64(got) > 1.04*float64(want) {
			t.Errorf("Quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if h.N != 100 || h.Zeros != 1 || h.Max != 99*time.Millisecond {
		t.Errorf("%d times, %d zeros, max %v; want 100, 1, 99ms", h.N, h.Zeros, h.Max)
	}
	if got := (Hist{}).Quantile(0.5); got != 0 {
		t.Errorf("Quantile of nothing = %v", got)
	}
}

func TestBatchAdd(t *testing.T) {
	a := Batch{Reads: 1, Verbs: map[string]uint64{"Get": 1}, Buckets: []Bucket{{At: 5, Reads: 1, Stalest: 3}}}
	a.Add(Batch{Reads: 2, Errors: 1, Error: "x", Verbs: map[string]uint64{"Get": 1, "Set": 1},
		Buckets: []Bucket{{At: 5, Reads: 2, Stalest: 2}, {At: 6, Reads: 1}}, Suspects: []Sample{{Key: 1}}, Suspected: 1, Stats: Stats{Loads: 2}})
	if a.Reads != 3 || a.Errors != 1 || a.Error != "x" || a.Verbs["Get"] != 2 || a.Verbs["Set"] != 1 || a.Suspected != 1 || a.Stats.Loads != 2 {
		t.Errorf("sum is %+v", a)
	}
	if len(a.Buckets) != 2 || a.Buckets[0] != (Bucket{At: 5, Reads: 3, Stalest: 3}) {
		t.Errorf("buckets are %+v", a.Buckets)
	}
}

package hist

import (
	"encoding/json"
	"testing"
	"time"
)

// TestPrecision: a value is known to a thousandth of it, from a hit to what a
// caller gives up after.
func TestPrecision(t *testing.T) {
	t.Parallel()
	for _, v := range []int64{1, 999, 1_234_567, 31_415_926, int64(10 * time.Second), Longest} {
		h := New()
		if err := Note(h, v); err != nil {
			t.Fatalf("%v: %v", time.Duration(v), err)
		}
		if got := h.ValueAtQuantile(99); got < v || got > v+v/1000+1 {
			t.Errorf("%d is %d in the histogram", v, got)
		}
	}
	if err := Note(New(), 2*Longest); err == nil {
		t.Errorf("%v was taken for a latency", time.Duration(2*Longest))
	}
}

// TestTravels: what is unpacked is what was packed, and can be added up.
func TestTravels(t *testing.T) {
	t.Parallel()
	h := New()
	for _, v := range []int64{5, 5, 1000, 7_000_000} {
		if err := Note(h, v); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(Pack(h))
	if err != nil {
		t.Fatal(err)
	}
	var s Sent
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	sum := New()
	for range 2 {
		got, err := s.Unpack()
		if err != nil {
			t.Fatal(err)
		}
		sum.Merge(got)
	}
	if n, p50, most := sum.TotalCount(), sum.ValueAtQuantile(50), sum.Max(); n != 8 || p50 != 5 || most != h.Max() {
		t.Errorf("two of it have %d values, a median of %d and a longest of %d", n, p50, most)
	}
	if _, err := (Sent{At: []int{1 << 30}, Count: []int64{1}}).Unpack(); err == nil {
		t.Error("a place that a histogram does not have was accepted")
	}
}

func TestMillis(t *testing.T) {
	t.Parallel()
	for ns, want := range map[int64]string{1500: "0.0015", 530_000: "0.530", 3_141_592: "3.14", 31_415_926: "31.4", 1_234_567_890: "1235"} {
		if got := Millis(ns); got != want {
			t.Errorf("Millis(%d) = %q, want %q", ns, got, want)
		}
	}
}

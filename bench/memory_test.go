package bench

import (
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// TestMemoryPerEntry measures what an entry in memory costs beyond its value.
func TestMemoryPerEntry(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 50,000 entries three times")
	}
	o, err := subject.MeasureOverhead(t.Context(), redis(t, "").Addr(), 50_000)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("bytes per entry: value %.0f, beyond it fleetcache %.0f, otter with expiry %.0f", o.Value, o.Fleet, o.Otter)
	// Above what it is by less than the reply it came in, some 300 bytes: that
	// is dropped once it is decoded.
	if o.Fleet > 550 {
		t.Errorf("an entry costs %.0f bytes beyond its value, want at most 550", o.Fleet)
	}
}

// TestDistinctKeysHeapStaysFlat reads many more keys than fit into memory, once
// each: nothing may be kept of those that have left. -distinct.keys 10000000
// -timeout 0 is the long run.
func TestDistinctKeysHeapStaysFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("reads hundreds of thousands of keys")
	}
	const l1 = 100_000
	if *distinctKeys < 3*l1 {
		t.Fatalf("-distinct.keys is %d, want at least %d", *distinctKeys, 3*l1)
	}
	var full uint64 // the heap when L1 had been full for a while
	var largest uint64
	addr := redis(t, "128mb").Addr()
	err := subject.ReadDistinct(t.Context(), addr, *distinctKeys, l1, max(l1/2, *distinctKeys/40), func(s subject.Sample) {
		t.Logf("%9d keys: heap %6.1f MiB, %d entries in L1, %d fills", s.Keys, float64(s.HeapBytes)/(1<<20), s.L1Entries, s.Fills)
		if s.Fills != uint64(s.Keys) {
			t.Errorf("after %d keys %d loads were stored, want all", s.Keys, s.Fills)
		}
		if s.L1Entries > l1+l1/10 {
			t.Errorf("after %d keys %d entries are in L1, want at most about %d", s.Keys, s.L1Entries, l1)
		}
		switch {
		case s.Keys < 2*l1:
		case full == 0:
			full = s.HeapBytes
		default:
			largest = max(largest, s.HeapBytes)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if limit := full + full/5; largest > limit {
		t.Errorf("the heap grew from %d to %d bytes while L1 was full, want at most %d", full, largest, limit)
	}
}

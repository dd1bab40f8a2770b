package history

import (
	"maps"
	"math/bits"
	"slices"
	"time"
)

// Hist is a histogram of times that are not negative, exact for 0 and to 3 %
// otherwise. The zero value is empty and ready for use. It is not safe for
// concurrent use.
type Hist struct {
	// N is how many times there are, Zeros how many of them are 0.
	N, Zeros uint64
	// Max is the longest, exactly.
	Max time.Duration
	// Counts has the others by the number of their bin.
	Counts map[int]uint64 `json:",omitempty"`
}

const (
	binBits = 5 // 32 bins per doubling
	bins    = 1 << binBits
)

func binOf(d time.Duration) int {
	v := uint64(d)
	if v < bins {
		return int(v)
	}
	shift := bits.Len64(v) - binBits - 1
	return shift<<binBits + int(v>>shift)
}

// top returns the longest time of a bin.
func top(bin int) time.Duration {
	if bin < 2*bins {
		return time.Duration(bin)
	}
	shift := bin>>binBits - 1
	low := uint64(bin-shift<<binBits) << shift
	return time.Duration(low + 1<<shift - 1)
}

// Record adds a time; a negative one counts as 0.
func (h *Hist) Record(d time.Duration) {
	h.N++
	if d <= 0 {
		h.Zeros++
		return
	}
	if h.Counts == nil {
		h.Counts = map[int]uint64{}
	}
	h.Counts[binOf(d)]++
	h.Max = max(h.Max, d)
}

// Merge adds the times of o.
func (h *Hist) Merge(o Hist) {
	h.N += o.N
	h.Zeros += o.Zeros
	h.Max = max(h.Max, o.Max)
	if h.Counts == nil && len(o.Counts) > 0 {
		h.Counts = make(map[int]uint64, len(o.Counts))
	}
	for b, n := range o.Counts {
		h.Counts[b] += n
	}
}

// Quantile returns a time that the given share of times, from 0 to 1, does not
// exceed: up to 3 % too long, never above Max. It is 0 if there are none.
func (h Hist) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.N))
	if rank >= h.N {
		return h.Max
	}
	seen := h.Zeros
	if rank < seen {
		return 0
	}
	for _, b := range slices.Sorted(maps.Keys(h.Counts)) {
		if seen += h.Counts[b]; rank < seen {
			return min(top(b), h.Max)
		}
	}
	return h.Max
}

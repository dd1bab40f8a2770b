// Package hist has the histograms of latencies of the load tests, which are
// filled in several processes and added up in one.
package hist

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Histogram counts latencies in nanoseconds.
type Histogram = hdrhistogram.Histogram

// Bounds of the histograms, in nanoseconds, and their precision in digits.
const (
	shortest = 1
	Longest  = int64(2 * time.Minute)
	digits   = 3
)

// New returns an empty histogram.
func New() *Histogram { return hdrhistogram.New(shortest, Longest, digits) }

// Note adds a latency. One that is longer than Longest is an error: nobody has
// waited for so long, so it is a fault of a clock or of the program.
func Note(h *Histogram, ns int64) error {
	if err := h.RecordValue(max(ns, shortest)); err != nil {
		return fmt.Errorf("hist: a latency of %d ns: %w", ns, err)
	}
	return nil
}

// Sent is a histogram on its way between processes: the counts that are not
// zero, and their places.
type Sent struct {
	At    []int
	Count []int64
}

// Pack makes a histogram fit to be sent.
func Pack(h *Histogram) (s Sent) {
	for i, n := range h.Export().Counts {
		if n != 0 {
			s.At, s.Count = append(s.At, i), append(s.Count, n)
		}
	}
	return s
}

// Unpack makes it a histogram again.
func (s Sent) Unpack() (*Histogram, error) {
	e := New().Export()
	for i, at := range s.At {
		if at < 0 || at >= len(e.Counts) || i >= len(s.Count) {
			return nil, fmt.Errorf("hist: place %d of a histogram of %d", at, len(e.Counts))
		}
		e.Counts[at] = s.Count[i]
	}
	return hdrhistogram.Import(e), nil
}

// Millis writes nanoseconds as milliseconds, with three digits.
func Millis(ns int64) string {
	v := float64(ns) / 1e6
	switch {
	case v < 0.01:
		return fmt.Sprintf("%.4f", v)
	case v < 1:
		return fmt.Sprintf("%.3f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

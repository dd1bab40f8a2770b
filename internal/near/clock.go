package near

import (
	"sync/atomic"
	"time"
)

// Dead is a point in time before every reading of a [Clock], far enough from
// the limits of int64 that differences to it do not overflow.
const Dead int64 = -1 << 61

// Clock reads monotonic time in nanoseconds since it was made. The wall clock
// and its steps have no influence on it. It is safe for concurrent use.
type Clock struct {
	start time.Time
	shift atomic.Int64
}

// NewClock returns a Clock that reads 0 now.
func NewClock() *Clock { return &Clock{start: time.Now()} }

// Now returns the nanoseconds since the clock was made. It is never cached:
// after a process was frozen a reader may run before any ticker does.
func (c *Clock) Now() int64 { return int64(time.Since(c.start)) + c.shift.Load() }

// Advance moves the clock forward by d, for tests that move time.
func (c *Clock) Advance(d time.Duration) { c.shift.Add(int64(d)) }

package rc

import (
	"math"
	"math/rand/v2"
	"time"
)

// TTLWithJitter returns base, changed at random by at most the given fraction
// of it in either direction, so that values stored together do not end
// together. A fraction of 0 or less returns base; more than 1 counts as 1. The
// result is never below one millisecond, the smallest time Redis knows, unless
// base is.
func TTLWithJitter(base time.Duration, fraction float64) time.Duration {
	if fraction <= 0 || base <= 0 || math.IsNaN(fraction) {
		return base
	}
	f := min(fraction, 1) * (2*rand.Float64() - 1)
	d := base + time.Duration(f*float64(base))
	return max(d, min(base, time.Millisecond))
}

// earlyBy draws how long before the end of its time a value is to be loaded
// again: XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic
// Cache Stampede Prevention, VLDB 2015), where the chance to be due at t before
// the end is exp(-t/(beta*load)). It is drawn once per value and process
// instead of at each read, so that a hit needs no random number.
func earlyBy(load time.Duration, beta float64) time.Duration {
	if beta <= 0 || load <= 0 {
		return 0
	}
	return time.Duration(beta * float64(load) * rand.ExpFloat64())
}

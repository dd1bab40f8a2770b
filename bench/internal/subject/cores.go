package subject

import (
	"runtime"
	"testing"
)

// OnCores runs a benchmark on at most n cores.
func OnCores(n int, body Bench) Bench {
	return func(b *testing.B) error {
		b.StopTimer()
		before := runtime.GOMAXPROCS(n)
		defer runtime.GOMAXPROCS(before)
		b.StartTimer() // before the body: B.Loop refuses a stopped timer
		return body(b)
	}
}

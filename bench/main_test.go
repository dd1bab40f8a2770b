package bench

import (
	"flag"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// run makes a benchmark of a body that returns its error.
func run(b *testing.B, name string, body subject.Bench) {
	b.Run(name, func(b *testing.B) {
		if err := body(b); err != nil {
			b.Fatal(err)
		}
	})
}

// redis starts a server that is stopped when the test or benchmark ends.
func redis(tb testing.TB, maxMemory string) *localredis.Server {
	tb.Helper()
	localredis.Require(tb, localredis.Redis)
	s, err := subject.StartRedis(tb.Context(), maxMemory)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return s
}

func closing(tb testing.TB, f func() error) {
	tb.Cleanup(func() {
		if err := f(); err != nil {
			tb.Error(err)
		}
	})
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func ok(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// fleet opens fleetcache for the time of a test or benchmark.
func fleet(tb testing.TB, addr string, l1Size int) *subject.Fleet {
	tb.Helper()
	f := must(subject.OpenFleet(tb.Context(), addr, l1Size))(tb)
	closing(tb, f.Close)
	return f
}

var distinctKeys = flag.Int("distinct.keys", 400_000, "how many distinct keys TestDistinctKeysHeapStaysFlat reads")

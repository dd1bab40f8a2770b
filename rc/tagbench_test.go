package rc_test

import (
	"context"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// BenchmarkHitTagged compares hits of values with 0, 1, 2 and 8 tags.
func BenchmarkHitTagged(b *testing.B) {
	for _, bc := range []struct {
		name string
		tags []string
	}{{"0", nil}, {"1", []string{"a"}}, {"2", []string{"a", "b"}}, {"8", []string{"a", "b", "c", "d", "e", "f", "g", "h"}}} {
		b.Run(bc.name, func(b *testing.B) {
			srv := rctest.Start()
			defer srv.Close()
			m, err := srv.Open(b.Context(), calm())
			if err != nil {
				b.Fatal(err)
			}
			s, err := rc.New(m, "bench", rc.Config[string]{})
			if err != nil {
				b.Fatal(err)
			}
			load := func(context.Context) (string, error) { return "v", nil }
			if _, err := s.GetOrSet(b.Context(), "k", load, rc.WithTags(bc.tags...)); err != nil {
				b.Fatal(err)
			}
			ctx := b.Context()
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if _, err := s.GetOrSet(ctx, "k", load); err != nil {
					b.Fatal(err)
				}
			}
			if m.Stats().Loads != 1 {
				b.Fatal("not all were hits")
			}
		})
	}
}

package rc_test

import (
	"context"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// A hit in memory allocates nothing. bench/ says how long it takes.
func TestHitAllocatesNothing(t *testing.T) {
	type product struct {
		ID    int
		Name  string
		Price float64
		Tags  []string
	}
	m, _ := rctest.New(t)
	s, err := rc.New(m, "products", rc.Config[product]{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := s.Set(ctx, "id", product{ID: 1, Name: "kettle", Tags: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	load := func(context.Context) (product, error) { t.Error("loaded"); return product{}, nil }
	until(t, "the value in memory", func() bool {
		it, err := s.Lookup(ctx, "id")
		return err == nil && it.Source == rc.FromL1
	})
	before := s.Stats().L1Hits
	const runs = 1000
	for name, hit := range map[string]func() product{
		"GetOrSet": func() product { p, _ := s.GetOrSet(ctx, "id", load); return p },
		"Get":      func() product { p, _, _ := s.Get(ctx, "id"); return p },
	} {
		if n := testing.AllocsPerRun(runs, func() {
			if hit().ID != 1 {
				t.Error("wrong value")
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times on a hit, want 0", name, n)
		}
	}
	if n := s.Stats().L1Hits - before; n < 2*runs {
		t.Errorf("%d hits in memory counted, want at least %d", n, 2*runs)
	}
}

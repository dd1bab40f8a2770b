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
	none := func(context.Context) (product, error) { return product{}, rc.ErrNotFound }
	if _, err := s.GetOrSet(ctx, "none", none); err != rc.ErrNotFound {
		t.Fatalf("GetOrSet = %v, want ErrNotFound", err)
	}
	for _, id := range []string{"id", "none"} {
		until(t, "memory to have "+id, func() bool {
			it, err := s.Lookup(ctx, id)
			return err == nil && it.Source == rc.FromL1
		})
	}
	before := s.Stats().L1Hits
	const runs = 1000
	calls := map[string]func() bool{
		"GetOrSet": func() bool { p, err := s.GetOrSet(ctx, "id", load); return p.ID == 1 && err == nil },
		"Get":      func() bool { p, ok, err := s.Get(ctx, "id"); return p.ID == 1 && ok && err == nil },

		"GetOrSet of what does not exist": func() bool { _, err := s.GetOrSet(ctx, "none", load); return err == rc.ErrNotFound },
		"Get of what does not exist":      func() bool { _, ok, err := s.Get(ctx, "none"); return !ok && err == nil },
	}
	for name, hit := range calls {
		if n := testing.AllocsPerRun(runs, func() {
			if !hit() {
				t.Error("wrong answer")
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times on a hit, want 0", name, n)
		}
	}
	if n := s.Stats().L1Hits - before; n < uint64(len(calls))*runs {
		t.Errorf("%d hits in memory counted, want at least %d", n, len(calls)*runs)
	}
}

// What memory has for what does not exist is not taken for a value where every
// type is one, and is left out of batches.
func TestHitOfAnAbsence(t *testing.T) {
	m, _ := rctest.New(t)
	s, err := rc.New(m, "anything", rc.Config[any]{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := s.Set(ctx, "here", "v"); err != nil {
		t.Fatal(err)
	}
	load := func(context.Context) (any, error) { return nil, rc.ErrNotFound }
	for i := range 3 {
		if v, err := s.GetOrSet(ctx, "none", load); v != nil || err != rc.ErrNotFound {
			t.Errorf("GetOrSet = %v, %v, want ErrNotFound", v, err)
		}
		if v, ok, err := s.Get(ctx, "none"); v != nil || ok || err != nil {
			t.Errorf("Get = %v, %v, %v, want no value", v, ok, err)
		}
		got, err := s.GetOrSetMany(ctx, []string{"none", "here"}, func(_ context.Context, ids []string) (map[string]any, error) {
			t.Errorf("loaded %q", ids)
			return nil, nil
		})
		if len(got) != 1 || got["here"] != "v" || err != nil {
			t.Errorf("GetOrSetMany = %v, %v, want what is there", got, err)
		}
		it, err := s.Lookup(ctx, "none")
		if err != nil || !it.NotFound || i > 0 && it.Source != rc.FromL1 {
			t.Errorf("Lookup = %+v, %v, want a remembered absence", it, err)
		}
	}
}

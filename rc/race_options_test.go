package rc_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// ErrNotFound is remembered for NegativeTTL, in memory and in Redis.
func TestNegative(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{TTL: time.Hour, StaleFor: time.Hour, NegativeTTL: time.Minute}
	_, a := instance(t, srv, calm(), cfg)
	_, b := instance(t, srv, calm(), cfg)
	var n atomic.Int32
	for range 2 {
		for _, s := range []*rc.CacheService[string]{a, b} {
			if v, err := s.GetOrSet(t.Context(), "k", fails(rc.ErrNotFound, &n)); !errors.Is(err, rc.ErrNotFound) {
				t.Errorf("GetOrSet = %q, %v, want ErrNotFound", v, err)
			}
			cached(t, s, "k", "")
			if it, err := s.Lookup(t.Context(), "k"); err != nil || it.Found || !it.NotFound {
				t.Errorf("Lookup = %+v, %v, want a remembered absence", it, err)
			}
		}
	}
	if n.Load() != 1 {
		t.Errorf("%d loads, want 1", n.Load())
	}
	srv.FastForward(2 * time.Minute)
	fill(t, a, "k", "v")
	_, off := instance(t, srv, calm(), rc.Config[string]{NegativeTTL: rc.Off})
	for range 2 {
		_, _ = off.GetOrSet(t.Context(), "l", fails(rc.ErrNotFound, &n))
	}
	if n.Load() != 3 {
		t.Errorf("%d loads without negative caching, want 2 more", n.Load())
	}
}

// Params are part of the key, in any order.
func TestParams(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, calm(), rc.Config[string]{})
	ctx := t.Context()
	for _, c := range []struct {
		v    string
		opts []rc.Opt
	}{
		{"none", nil},
		{"1", []rc.Opt{rc.WithParams("skip", 1)}},
		{"2", []rc.Opt{rc.WithParams("skip", 2)}},
		{"both", []rc.Opt{rc.WithParams("skip", 1, "limit", 2)}},
	} {
		if got, err := s.GetOrSet(ctx, "k", gives(c.v, new(atomic.Int32)), c.opts...); got != c.v || err != nil {
			t.Errorf("GetOrSet = %q, %v, want %q of its own", got, err, c.v)
		}
	}
	if got, err := s.GetOrSet(ctx, "k", never(t), rc.WithParams("limit", 2), rc.WithParams("skip", 1)); got != "both" || err != nil {
		t.Errorf("GetOrSet in another order = %q, %v, want %q", got, err, "both")
	}
	if err := s.Delete(ctx, "k", rc.WithParams("skip", 1)); err != nil {
		t.Fatal(err)
	}
	cached(t, s, "k", "none")
	if _, found, _ := s.Get(ctx, "k", rc.WithParams("skip", 1)); found {
		t.Error("the value with params is there after its Delete")
	}
	if _, err := s.GetOrSet(ctx, "k", never(t), rc.WithParams("odd")); err == nil {
		t.Error("GetOrSet with a name without a value = nil error")
	}
}

// Options of a call override the configuration.
func TestCallOptions(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, calm(), rc.Config[string]{TTL: time.Hour, StaleFor: time.Hour, SoftTimeout: rc.Off})
	ctx := t.Context()
	ttl := func(id string, want time.Duration) {
		t.Helper()
		got, found, err := s.TTL(ctx, id)
		if !found || err != nil || got > want || got < want-time.Minute/2 {
			t.Errorf("TTL(%q) = %v, %v, %v, want about %v", id, got, found, err, want)
		}
	}
	for id, opts := range map[string][]rc.Opt{"a": nil, "b": {rc.WithTTL(10 * time.Minute)}} {
		want := map[string]time.Duration{"a": time.Hour, "b": 10 * time.Minute}[id]
		_, _ = s.GetOrSet(ctx, id, gives("v", new(atomic.Int32)), opts...)
		ttl(id, want)
		if err := s.Set(ctx, id, "v", opts...); err != nil {
			t.Fatal(err)
		}
		ttl(id, want)
	}
	if _, err := s.GetOrSet(ctx, "k", never(t), rc.WithTTL(-1)); err == nil {
		t.Error("WithTTL(-1) = nil error")
	}
	if _, err := s.GetOrSet(ctx, "k", never(t), rc.Opt{}); err == nil {
		t.Error("the zero Opt = nil error")
	}

	srv.FastForward(90 * time.Minute) // a: 30 minutes stale; b is gone
	if it, err := s.Lookup(ctx, "a"); err != nil || !it.Stale || it.Value != "v" || it.Reason != rc.StaleNoLoader {
		t.Errorf("Lookup = %+v, %v, want the stale value", it, err)
	}
	if _, found, err := s.Get(ctx, "a", rc.WithMaxStale(10*time.Minute)); found || err != nil {
		t.Errorf("Get with MaxStale below its age = %v, %v, want a miss", found, err)
	}
	if _, found, _ := s.Get(ctx, "a", rc.WithMaxStale(0)); found {
		t.Error("Get with MaxStale 0 found a stale value")
	}
	cached(t, s, "b", "")

	slow := newLoader()
	f := async(func() (string, error) {
		return s.GetOrSet(ctx, "a", slow.load, rc.WithSoftTimeout(time.Second))
	})
	f.want(t, "v") // and the load goes on
	slow.begin(t)
	slow.finish("w", nil)
	until(t, "the new value", func() bool { it, err := s.Lookup(ctx, "a"); return err == nil && it.Value == "w" && !it.Stale })
}

// What a loader says about its value through its context.
func TestLoadContext(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{})
	ctx := t.Context()
	for id, say := range map[string]func(context.Context){
		"donotcache": rc.DoNotCache,
		"nottl":      func(ctx context.Context) { rc.SetTTL(ctx, 0) },
	} {
		v, err := s.GetOrSet(ctx, id, func(ctx context.Context) (string, error) { say(ctx); return "v", nil })
		if v != "v" || err != nil {
			t.Errorf("%s: GetOrSet = %q, %v", id, v, err)
		}
		cached(t, s, id, "")
		fill(t, s, id, "w") // at once: the claim was given back
	}
	if n := m.Stats().FillsUnwanted; n != 2 {
		t.Errorf("FillsUnwanted = %d, want 2", n)
	}
	_, _ = s.GetOrSet(ctx, "ttl", func(ctx context.Context) (string, error) { rc.SetTTL(ctx, 10*time.Hour); return "v", nil })
	if d, _, _ := s.TTL(ctx, "ttl"); d < 9*time.Hour {
		t.Errorf("TTL = %v after SetTTL(10h)", d)
	}
}

// number is a versioned value.
type number struct{ V uint64 }

func versioned() rc.Config[number] {
	return rc.Config[number]{Version: func(n number) uint64 { return n.V }}
}

// With versions neither a fill nor a Set puts an older value in the place of
// a newer one.
func TestVersion(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, calm())
	a := service(t, m, versioned())
	b := service(t, open(t, srv, calm()), versioned())
	ctx := t.Context()
	check := func(what string, want uint64) {
		t.Helper()
		if n, _, err := a.Get(ctx, "k"); n.V != want || err != nil {
			t.Errorf("after %s: Get = %d, %v, want %d", what, n.V, err, want)
		}
		until(t, what+" to be seen elsewhere", func() bool {
			n, _, err := b.Get(ctx, "k")
			return n.V == want && err == nil
		})
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.Set(ctx, "k", number{5}))
	check("Set 5", 5)
	must(a.Set(ctx, "k", number{4}))
	check("Set 4", 5)
	must(a.SetMany(ctx, map[string]number{"k": {3}}))
	check("SetMany 3", 5)
	got, err := a.Refresh(ctx, "k", func(context.Context) (number, error) { return number{2}, nil })
	if got.V != 2 || err != nil {
		t.Errorf("Refresh = %d, %v, want what it loaded", got.V, err)
	}
	check("a fill of 2", 5)
	if n := m.Stats().FillsSuperseded; n != 1 {
		t.Errorf("FillsSuperseded = %d, want 1", n)
	}
	_, err = a.Refresh(ctx, "k", func(ctx context.Context) (number, error) { rc.SetVersion(ctx, 1); return number{9}, nil })
	must(err)
	check("a fill with SetVersion 1", 5)
	must(a.Set(ctx, "k", number{256})) // bytes are compared from the highest
	check("Set 256", 256)
	must(a.Delete(ctx, "k"))
	must(a.Set(ctx, "k", number{1}))
	check("Delete and Set 1", 1)
}

// A value over MaxValueBytes is returned and not stored; Set refuses it, and
// leaves no older one.
func TestMaxValueBytes(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{MaxValueBytes: 10, Codec: rc.String{}})
	large := strings.Repeat("x", 11)
	fill(t, s, "k", large)
	cached(t, s, "k", "")
	fill(t, s, "k", large[:10])
	cached(t, s, "k", large[:10])
	if err := s.Set(t.Context(), "k", large); !errors.Is(err, rc.ErrTooLarge) {
		t.Errorf("Set = %v, want ErrTooLarge", err)
	}
	cached(t, s, "k", "")
	if n := m.Stats().FillsTooLarge; n != 2 {
		t.Errorf("FillsTooLarge = %d, want 2", n)
	}
}

// With Copy no caller can change what another one gets.
func TestCopy(t *testing.T) {
	t.Parallel()
	srv := start(t)
	s := service(t, open(t, srv, calm()), rc.Config[[]string]{Copy: func(v []string) []string { return append([]string(nil), v...) }})
	load := func(context.Context) ([]string, error) { return []string{"v"}, nil }
	for range 3 {
		got, err := s.GetOrSet(t.Context(), "k", load)
		if err != nil || got[0] != "v" {
			t.Fatalf("GetOrSet = %v, %v, want v", got, err)
		}
		got[0] = "spoiled"
		many, err := s.GetOrSetMany(t.Context(), []string{"k"}, nil)
		if err != nil || many["k"][0] != "v" {
			t.Fatalf("GetOrSetMany = %v, %v, want v", many, err)
		}
		many["k"][0] = "spoiled"
	}
}

// Without L1 every read asks Redis, and nothing else changes.
func TestL1Off(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{L1Size: rc.Off})
	fill(t, s, "k", "v")
	for range 3 {
		before := srv.Commands()["GET"]
		if v, err := s.GetOrSet(t.Context(), "k", never(t)); v != "v" || err != nil || srv.Commands()["GET"] != before+1 {
			t.Errorf("GetOrSet = %q, %v with %d GETs, want one", v, err, srv.Commands()["GET"]-before)
		}
	}
	set(t, s, "k", "w")
	cached(t, s, "k", "w")
	if st := m.Stats(); st.L1Hits != 0 || st.L1Entries != 0 {
		t.Errorf("L1Hits = %d, L1Entries = %d, want 0", st.L1Hits, st.L1Entries)
	}
}

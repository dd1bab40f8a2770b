package rc_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// What each target invalidates, and what it leaves alone.
func TestTargets(t *testing.T) {
	t.Parallel()
	params := []any{"page", 1}
	for _, tt := range []struct {
		name   string
		target func(s *rc.CacheService[string]) rc.Target
		a, b   bool // still there, of "a" tagged t, and "b"
		paged  bool // of "a" with params
		soft   bool // what is gone is a fallback still
	}{
		{"ids", func(s *rc.CacheService[string]) rc.Target { return s.Target("a") }, false, true, true, false},
		{"ids soft", func(s *rc.CacheService[string]) rc.Target { return s.Target("a").Soft() }, false, true, true, true},
		{"several ids", func(s *rc.CacheService[string]) rc.Target { return s.Target("b", "a", "b") }, false, false, true, false},
		{"several ids soft", func(s *rc.CacheService[string]) rc.Target { return s.Target("b", "a", "b").Soft() }, false, false, true, true},
		{"params", func(s *rc.CacheService[string]) rc.Target { return s.Target("a").Params(params...) }, true, true, false, false},
		{"params soft", func(s *rc.CacheService[string]) rc.Target { return s.Target("a").Params(params...).Soft() }, true, true, false, true},
		{"tag", func(*rc.CacheService[string]) rc.Target { return rc.TagTarget("t", "u") }, false, true, true, false},
		{"tag soft", func(*rc.CacheService[string]) rc.Target { return rc.TagTarget("t").Soft() }, false, true, true, true},
		{"all", func(s *rc.CacheService[string]) rc.Target { return s.AllTarget() }, false, false, false, false},
		{"all soft", func(s *rc.CacheService[string]) rc.Target { return s.AllTarget().Soft() }, false, false, false, true},
		{"pattern", func(s *rc.CacheService[string]) rc.Target { return s.PatternTarget("a*") }, false, true, false, false},
		{"no ids", func(s *rc.CacheService[string]) rc.Target { return s.Target() }, true, true, true, false},
		{"no tags", func(*rc.CacheService[string]) rc.Target { return rc.TagTarget() }, true, true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			cfg := rc.Config[string]{StaleFor: time.Minute}
			_, w := instance(t, srv, calm(), cfg)
			m, s := instance(t, srv, calm(), cfg)
			on(t, m, func(orderShipped) []rc.Target { return []rc.Target{tt.target(s)} })
			for _, err := range []error{
				w.Set(t.Context(), "a", "v", rc.WithTags("t")),
				w.Set(t.Context(), "b", "v"),
				w.Set(t.Context(), "a", "v", rc.WithParams(params...)),
				rc.Emit(t.Context(), m, orderShipped{}),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			check := func(id string, there bool, opts ...rc.Opt) {
				t.Helper()
				v, err := s.GetOrSet(t.Context(), id, fails(errBoom, new(atomic.Int32)), opts...)
				if want := there || tt.soft; (err == nil && v == "v") != want {
					t.Errorf("GetOrSet(%q, %v) with a loader that fails = %q, %v, want a value: %v", id, opts, v, err, want)
				}
				if it, err := s.Lookup(t.Context(), id, opts...); there && (err != nil || it.Stale) {
					t.Errorf("Lookup(%q) = %+v, %v, want a fresh value", id, it, err)
				}
			}
			check("a", tt.a)
			check("b", tt.b)
			check("a", tt.paged, rc.WithParams(params...))
		})
	}
}

func TestBadTargets(t *testing.T) {
	t.Parallel()
	m, s := instance(t, start(t), rc.Options{}, rc.Config[string]{})
	var targets []rc.Target
	on(t, m, func(orderShipped) []rc.Target { return targets })
	for _, tt := range []struct {
		name   string
		target rc.Target
	}{
		{"zero", rc.Target{}},
		{"zero soft", rc.Target{}.Soft()},
		{"empty id", s.Target("a", "")},
		{"empty tag", rc.TagTarget("a", "")},
		{"odd params", s.Target("a").Params("page")},
		{"params of a tag", rc.TagTarget("a").Params("page", 1)},
		{"params of all", s.AllTarget().Params("page", 1)},
		{"empty pattern", s.PatternTarget("")},
		{"pattern without an end", s.PatternTarget("a[")},
		{"soft pattern", s.PatternTarget("a*").Soft()},
	} {
		targets = []rc.Target{tt.target}
		if err := rc.Emit(t.Context(), m, orderShipped{}); !errors.Is(err, rc.ErrTarget) {
			t.Errorf("%s: Emit = %v, want ErrTarget", tt.name, err)
		}
	}
}

// Targets are values: what is made of one does not change it.
func TestTargetsAreValues(t *testing.T) {
	t.Parallel()
	_, s := instance(t, start(t), rc.Options{}, rc.Config[string]{})
	// Three times, so that there is room behind the last one to be shared.
	base := s.Target("a").Params("x", 1).Params("x", 2).Params("x", 3)
	one, two, soft := base.Params("y", 1), base.Params("y", 2), base.Soft()
	for _, tt := range []struct {
		got  rc.Target
		want string
	}{
		{base, `race ["a"] [x 1 x 2 x 3]`},
		{one, `race ["a"] [x 1 x 2 x 3 y 1]`},
		{two, `race ["a"] [x 1 x 2 x 3 y 2]`},
		{soft, `soft race ["a"] [x 1 x 2 x 3]`},
		{rc.TagTarget("t"), `tags ["t"]`},
		{s.AllTarget(), `all of race`},
		{s.PatternTarget("a*"), `race matching "a*"`},
		{rc.Target{}, `nothing: the zero Target`},
	} {
		if got := tt.got.String(); got != tt.want {
			t.Errorf("String = %q, want %q", got, tt.want)
		}
	}
}

// Tags and identifiers of several mappings go out together.
func TestTargetsAreMerged(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, quiet(), rc.Config[string]{})
	for range 3 {
		on(t, m, func(e orderShipped) []rc.Target {
			return []rc.Target{s.Target(e.Order, e.User), rc.TagTarget("t", e.User)}
		})
	}
	set(t, s, "1", "v")
	srv.ResetCommands()
	if err := rc.Emit(t.Context(), m, orderShipped{"1", "2"}); err != nil {
		t.Fatal(err)
	}
	if n := srv.Commands(); n["DEL"] != 2 || n["SET"] != 4 {
		t.Errorf("commands = %v, want 2 DEL and 4 SET: each key and tag once", n)
	}
}

// A value this process has set, and then expired, is a fallback like any other.
func TestExpireAfterOwnSetKeepsTheFallback(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, calm(), rc.Config[string]{StaleFor: time.Minute})
	set(t, s, "a", "v")
	srv.FastForward(time.Second)
	if err := s.Expire(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if v, err := s.GetOrSet(t.Context(), "a", fails(errBoom, new(atomic.Int32))); v != "v" || err != nil {
		t.Errorf("GetOrSet after Set and Expire with a loader that fails = %q, %v, want the stale value", v, err)
	}
}

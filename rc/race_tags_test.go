package rc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ikey "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/rc"
)

// tagging is a configuration whose values are their own tags, separated by
// commas; the part before the first is not one.
func tagging() rc.Config[string] {
	return rc.Config[string]{Tags: func(_, v string) []string {
		parts := strings.Split(v, ",")
		return parts[1:]
	}}
}

// A verbCase is a way to invalidate what has tag "t" and is in the namespace
// of the services.
type verbCase struct {
	name string
	soft bool
	do   func(ctx context.Context, m *rc.Manager, s *rc.CacheService[string]) error
}

func tagVerbs() []verbCase {
	return []verbCase{
		{"InvalidateTag", false, func(ctx context.Context, m *rc.Manager, _ *rc.CacheService[string]) error {
			return m.InvalidateTag(ctx, "t")
		}},
		{"ExpireTag", true, func(ctx context.Context, m *rc.Manager, _ *rc.CacheService[string]) error {
			return m.ExpireTag(ctx, "t")
		}},
		{"Clear", false, func(ctx context.Context, _ *rc.Manager, s *rc.CacheService[string]) error { return s.Clear(ctx) }},
		{"ExpireAll", true, func(ctx context.Context, _ *rc.Manager, s *rc.CacheService[string]) error { return s.ExpireAll(ctx) }},
		{"InvalidateTag of a combination", false, func(ctx context.Context, m *rc.Manager, _ *rc.CacheService[string]) error {
			return m.InvalidateTag(ctx, rc.AllOf("u", "t"))
		}},
	}
}

const taggedValue = "v,t,u"

// both returns taggedValue's tags and their combination.
func both() rc.Config[string] {
	return rc.Config[string]{Tags: func(_, v string) []string {
		parts := strings.Split(v, ",")[1:]
		if len(parts) > 1 {
			parts = append(parts, rc.AllOf(parts...))
		}
		return parts
	}}
}

// missing fails the test if a service still has a value.
func missing(t *testing.T, s *rc.CacheService[string], id, who string) {
	t.Helper()
	if v, found, err := s.Get(t.Context(), id); found || err != nil {
		t.Errorf("%s: Get = %q, %v, %v, want none", who, v, found, err)
	}
}

// TestRaceTagReadYourOwn is promise G3 for tags and namespaces: after the verb
// has returned, this Manager finds nothing of it, in memory or in Redis; the
// others find nothing after the push.
func TestRaceTagReadYourOwn(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		t.Run(vc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			ma, a := instance(t, srv, calm(), both())
			_, b := instance(t, srv, calm(), both())
			fill(t, a, "k", taggedValue)
			fill(t, a, "other", "w,x")
			cached(t, b, "k", taggedValue)
			before := srv.Commands()["GET"]
			cached(t, a, "k", taggedValue)
			cached(t, b, "k", taggedValue)
			if n := srv.Commands()["GET"] - before; n != 0 {
				t.Errorf("%d GETs for hits of tagged values, want none", n)
			}
			if err := vc.do(t.Context(), ma, a); err != nil {
				t.Fatal(err)
			}
			missing(t, a, "k", "the invalidator")
			until(t, "the other instance is told", func() bool { _, found, _ := b.Get(t.Context(), "k"); return !found })
			missing(t, b, "k", "another")
			if vc.name == "InvalidateTag" || vc.name == "ExpireTag" {
				cached(t, a, "other", "w,x")
				cached(t, b, "other", "w,x")
			}
		})
	}
}

// TestRaceTagStaleFill is promise G2 for tags and namespaces: what was loaded
// before the verb is never stored so that somebody is served it, whether the
// tag was known before the load or is named by the value, and was never heard
// of by this process.
func TestRaceTagStaleFill(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		for _, warm := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/warm=%v", vc.name, warm), func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				_, a := instance(t, srv, calm(), both())
				mb, b := instance(t, srv, calm(), both())
				if warm {
					fill(t, a, "before", taggedValue)
				}
				got, err := a.GetOrSet(t.Context(), "k", func(ctx context.Context) (string, error) {
					return taggedValue, vc.do(ctx, mb, b)
				})
				if err != nil || got != taggedValue {
					t.Fatalf("GetOrSet = %q, %v", got, err)
				}
				missing(t, b, "k", "another")
				until(t, "the other instance is told", func() bool { _, found, _ := a.Get(t.Context(), "k"); return !found })
				var n atomic.Int32
				if v, err := a.GetOrSet(t.Context(), "k", gives("new,t,u", &n)); v != "new,t,u" || err != nil {
					t.Errorf("GetOrSet afterwards = %q, %v", v, err)
				}
				cached(t, b, "k", "new,t,u")
			})
		}
	}
}

// TestRaceTagColdIsStored: a tag nobody has heard of does not keep the value
// from being stored with its first load, one by one or in a batch.
func TestRaceTagColdIsStored(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), both())
	_, b := instance(t, srv, calm(), both())
	fill(t, a, "k", "v,cold")
	cached(t, b, "k", "v,cold")
	_, err := a.GetOrSetMany(t.Context(), []string{"m1", "m2"}, func(_ context.Context, ids []string) (map[string]string, error) {
		return map[string]string{"m1": "v,cold1", "m2": "v,cold2"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cached(t, b, "m1", "v,cold1")
	cached(t, b, "m2", "v,cold2")
	if st := a.Stats(); st.Fills != 3 || st.FillsVoided != 0 {
		t.Errorf("Fills = %d, FillsVoided = %d, want 3 and 0", st.Fills, st.FillsVoided)
	}
}

// TestRaceTagSoft: what was expired is served when its load fails, what was
// purged is not.
func TestRaceTagSoft(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		t.Run(vc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			cfg := both()
			cfg.StaleFor, cfg.ErrorBackoff = time.Hour, rc.Off
			m, s := instance(t, srv, calm(), cfg)
			fill(t, s, "k", taggedValue)
			if err := vc.do(t.Context(), m, s); err != nil {
				t.Fatal(err)
			}
			v, err := s.GetOrSet(t.Context(), "k", fails(errBoom, new(atomic.Int32)))
			if vc.soft && (v != taggedValue || err != nil) {
				t.Errorf("GetOrSet = %q, %v, want the stale value", v, err)
			}
			if !vc.soft && !errors.Is(err, errBoom) {
				t.Errorf("GetOrSet = %q, %v, want the loader's error", v, err)
			}
		})
	}
}

// TestRaceTagTokenLost: a token that was deleted, evicted or replaced by
// somebody else's bytes makes misses and revives nothing.
func TestRaceTagTokenLost(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), both())
	c := m.Client()
	nsKey := strings.TrimSuffix(key(t, s, "k"), "{k}") + "#token"
	for _, lost := range []string{ikey.TagKey("", "t"), ikey.TagKey("", "u"), nsKey} {
		for _, how := range []string{"DEL", "garbage", "list"} {
			set(t, s, "k", taggedValue)
			if err := m.InvalidateTag(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			missing(t, s, "k", "after InvalidateTag")
			set(t, s, "k2", taggedValue)
			var err error
			switch how {
			case "DEL":
				err = c.Do(t.Context(), c.B().Del().Key(lost).Build()).Error()
			case "garbage":
				err = c.Do(t.Context(), c.B().Set().Key(lost).Value("x").Build()).Error()
			case "list":
				_ = c.Do(t.Context(), c.B().Del().Key(lost).Build()).Error()
				err = c.Do(t.Context(), c.B().Lpush().Key(lost).Element("x").Build()).Error()
			}
			if err != nil {
				t.Fatal(err)
			}
			until(t, "the other instance is told", func() bool { _, found, _ := s.Get(t.Context(), "k2"); return !found })
			missing(t, s, "k", how+" of "+lost)
			fill(t, s, "k2", taggedValue)
			cached(t, s, "k2", taggedValue)
		}
	}
}

// TestRaceTagUnreachable: while Redis cannot be asked for a token that was
// invalidated by this process and could not be told, no value with it is
// served, and the invalidation is delivered later.
func TestRaceTagUnreachable(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		t.Run(vc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			opts := calm()
			opts.OpTimeout = time.Second
			cfg := both()
			cfg.StaleFor = time.Hour
			ma, a := instance(t, srv, opts, cfg)
			_, b := instance(t, srv, calm(), cfg)
			fill(t, a, "k", taggedValue)
			cached(t, b, "k", taggedValue)
			srv.Freeze()
			err := vc.do(t.Context(), ma, a)
			var inv *rc.InvalidationError
			if !errors.As(err, &inv) || !inv.Queued {
				t.Fatalf("%s = %v, want a queued InvalidationError", vc.name, err)
			}
			if v, found, _ := a.Get(t.Context(), "k"); found {
				t.Errorf("Get = %q of a value whose tag was invalidated and Redis not told", v)
			}
			srv.Thaw()
			until(t, "the other instance is told", func() bool { return ma.Stats().QueueLen == 0 })
			until(t, "the other instance is told", func() bool { _, found, _ := b.Get(t.Context(), "k"); return !found })
		})
	}
}

// TestTagBad: tags that cannot be are errors, and lose nothing.
func TestTagBad(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), tagging())
	fill(t, s, "k", "v,t")
	long := strings.Repeat("x", 513)
	for _, tag := range []string{"", long} {
		if err := m.InvalidateTag(t.Context(), "t", tag); !errors.Is(err, rc.ErrTag) {
			t.Errorf("InvalidateTag of %d bytes = %v, want ErrTag", len(tag), err)
		}
		if _, err := s.GetOrSet(t.Context(), "x", never(t), rc.WithTags(tag)); !errors.Is(err, rc.ErrTag) {
			t.Errorf("WithTags of %d bytes = %v, want ErrTag", len(tag), err)
		}
		if err := s.Set(t.Context(), "bad", "v,"+tag); !errors.Is(err, rc.ErrTag) {
			t.Errorf("Set = %v, want ErrTag", err)
		}
		missing(t, s, "bad", "after a Set that failed")
		var n atomic.Int32
		if v, err := s.GetOrSet(t.Context(), "load", gives("v,"+tag, &n)); v != "v,"+tag || err != nil {
			t.Errorf("GetOrSet with bad tags = %d bytes, %v, want the value", len(v), err)
		}
		missing(t, s, "load", "after a load with bad tags")
	}
	cached(t, s, "k", "v,t") // nothing was sent for the good one beside them
	many := make([]string, rc.MaxTags+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	if err := s.Set(t.Context(), "many", "v,"+strings.Join(many, ",")); !errors.Is(err, rc.ErrTag) {
		t.Errorf("Set with %d tags = %v, want ErrTag", len(many), err)
	}
	if err := m.InvalidateTag(t.Context()); err != nil {
		t.Errorf("InvalidateTag of nothing = %v", err)
	}
	if err := m.InvalidateTag(t.Context(), many...); err != nil {
		t.Errorf("InvalidateTag of %d tags = %v", len(many), err)
	}
}

// TestTagSources: tags of the call, of the loader and of the value add up.
func TestTagSources(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), tagging())
	for _, tag := range []string{"call", "loader", "value"} {
		for i := range 2 { // the first AddTags of a service is not stored
			_, err := s.GetOrSet(t.Context(), "k", func(ctx context.Context) (string, error) {
				rc.AddTags(ctx, "loader")
				return "v,value", nil
			}, rc.WithTags("call"))
			if err != nil {
				t.Fatalf("GetOrSet %d: %v", i, err)
			}
		}
		cached(t, s, "k", "v,value")
		if err := m.InvalidateTag(t.Context(), tag); err != nil {
			t.Fatal(err)
		}
		missing(t, s, "k", "after InvalidateTag of "+tag)
	}
}

package rc_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// batch calls GetOrSetMany with a loader that answers from a map and records
// what it was asked for.
func batch(t *testing.T, s *rc.CacheService[string], ids []string, source map[string]string, err error) (got map[string]string, asked [][]string, _ error) {
	t.Helper()
	got, e := s.GetOrSetMany(t.Context(), ids, func(_ context.Context, missing []string) (map[string]string, error) {
		asked = append(asked, slices.Sorted(slices.Values(missing)))
		return source, err
	})
	return got, asked, e
}

func TestManyDefinitions(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, calm(), rc.Config[string]{ErrorBackoff: rc.Off})
	set(t, s, "hit", "cached")
	source := map[string]string{"a": "1", "b": "2", "unasked": "x"}
	got, asked, err := batch(t, s, []string{"a", "hit", "b", "a", "none", "b"}, source, nil)
	if want := map[string]string{"a": "1", "b": "2", "hit": "cached"}; !maps.Equal(got, want) || err != nil {
		t.Errorf("GetOrSetMany = %v, %v, want %v", got, err, want)
	}
	if len(asked) != 1 || !slices.Equal(asked[0], []string{"a", "b", "none"}) {
		t.Errorf("the loader was asked for %v, want a, b, none once", asked)
	}
	cached(t, s, "unasked", "")
	// What it did not return is remembered as not found.
	got, asked, err = batch(t, s, []string{"a", "none"}, nil, nil)
	if !maps.Equal(got, map[string]string{"a": "1"}) || len(asked) != 0 || err != nil {
		t.Errorf("GetOrSetMany again = %v, %v, loader asked for %v, want a from the cache", got, err, asked)
	}
	if _, err := s.GetOrSet(t.Context(), "none", never(t)); !errors.Is(err, rc.ErrNotFound) {
		t.Errorf("GetOrSet of an identifier the loader did not return = %v, want ErrNotFound", err)
	}
	if got, asked, err = batch(t, s, nil, nil, nil); len(got) != 0 || len(asked) != 0 || err != nil {
		t.Errorf("GetOrSetMany of nothing = %v, %v, loader asked for %v", got, err, asked)
	}
}

// Failures are those of their identifiers; the others get their values.
func TestManyErrors(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, calm(), rc.Config[string]{ErrorBackoff: rc.Off})
	set(t, s, "hit", "cached")
	got, asked, err := batch(t, s, []string{"hit", "", "a", "b"}, nil, errBoom)
	var me *rc.ManyError
	if !errors.As(err, &me) || !errors.Is(err, errBoom) {
		t.Fatalf("GetOrSetMany = %v, want a ManyError", err)
	}
	if len(me.Errs) != 3 || !errors.Is(me.Errs["a"], errBoom) || !errors.Is(me.Errs["b"], errBoom) || me.Errs[""] == nil || errors.Is(me.Errs[""], errBoom) {
		t.Errorf("errors %v, want those of a, b and the empty identifier", me.Errs)
	}
	if !maps.Equal(got, map[string]string{"hit": "cached"}) || len(asked) != 1 {
		t.Errorf("values %v, loader asked for %v", got, asked)
	}
	for _, id := range []string{"a", "b"} {
		if n := do(t, srv, "EXISTS", leaseKey(t, s, id)); n != int64(0) {
			t.Errorf("the claim on %q is still there", id)
		}
	}
	if err := s.SetMany(t.Context(), map[string]string{"a": "1", "": "2"}); !errors.As(err, &me) || len(me.Errs) != 1 || me.Errs[""] == nil {
		t.Errorf("SetMany = %v, want the error of the empty identifier", err)
	}
	cached(t, s, "a", "1")
	if err := s.DeleteMany(t.Context(), []string{"", "a"}); !errors.As(err, &me) || len(me.Errs) != 1 {
		t.Errorf("DeleteMany = %v, want the error of the empty identifier", err)
	}
	cached(t, s, "a", "")
}

// Identifiers that another instance loads are waited for, and not loaded here;
// those it fails to load are.
func TestManyHeldElsewhere(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour, ErrorBackoff: rc.Off}
	_, a := instance(t, srv, calm(), cfg)
	mb, b := instance(t, srv, calm(), cfg)
	good, bad := newLoader(), newLoader()
	fa := async(func() (string, error) { return a.GetOrSet(t.Context(), "good", good.load) })
	fb := async(func() (string, error) { return a.GetOrSet(t.Context(), "bad", bad.load) })
	good.begin(t)
	bad.begin(t)
	var asked atomic.Int32
	var got map[string]string
	f := async(func() (string, error) {
		var err error
		got, err = b.GetOrSetMany(t.Context(), []string{"good", "bad", "own"}, func(_ context.Context, ids []string) (map[string]string, error) {
			asked.Add(int32(len(ids)))
			out := map[string]string{}
			for _, id := range ids {
				out[id] = "B's " + id
			}
			return out, nil
		})
		return "", err
	})
	until(t, "B to wait for two", func() bool { return mb.Stats().Waits == 2 })
	until(t, "B to load its own", func() bool { return asked.Load() == 1 })
	good.finish("A's good", nil)
	bad.finish("", errBoom)
	fa.want(t, "A's good")
	if _, err := fb.get(t); !errors.Is(err, errBoom) {
		t.Errorf("A's bad load = %v", err)
	}
	f.want(t, "")
	if want := map[string]string{"good": "A's good", "bad": "B's bad", "own": "B's own"}; !maps.Equal(got, want) {
		t.Errorf("GetOrSetMany = %v, want %v", got, want)
	}
}

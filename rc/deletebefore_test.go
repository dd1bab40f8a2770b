package rc_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// before deletes what is older than a version, and fails the test if it cannot.
func before(t *testing.T, s *rc.CacheService[string], version uint64) {
	t.Helper()
	if err := s.DeleteBefore(t.Context(), "k", version); err != nil {
		t.Fatalf("DeleteBefore(%d) = %v", version, err)
	}
}

// absent checks that every way to read says there is nothing, and in particular
// not that the source has nothing.
func absent(t *testing.T, s *rc.CacheService[string], id string) {
	t.Helper()
	missing(t, s, id, "Get")
	if ok, err := s.Exists(t.Context(), id); ok || err != nil {
		t.Errorf("Exists = %v, %v, want false", ok, err)
	}
	if it, err := s.Lookup(t.Context(), id); it.Found || it.NotFound || err != nil {
		t.Errorf("Lookup = %+v, %v, want nothing", it, err)
	}
	if ttl, ok, err := s.TTL(t.Context(), id); ok || ttl != 0 || err != nil {
		t.Errorf("TTL = %v, %v, %v, want none", ttl, ok, err)
	}
}

// TestDeleteBeforeWhatIsThere: what is older goes, and so does the version
// itself, which costs a load; what is newer stays. A value without a version
// goes.
func TestDeleteBeforeWhatIsThere(t *testing.T) {
	t.Parallel()
	for stored, stays := range map[string]bool{"4:v": false, "5:v": false, "6:v": true, "0:v": false, "": false} {
		t.Run("stored "+stored, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, a := instance(t, srv, calm(), versions())
			_, b := instance(t, srv, calm(), versions())
			if stored != "" {
				set(t, b, "k", stored)
				cached(t, a, "k", stored)
			}
			before(t, a, 5)
			if stays {
				cached(t, a, "k", stored)
				cached(t, b, "k", stored)
				return
			}
			absent(t, a, "k")
			cached(t, b, "k", "")
			absent(t, b, "k")
		})
	}
}

// TestDeleteBeforeKeepsOlderOut: a load or a Set of an older version is not
// stored, by whomever; the version itself and newer ones are.
func TestDeleteBeforeKeepsOlderOut(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"GetOrSet", "GetOrSetMany", "Refresh", "Set", "SetMany", "SetVersion"} {
		for v, kept := range map[string]bool{"4:v": false, "5:v": true, "6:v": true} {
			t.Run(how+" "+v, func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				_, a := instance(t, srv, calm(), versions())
				_, b := instance(t, srv, calm(), versions())
				before(t, a, 5)
				if got, err := bring(t.Context(), b, how, v); got != v || err != nil {
					t.Errorf("%s = %q, %v, want %q", how, got, err, v)
				}
				if kept {
					cached(t, a, "k", v)
					cached(t, b, "k", v)
					return
				}
				absent(t, a, "k")
				absent(t, b, "k")
				fill(t, a, "k", "7:new") // and the key is free
				cached(t, b, "k", "7:new")
			})
		}
	}
}

// bring stores a value of "k" in one of the ways there are.
func bring(ctx context.Context, s *rc.CacheService[string], how, v string) (string, error) {
	switch how {
	case "GetOrSetMany":
		m, err := s.GetOrSetMany(ctx, []string{"k"}, func(context.Context, []string) (map[string]string, error) {
			return map[string]string{"k": v}, nil
		})
		return m["k"], err
	case "Refresh":
		return s.Refresh(ctx, "k", gives(v, new(atomic.Int32)))
	case "Set":
		return v, s.Set(ctx, "k", v)
	case "SetMany":
		return v, s.SetMany(ctx, map[string]string{"k": v})
	case "SetVersion":
		return s.GetOrSet(ctx, "k", func(ctx context.Context) (string, error) {
			rc.SetVersion(ctx, uint64(v[0]-'0'))
			return v, nil
		})
	}
	return s.GetOrSet(ctx, "k", gives(v, new(atomic.Int32)))
}

// TestDeleteBeforeVoidsLoads: a load in flight is not stored, whatever its
// version: it may have begun before.
func TestDeleteBeforeVoidsLoads(t *testing.T) {
	t.Parallel()
	for i, who := range []string{"same", "another"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, a := instance(t, srv, calm(), versions())
			_, b := instance(t, srv, calm(), versions())
			got, err := a.GetOrSet(t.Context(), "k", func(ctx context.Context) (string, error) {
				return "6:v", []*rc.CacheService[string]{a, b}[i].DeleteBefore(ctx, "k", 5)
			})
			if got != "6:v" || err != nil {
				t.Fatalf("GetOrSet = %q, %v", got, err)
			}
			absent(t, a, "k")
			absent(t, b, "k")
		})
	}
}

// TestDeleteBeforeLasts: the tombstone is there for as long as a value could
// live, Config.StaleFor included, and not for ever; a later one with an older
// version does not replace it; Expire leaves it, Delete removes it.
func TestDeleteBeforeLasts(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := versions()
	cfg.StaleFor = 10 * time.Minute
	_, s := instance(t, srv, calm(), cfg)
	refused := func(when string) {
		t.Helper()
		if _, err := s.GetOrSet(t.Context(), "k", gives("4:old", new(atomic.Int32))); err != nil {
			t.Fatal(err)
		}
		missing(t, s, "k", when)
	}
	before(t, s, 5)
	srv.FastForward(9 * time.Minute)
	refused("after 9m")
	before(t, s, 3)
	refused("after one of an older version")
	if err := s.Expire(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	refused("after Expire")
	srv.FastForward(time.Hour)
	if n := do(t, srv, "EXISTS", key(t, s, "k")); n != int64(0) {
		t.Error("the tombstone stays for ever")
	}
	fill(t, s, "k", "4:old")
	before(t, s, 5)
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	fill(t, s, "k", "4:old")
}

// TestDeleteBeforeNotFound: the source says that the value is gone, as it does
// after the deletion that DeleteBefore is for. That is remembered, and does not
// let an older version in when it is forgotten.
func TestDeleteBeforeNotFound(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := versions()
	cfg.TTL, cfg.NegativeTTL = time.Hour, time.Minute
	_, s := instance(t, srv, calm(), cfg)
	set(t, s, "k", "4:v")
	before(t, s, 5)
	for i := range 2 { // the second time as the first
		_, err := s.GetOrSet(t.Context(), "k", fails(rc.ErrNotFound, new(atomic.Int32)))
		if !errors.Is(err, rc.ErrNotFound) {
			t.Fatalf("GetOrSet = %v, want ErrNotFound", err)
		}
		srv.FastForward(2 * time.Minute)
		if _, err := s.GetOrSet(t.Context(), "k", gives("4:lagging", new(atomic.Int32))); err != nil {
			t.Fatal(err)
		}
		missing(t, s, "k", fmt.Sprint("after a lagging load, round ", i))
	}
}

// TestDeleteBeforeErrors: version 0 is none, an identifier must be one; nothing
// is done then.
func TestDeleteBeforeErrors(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), versions())
	set(t, s, "k", "4:v")
	for _, c := range []struct {
		id      string
		version uint64
	}{{"k", 0}, {"", 5}} {
		if err := s.DeleteBefore(t.Context(), c.id, c.version); err == nil {
			t.Errorf("DeleteBefore(%q, %d) = nil, want an error", c.id, c.version)
		}
	}
	inMemory(t, srv, s, "4:v")
	if n := m.Stats().Invalidations; n != 1 {
		t.Errorf("Invalidations = %d, want that of Set alone", n)
	}
}

// TestDeleteBeforeQueued: what Redis could not be told is kept, with its
// version: this process does not serve the old value, and the tombstone comes
// later. Neither a write of an older version meanwhile, nor a later Expire that
// fails as well, makes up for it.
func TestDeleteBeforeQueued(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(t *testing.T, srv *rctest.Server, s *rc.CacheService[string]){
		"alone":           func(*testing.T, *rctest.Server, *rc.CacheService[string]) {},
		"Set of an older": func(t *testing.T, _ *rctest.Server, s *rc.CacheService[string]) { set(t, s, "k", "4:lagging") },
		"Expire":          func(t *testing.T, _ *rctest.Server, s *rc.CacheService[string]) { _ = s.Expire(t.Context(), "k") },
		"Expire that fails": func(t *testing.T, srv *rctest.Server, s *rc.CacheService[string]) {
			srv.FailNext("EVALSHA", "OOM command not allowed", 1)
			if err := s.Expire(t.Context(), "k"); err == nil {
				t.Error("Expire = nil, want an error")
			}
		},
		"a read": func(t *testing.T, _ *rctest.Server, s *rc.CacheService[string]) { missing(t, s, "k", "a read") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m, a := instance(t, srv, quiet(), versions())
			_, b := instance(t, srv, calm(), versions())
			warm(t, a)
			set(t, a, "k", "3:old")
			cached(t, b, "k", "3:old")
			srv.FailNext("EVALSHA", "OOM command not allowed", 1)
			var inv *rc.InvalidationError
			if err := a.DeleteBefore(t.Context(), "k", 5); !errors.As(err, &inv) || !inv.Queued {
				t.Fatalf("DeleteBefore = %v, want a queued InvalidationError", err)
			}
			then(t, srv, a)
			if err := m.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			absent(t, a, "k")
			cached(t, b, "k", "")
			if _, err := b.GetOrSet(t.Context(), "k", gives("4:lagging", new(atomic.Int32))); err != nil {
				t.Fatal(err)
			}
			absent(t, a, "k")
			absent(t, b, "k")
			fill(t, b, "k", "5:v")
			cached(t, a, "k", "5:v")
		})
	}
}

// TestDeleteBeforeReplayed: a tombstone that a failover has lost is there again,
// and does not undo what is newer.
func TestDeleteBeforeReplayed(t *testing.T) {
	t.Parallel()
	for after, want := range map[string]string{"": "", "4:v": "", "6:v": "6:v"} {
		t.Run("then "+after, func(t *testing.T) {
			t.Parallel()
			srv, l, m, a, b := replaying(t, calm(), versions())
			set(t, b, "k", "3:old")
			lost := snap(t, srv)
			before(t, a, 5)
			lost.restore(t, srv)
			if after != "" {
				set(t, b, "k", after)
			}
			l.cut()
			until(t, "the replay", func() bool { st := m.Stats(); return st.Resent > 0 && st.QueueLen == 0 })
			cached(t, b, "k", want)
			cached(t, a, "k", want)
			if _, err := b.GetOrSet(t.Context(), "k", gives("4:lagging", new(atomic.Int32))); err != nil {
				t.Fatal(err)
			}
			cached(t, a, "k", want)
		})
	}
}

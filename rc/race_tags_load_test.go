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

// gone checks that a load from before a verb left nothing that is served, and
// that its key can be loaded again.
func gone(t *testing.T, services ...*rc.CacheService[string]) {
	t.Helper()
	for i, s := range services {
		cached(t, s, "k", "") // in time, for those whom only a push tells
		missing(t, s, "k", fmt.Sprint("instance ", i))
	}
	fill(t, services[0], "k", "new,t,u")
	for _, s := range services {
		cached(t, s, "k", "new,t,u")
	}
}

// eachTagVerb runs a test for each verb, through the Manager that loads and
// through another one.
func eachTagVerb(t *testing.T, test func(t *testing.T, vc verbCase, through int)) {
	for _, vc := range tagVerbs() {
		for i, who := range []string{"same", "another"} {
			t.Run(vc.name+" through the "+who, func(t *testing.T) {
				t.Parallel()
				test(t, vc, i)
			})
		}
	}
}

// TestRaceTagBeforeTheFill: the verb falls between the end of the load, when
// its tokens have been looked at, and its fill, or between the fill and memory.
func TestRaceTagBeforeTheFill(t *testing.T) {
	t.Parallel()
	eachTagVerb(t, func(t *testing.T, vc verbCase, through int) {
		srv := start(t)
		ma, a := instance(t, srv, calm(), both())
		mb, b := instance(t, srv, calm(), both())
		warm(t, a)
		warm(t, b)
		if err := vc.do(t.Context(), mb, b); err != nil { // its script is known, too
			t.Fatal(err)
		}
		fill(t, a, "before", taggedValue) // the tags and their guards are in memory
		l := newLoader()
		load := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
		l.begin(t)
		arrived, release := srv.Hold("EVALSHA") // the fill
		l.finish(taggedValue, nil)
		event(t, arrived, "the fill")
		done := async(func() (string, error) {
			return "", vc.do(t.Context(), []*rc.Manager{ma, mb}[through], []*rc.CacheService[string]{a, b}[through])
		})
		if through == 1 { // over another connection: it overtakes the fill
			done.want(t, "")
		}
		release()
		load.want(t, taggedValue)
		done.want(t, "")
		gone(t, a, b)
	})
}

// TestRaceTagBeforeMemory: the verb falls between the reply that brought the
// value and its entry in memory.
func TestRaceTagBeforeMemory(t *testing.T) {
	t.Parallel()
	eachTagVerb(t, func(t *testing.T, vc verbCase, through int) {
		srv := start(t)
		codec := newGated(taggedValue)
		cfg := both()
		cfg.Codec = codec
		ma, a := instance(t, srv, calm(), cfg)
		cfg.Codec = rc.String{}
		mb, b := instance(t, srv, calm(), cfg)
		fill(t, b, "k", taggedValue)
		read := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
		event(t, codec.arrived, "the reply")
		if err := vc.do(t.Context(), []*rc.Manager{ma, mb}[through], []*rc.CacheService[string]{a, b}[through]); err != nil {
			t.Fatal(err)
		}
		close(codec.release)
		_, _ = read.get(t) // it began before
		gone(t, a, b)
	})
}

// TestRaceTagOfTheLoader: tags that only the loader names with AddTags are no
// secret to an invalidation while it runs, the first time and later.
func TestRaceTagOfTheLoader(t *testing.T) {
	t.Parallel()
	eachTagVerb(t, func(t *testing.T, vc verbCase, through int) {
		srv := start(t)
		ma, a := instance(t, srv, calm(), rc.Config[string]{})
		mb, b := instance(t, srv, calm(), rc.Config[string]{})
		for range 3 {
			_, err := a.GetOrSet(t.Context(), "k", func(ctx context.Context) (string, error) {
				rc.AddTags(ctx, "u", "t", rc.AllOf("t", "u"))
				return "old", vc.do(ctx, []*rc.Manager{ma, mb}[through], []*rc.CacheService[string]{a, b}[through])
			})
			if err != nil {
				t.Fatal(err)
			}
			cached(t, a, "k", "")
			missing(t, a, "k", "the loader")
			missing(t, b, "k", "another")
		}
		_, err := a.GetOrSet(t.Context(), "k", func(ctx context.Context) (string, error) {
			rc.AddTags(ctx, "u", "t", rc.AllOf("t", "u"))
			return "new", nil
		})
		if err != nil {
			t.Fatal(err)
		}
		cached(t, a, "k", "new")
		cached(t, b, "k", "new")
	})
}

// TestRaceTagOfTheCall: tags of WithTags are captured before the load, with no
// guard at all.
func TestRaceTagOfTheCall(t *testing.T) {
	t.Parallel()
	eachTagVerb(t, func(t *testing.T, vc verbCase, through int) {
		srv := start(t)
		ma, a := instance(t, srv, calm(), rc.Config[string]{})
		mb, b := instance(t, srv, calm(), rc.Config[string]{})
		tags := rc.WithTags("t", "u", rc.AllOf("t", "u"))
		_, err := a.GetOrSet(t.Context(), "k", func(ctx context.Context) (string, error) {
			return "old", vc.do(ctx, []*rc.Manager{ma, mb}[through], []*rc.CacheService[string]{a, b}[through])
		}, tags)
		if err != nil {
			t.Fatal(err)
		}
		cached(t, a, "k", "")
		missing(t, b, "k", "another")
		if v, err := a.GetOrSet(t.Context(), "k", gives("new", new(atomic.Int32)), tags); v != "new" || err != nil {
			t.Fatalf("GetOrSet = %q, %v", v, err)
		}
		cached(t, a, "k", "new")
		cached(t, b, "k", "new")
		if n := a.Stats().FillsVoided; n != 0 {
			t.Errorf("FillsVoided = %d, want 0: the tags were known", n)
		}
	})
}

// TestRaceTagBatch: the same for the loads of a batch, with tags of the values
// and of the call.
func TestRaceTagBatch(t *testing.T) {
	t.Parallel()
	eachTagVerb(t, func(t *testing.T, vc verbCase, through int) {
		srv := start(t)
		ma, a := instance(t, srv, calm(), both())
		mb, b := instance(t, srv, calm(), both())
		fill(t, b, "warm", "v,t,u")
		got, err := a.GetOrSetMany(t.Context(), []string{"k", "l"}, func(ctx context.Context, _ []string) (map[string]string, error) {
			return map[string]string{"k": taggedValue, "l": "v,x"},
				vc.do(ctx, []*rc.Manager{ma, mb}[through], []*rc.CacheService[string]{a, b}[through])
		})
		if err != nil || got["k"] != taggedValue || got["l"] != "v,x" {
			t.Fatalf("GetOrSetMany = %v, %v", got, err)
		}
		gone(t, a, b)
		got, err = b.GetOrSetMany(t.Context(), []string{"k", "m"}, func(_ context.Context, ids []string) (map[string]string, error) {
			if len(ids) != 1 || ids[0] != "m" {
				t.Errorf("the loader of a batch is asked for %q, want only what is not cached", ids)
			}
			return map[string]string{"m": taggedValue}, nil
		})
		if err != nil || got["k"] != "new,t,u" || got["m"] != taggedValue {
			t.Errorf("GetOrSetMany = %v, %v", got, err)
		}
		if err := vc.do(t.Context(), mb, b); err != nil {
			t.Fatal(err)
		}
		got, err = b.GetOrSetMany(t.Context(), []string{"k", "m"}, func(_ context.Context, ids []string) (map[string]string, error) {
			return map[string]string{"k": "again", "m": "again"}, nil
		})
		if err != nil || got["k"] != "again" || got["m"] != "again" {
			t.Errorf("GetOrSetMany after the verb = %v, %v, want what was loaded again", got, err)
		}
	})
}

// TestRaceTagRefresh: the verb falls into a refresh in the background.
func TestRaceTagRefresh(t *testing.T) {
	t.Parallel()
	eachTagVerb(t, func(t *testing.T, vc verbCase, through int) {
		srv := start(t)
		opts := calm()
		opts.MaxStaleness = 10 * time.Hour
		cfg := both()
		cfg.TTL, cfg.EarlyFraction = time.Hour, 0.5
		ma, a := instance(t, srv, opts, cfg)
		mb, b := instance(t, srv, opts, cfg)
		fill(t, a, "k", taggedValue)
		srv.FastForward(40 * time.Minute)
		l := newLoader()
		if got, err := a.GetOrSet(t.Context(), "k", l.load); got != taggedValue || err != nil {
			t.Fatalf("GetOrSet of a value that is due = %q, %v", got, err)
		}
		l.begin(t)
		if err := vc.do(t.Context(), []*rc.Manager{ma, mb}[through], []*rc.CacheService[string]{a, b}[through]); err != nil {
			t.Fatal(err)
		}
		l.finish("refreshed,t,u", nil)
		until(t, "the refresh to end", func() bool { return ma.Stats().Refreshes == 1 })
		gone(t, a, b)
	})
}

// TestRaceTagLateReaderDoesNotJoin: a caller that comes after the verb does
// not share a load from before.
func TestRaceTagLateReaderDoesNotJoin(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		t.Run(vc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m, s := instance(t, srv, calm(), both())
			old, fresh := newLoader(), newLoader()
			lead := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", old.load) })
			old.begin(t)
			if err := vc.do(t.Context(), m, s); err != nil {
				t.Fatal(err)
			}
			// The claim stands; the late one waits for it as another process does.
			late := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", fresh.load) })
			until(t, "the late caller to wait", func() bool { return s.Stats().Waits >= 1 })
			old.finish("old,t,u", nil)
			lead.want(t, "old,t,u")
			fresh.begin(t)
			fresh.finish("new,t,u", nil)
			late.want(t, "new,t,u")
			cached(t, s, "k", "new,t,u")
		})
	}
}

// TestRaceTagAgainstSet: Set and InvalidateTag at the same time: what Set
// stored is there with the new token, or not there. It is never there for one
// and gone for the other, and a Set after InvalidateTag stays.
func TestRaceTagAgainstSet(t *testing.T) {
	t.Parallel()
	for _, many := range []bool{false, true} {
		t.Run(fmt.Sprintf("many=%v", many), func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, a := instance(t, srv, calm(), tagging())
			mb, b := instance(t, srv, calm(), tagging())
			warm(t, a)
			write := func(v string) error {
				if many {
					return a.SetMany(t.Context(), map[string]string{"k": v, "l": v})
				}
				return a.Set(t.Context(), "k", v)
			}
			if err := write("first,t"); err != nil {
				t.Fatal(err)
			}
			arrived, release := srv.Hold("EVALSHA") // the token is known: this is the write
			wrote := async(func() (string, error) { return "", write("second,t") })
			event(t, arrived, "the write")
			if err := mb.InvalidateTag(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			missing(t, b, "k", "the invalidator")
			release()
			wrote.want(t, "")
			missing(t, b, "k", "the invalidator, of a write with the token from before")
			cached(t, a, "k", "")
			if err := write("third,t"); err != nil {
				t.Fatal(err)
			}
			cached(t, a, "k", "third,t")
			cached(t, b, "k", "third,t")
		})
	}
}

// TestRaceTagTwoServices: services of different types and namespaces share
// tags; Clear of one is not that of the other.
func TestRaceTagTwoServices(t *testing.T) {
	t.Parallel()
	srv := start(t)
	ma, a := instance(t, srv, calm(), tagging())
	mb := open(t, srv, calm())
	lens, err := rc.New(mb, "lens", rc.Config[int]{Tags: func(string, int) []string { return []string{"t"} }})
	if err != nil {
		t.Fatal(err)
	}
	reset := func() {
		set(t, a, "k", "v,t")
		if err := lens.Set(t.Context(), "k", 7); err != nil {
			t.Fatal(err)
		}
		if n, found, err := lens.Get(t.Context(), "k"); n != 7 || !found || err != nil {
			t.Errorf("Get = %d, %v, %v, want 7", n, found, err)
		}
		_, fresh := instance(t, srv, calm(), tagging())
		cached(t, fresh, "k", "v,t") // both have the one token of the tag
	}
	reset()
	if err := ma.InvalidateTag(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	missing(t, a, "k", "the invalidator")
	until(t, "the other service is told", func() bool { _, found, _ := lens.Get(t.Context(), "k"); return !found })
	reset()
	if err := lens.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, found, err := lens.Get(t.Context(), "k"); found || err != nil {
		t.Errorf("Get after Clear = %v, %v, want none", found, err)
	}
	cached(t, a, "k", "v,t")
	missingAfter(t, srv, a)
}

// missingAfter checks that what was not cleared is still to be invalidated.
func missingAfter(t *testing.T, srv *rctest.Server, s *rc.CacheService[string]) {
	t.Helper()
	m := open(t, srv, calm())
	if err := m.InvalidateTag(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	cached(t, s, "k", "")
}

// TestRaceTagExpireThenPurge: what was expired is a fallback until it is
// purged, in whatever order the two come, from whomever.
func TestRaceTagExpireThenPurge(t *testing.T) {
	t.Parallel()
	soft := []verbCase{tagVerbs()[1], tagVerbs()[3]}
	hard := []verbCase{tagVerbs()[0], tagVerbs()[2]}
	for _, s := range soft {
		for _, h := range hard {
			for _, purgeFirst := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, purge first=%v", s.name, h.name, purgeFirst), func(t *testing.T) {
					t.Parallel()
					srv := start(t)
					cfg := both()
					cfg.StaleFor, cfg.ErrorBackoff = time.Hour, rc.Off
					ma, a := instance(t, srv, calm(), cfg)
					mb, b := instance(t, srv, calm(), cfg)
					fill(t, a, "k", taggedValue)
					cached(t, b, "k", taggedValue)
					first, second := s, h
					if purgeFirst {
						first, second = h, s
					}
					if err := first.do(t.Context(), mb, b); err != nil {
						t.Fatal(err)
					}
					if err := second.do(t.Context(), ma, a); err != nil {
						t.Fatal(err)
					}
					for i, x := range []*rc.CacheService[string]{a, b} {
						until(t, "instance to be told", func() bool {
							_, err := x.GetOrSet(t.Context(), "k", fails(errBoom, new(atomic.Int32)))
							return errors.Is(err, errBoom)
						})
						if v, err := x.GetOrSet(t.Context(), "k", fails(errBoom, new(atomic.Int32))); !errors.Is(err, errBoom) {
							t.Errorf("instance %d: GetOrSet = %q, %v, want the loader's error", i, v, err)
						}
					}
				})
			}
		}
	}
}

// TestRaceTagDegradedValue: a value that was loaded without Redis is kept in
// memory for DegradedTTL. It is not served after its tag or namespace was
// invalidated here, nor is one whose load ran meanwhile.
func TestRaceTagDegradedValue(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/running=%v", vc.name, running), func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				m := open(t, srv, brief())
				cfg := both()
				cfg.DegradedTTL = 30 * time.Second
				s := service(t, m, cfg)
				srv.Refuse(true)
				refused(t, m)
				l := newLoader()
				load := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", l.load) })
				l.begin(t)
				if !running {
					l.finish(taggedValue, nil)
					load.want(t, taggedValue)
				}
				if err := vc.do(t.Context(), m, s); err == nil {
					t.Fatal("no error without Redis")
				}
				if running {
					l.finish(taggedValue, nil)
					load.want(t, taggedValue)
				}
				fill(t, s, "k", "new,t,u")
			})
		}
	}
}

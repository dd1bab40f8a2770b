package rc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// oddTags are tags that are legal, whatever they look like.
var oddTags = map[string]string{
	"NUL":              "a\x00b",
	"newline":          "a\r\nb",
	"no UTF-8":         "\xff\xfe\x80",
	"unicode":          "größe/漢字/🦊",
	"blank":            " ",
	"braces":           "}{a}{",
	"a glob":           "*?[a-z]\\",
	"a key of ours":    "cache:#tag:{t0}:x",
	"a guard":          "#guard:{t0}",
	"longest":          strings.Repeat("x", 512),
	"AllOf's mark":     "\x00all",
	"AllOf of nothing": rc.AllOf(),
	"half an AllOf":    "\x00all:1:",
	"a name and more":  "t\x00t",
}

// TestBadInputOddTags: any bytes are a tag, and different bytes are different
// tags: the invalidation of one is that of no other.
func TestBadInputOddTags(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{})
	for name, tag := range oddTags {
		for other, theirs := range oddTags {
			if err := s.Set(t.Context(), other, other, rc.WithTags(theirs)); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.InvalidateTag(t.Context(), tag); err != nil {
			t.Fatal(err)
		}
		for other, theirs := range oddTags {
			want := other
			if theirs == tag {
				want = ""
			}
			if v, found, err := s.Get(t.Context(), other); v != want || found != (want != "") || err != nil {
				t.Errorf("Get of what has %s after InvalidateTag of %s = %q, %v, %v, want %q", other, name, v, found, err, want)
			}
		}
	}
}

// TestBadInputAllOf: a combination is the same in any order, however often its
// tags are named; another one is another, also when their names run together.
func TestBadInputAllOf(t *testing.T) {
	t.Parallel()
	same := [][]string{{"a", "b"}, {"b", "a"}, {"b", "a", "b", "a"}}
	for _, tags := range same {
		if got := rc.AllOf(tags...); got != rc.AllOf("a", "b") {
			t.Errorf("AllOf(%q) = %q, want that of a and b", tags, got)
		}
	}
	if got := rc.AllOf("a", "a"); got != "a" {
		t.Errorf("AllOf of one tag = %q, want the tag", got)
	}
	seen := map[string][]string{}
	for _, tags := range [][]string{
		{"a", "b"}, {"ab", ""}, {"a", "b", "c"}, {"a:1:b", "c"}, {"a:0:b", "c"}, {"a", "1:b:c"}, {"a", "b:1:c"}, {":1:a", "b"},
		{"a", rc.AllOf("b", "c")}, {rc.AllOf("a", "b"), "c"}, {"\x00all", "a"}, {"a", "b", ""},
	} {
		got := rc.AllOf(tags...)
		if other, ok := seen[got]; ok {
			t.Errorf("AllOf(%q) and AllOf(%q) are the same: %q", tags, other, got)
		}
		seen[got] = tags
	}
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{})
	long := rc.AllOf(strings.Repeat("a", 300), strings.Repeat("b", 300))
	if err := m.InvalidateTag(t.Context(), long); !errors.Is(err, rc.ErrTag) {
		t.Errorf("InvalidateTag of a combination of 600 bytes = %v, want ErrTag", err)
	}
	if err := s.Set(t.Context(), "k", "v", rc.WithTags(long)); !errors.Is(err, rc.ErrTag) {
		t.Errorf("Set with a combination of 600 bytes = %v, want ErrTag", err)
	}
}

// TestBadInputTooMuch: too many tags and too long ones are refused before
// anything is sent, with an error of a reasonable length, whoever names them.
func TestBadInputTooMuch(t *testing.T) {
	t.Parallel()
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprint("tag-", i)
	}
	for name, tags := range map[string][]string{
		"10,000 tags": many, "one too many": many[:rc.MaxTags+1], "a megabyte": {strings.Repeat("x", 1<<20)},
		"513 bytes": {strings.Repeat("x", 513)}, "empty": {"a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m, s := instance(t, srv, calm(), rc.Config[string]{Tags: func(_, v string) []string {
				if v == "bad" {
					return tags
				}
				return nil
			}})
			set(t, s, "k", "v")
			_, withTags := s.GetOrSet(t.Context(), "x", never(t), rc.WithTags(tags...))
			_, batch := s.GetOrSetMany(t.Context(), []string{"x"}, func(context.Context, []string) (map[string]string, error) {
				t.Error("the loader was called")
				return nil, nil
			}, rc.WithTags(tags...))
			for call, err := range map[string]error{
				"GetOrSet": withTags, "GetOrSetMany": batch,
				"Set with": s.Set(t.Context(), "k", "v", rc.WithTags(tags...)), "Set": s.Set(t.Context(), "bad", "bad"),
				"SetMany": s.SetMany(t.Context(), map[string]string{"bad": "bad", "good": "v"}),
			} {
				if !errors.Is(err, rc.ErrTag) || len(err.Error()) > 500 {
					t.Errorf("%s = %v, want a short ErrTag", call, err)
				}
			}
			cached(t, s, "k", "v")
			cached(t, s, "good", "v")
			missing(t, s, "bad", "a value with bad tags")
			var n atomic.Int32
			for range 2 { // returned, and not stored
				if v, err := s.GetOrSet(t.Context(), "bad", gives("bad", &n)); v != "bad" || err != nil {
					t.Errorf("GetOrSet = %q, %v", v, err)
				}
				if v, err := s.GetOrSet(t.Context(), "x", func(ctx context.Context) (string, error) {
					rc.AddTags(ctx, tags...)
					return "v", nil
				}); v != "v" || err != nil {
					t.Errorf("GetOrSet with AddTags = %q, %v", v, err)
				}
			}
			if st := m.Stats(); n.Load() != 2 || st.FillsVoided != 0 || st.LeasesLost != 0 {
				t.Errorf("%d loads, FillsVoided = %d, LeasesLost = %d, want 2, 0, 0", n.Load(), st.FillsVoided, st.LeasesLost)
			}
		})
	}
}

// TestBadInputAsMuchAsMayBe: the most and longest tags a value may have, and an
// invalidation of 10,000.
func TestBadInputAsMuchAsMayBe(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{})
	tags := make([]string, rc.MaxTags)
	for i := range tags {
		tags[i] = fmt.Sprintf("%0512d", i)
	}
	twice := append(tags[:len(tags):len(tags)], tags...) // named twice is named once
	if err := s.Set(t.Context(), "k", "v", rc.WithTags(twice...)); err != nil {
		t.Fatal(err)
	}
	cached(t, s, "k", "v")
	if err := m.InvalidateTag(t.Context(), tags[100]); err != nil {
		t.Fatal(err)
	}
	missing(t, s, "k", "after InvalidateTag of one of many")
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprint("tag-", i)
	}
	if err := s.Set(t.Context(), "k", "v", rc.WithTags(many[9_999])); err != nil {
		t.Fatal(err)
	}
	if err := m.InvalidateTag(t.Context(), many...); err != nil {
		t.Fatal(err)
	}
	missing(t, s, "k", "after InvalidateTag of 10,000 tags")
}

// TestBadInputNothing: no tags at all are nothing to do; a service without
// Config.Tags has tags all the same; the zero of everything is no surprise.
func TestBadInputNothing(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{})
	set(t, s, "k", "v")
	before := srv.Commands()["SET"] + srv.Commands()["EVALSHA"]
	for name, err := range map[string]error{
		"InvalidateTag": m.InvalidateTag(t.Context()), "ExpireTag": m.ExpireTag(t.Context()),
		"InvalidateTag of nil": m.InvalidateTag(t.Context(), []string(nil)...),
	} {
		if err != nil {
			t.Errorf("%s() = %v", name, err)
		}
	}
	if n := srv.Commands()["SET"] + srv.Commands()["EVALSHA"] - before; n != 0 {
		t.Errorf("%d commands for nothing", n)
	}
	if v, err := s.GetOrSet(t.Context(), "k", never(t), rc.WithTags()); v != "v" || err != nil {
		t.Errorf("GetOrSet without tags = %q, %v", v, err)
	}
	if err := s.Set(t.Context(), "k", "w", rc.WithTags("t")); err != nil {
		t.Fatal(err)
	}
	if err := m.InvalidateTag(t.Context(), "t", "t", "t"); err != nil {
		t.Fatal(err)
	}
	missing(t, s, "k", "after InvalidateTag of a tag named three times")
}

// TestBadInputEndedContext: a call whose context has ended says so. What was
// not delivered is queued, and this process acts upon it.
func TestBadInputEndedContext(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		t.Run(vc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m, s := instance(t, srv, quiet(), both())
			fill(t, s, "k", taggedValue)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			err := vc.do(ended, m, s)
			var inv *rc.InvalidationError
			if !errors.Is(err, context.Canceled) || !errors.As(err, &inv) || !inv.Queued {
				t.Errorf("%s = %v, want context.Canceled in a queued InvalidationError", vc.name, err)
			}
			missing(t, s, "k", "after "+vc.name)
			if st := m.Stats(); st.QueueLen != 0 || st.Replayed != 1 || st.MarkErrors != 1 {
				t.Errorf("QueueLen = %d, Replayed = %d, MarkErrors = %d, want 0, 1, 1", st.QueueLen, st.Replayed, st.MarkErrors)
			}
		})
	}
}

// TestBadInputTagsThatPanic: Config.Tags panics. Whoever called gets the panic,
// a batch and a refresh too as loaders' panics do, and nobody waits for a claim
// that is not given back.
func TestBadInputTagsThatPanic(t *testing.T) {
	t.Parallel()
	cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour, Tags: func(_, v string) []string {
		if v == "bad" {
			panic("tags")
		}
		return []string{"t"}
	}}
	for name, call := range map[string]func(ctx context.Context, s *rc.CacheService[string]) error{
		"Set": func(ctx context.Context, s *rc.CacheService[string]) error { return s.Set(ctx, "k", "bad") },
		"SetMany": func(ctx context.Context, s *rc.CacheService[string]) error {
			return s.SetMany(ctx, map[string]string{"k": "bad"})
		},
		"GetOrSet": func(ctx context.Context, s *rc.CacheService[string]) error {
			_, err := s.GetOrSet(ctx, "k", gives("bad", new(atomic.Int32)))
			return err
		},
		"GetOrSetMany": func(ctx context.Context, s *rc.CacheService[string]) error {
			_, err := s.GetOrSetMany(ctx, []string{"k"}, func(context.Context, []string) (map[string]string, error) {
				return map[string]string{"k": "bad"}, nil
			})
			return err
		},
		"Refresh": func(ctx context.Context, s *rc.CacheService[string]) error {
			_, err := s.Refresh(ctx, "k", gives("bad", new(atomic.Int32)))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, s := instance(t, srv, calm(), cfg)
			_, other := instance(t, srv, calm(), cfg)
			f := async(func() (string, error) { return "", call(t.Context(), s) })
			event(t, f.done, "the call to return")
			if f.panicked == nil || !strings.Contains(fmt.Sprint(f.panicked), "tags") {
				t.Errorf("%s panicked with %v, returned %v; want the panic of Config.Tags", name, f.panicked, f.err)
			}
			fill(t, other, "k", "good") // does not wait for LeaseTTL
			cached(t, s, "k", "good")
		})
	}
}

// TestBadInputAddTagsElsewhere: AddTags outside of a load is a mistake of the
// program, and says so.
func TestBadInputAddTagsElsewhere(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "AddTags") {
			t.Errorf("AddTags outside of a load: %v, want a panic that names it", p)
		}
	}()
	rc.AddTags(t.Context(), "t")
}

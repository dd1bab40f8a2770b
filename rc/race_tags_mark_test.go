package rc_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	ikey "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/rc"
)

// TestRaceTagReadBegunBefore: a read that found the value before the verb is
// not shared by who comes after it.
func TestRaceTagReadBegunBefore(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		t.Run(vc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			codec := newGated(taggedValue)
			cfg := both()
			cfg.Codec = codec
			m, a := instance(t, srv, calm(), cfg)
			cfg.Codec = rc.String{}
			_, b := instance(t, srv, calm(), cfg)
			fill(t, b, "k", taggedValue)
			first := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
			event(t, codec.arrived, "the reply")
			if err := vc.do(t.Context(), m, a); err != nil {
				t.Fatal(err)
			}
			if vc.soft { // what was expired is decoded all the same
				close(codec.release)
				missing(t, a, "k", "who came after it")
				return
			}
			second := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
			second.want(t, "")
			close(codec.release)
			_, _ = first.get(t)
			missing(t, a, "k", "who came after it")
		})
	}
}

// TestRaceTagGuardGoesFirst: a tag's guard is new before its token is: a load
// that ends between the two is not stored with the new token.
func TestRaceTagGuardGoesFirst(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), tagging())
	mb, b := instance(t, srv, calm(), tagging())
	fill(t, a, "before", "v,x") // the guards are in memory
	l := newLoader()
	load := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	var mark *future
	release := passBy(t, srv, "SET", 2, func() {
		mark = async(func() (string, error) { return "", mb.InvalidateTag(t.Context(), "t") })
	})
	l.finish("old,t", nil)
	load.want(t, "old,t")
	release()
	mark.want(t, "")
	missing(t, b, "k", "the invalidator, of a load from before")
	cached(t, a, "k", "")
}

// TestRaceTagTokenReaderLeaves: who asked for a token gives up. Those who share
// the question ask for themselves.
func TestRaceTagTokenReaderLeaves(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, calm(), tagging())
	warm(t, s)
	arrived, release := srv.Hold("EVALSHA") // makes the tag's token
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first := async(func() (string, error) { return "", s.Set(ctx, "k", "v,t") })
	event(t, arrived, "the question")
	w := &waiting{Context: t.Context(), in: "(*tokens).get", ch: make(chan struct{})}
	second := async(func() (string, error) { return "", s.Set(w, "l", "w,t") })
	event(t, w.ch, "the second to share the question")
	leave()
	if _, err := first.get(t); !errors.Is(err, context.Canceled) {
		t.Errorf("Set of who left = %v, want context.Canceled", err)
	}
	release()
	second.want(t, "")
	cached(t, s, "l", "w,t")
}

// TestRaceTagFailedPurgeThenExpire: an ExpireTag that arrives does not make up
// for an InvalidateTag of the tag that did not.
func TestRaceTagFailedPurgeThenExpire(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := tagging()
	cfg.StaleFor, cfg.ErrorBackoff = time.Hour, rc.Off
	m, a := instance(t, srv, quiet(), cfg)
	_, b := instance(t, srv, calm(), cfg)
	fill(t, a, "k", "v,t")
	cached(t, b, "k", "v,t")
	srv.FailNext("SET", "OOM command not allowed", 2) // the guard's and the tag's
	if err := m.InvalidateTag(t.Context(), "t"); err == nil {
		t.Fatal("InvalidateTag = nil, want an error")
	}
	if err := m.ExpireTag(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	cached(t, b, "k", "")
	for i, s := range []*rc.CacheService[string]{a, b} {
		if v, err := s.GetOrSet(t.Context(), "k", fails(errBoom, new(atomic.Int32))); !errors.Is(err, errBoom) {
			t.Errorf("instance %d: GetOrSet = %q, %v, want the loader's error: the value was purged", i, v, err)
		}
	}
}

// TestRaceTagFailedMarkIsOurs: what Redis could not be told of is acted upon
// here, for one of several tags too; other processes and other tags go on.
func TestRaceTagFailedMarkIsOurs(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, a := instance(t, srv, quiet(), tagging())
	_, b := instance(t, srv, calm(), tagging())
	for _, tag := range []string{"t", "u"} {
		fill(t, a, tag, "v,"+tag)
		cached(t, b, tag, "v,"+tag)
	}
	srv.FailNext("SET", "OOM command not allowed", 2) // of the first tag
	err := m.InvalidateTag(t.Context(), "t", "u")
	var inv *rc.InvalidationError
	if !errors.As(err, &inv) || inv.Key != ikey.TagKey("", "t") || !inv.Queued {
		t.Fatalf("InvalidateTag = %v, want that of one of two to be queued", err)
	}
	if st := m.Stats(); st.Marks != 1 || st.MarkErrors != 1 || st.QueueLen != 1 {
		t.Errorf("Marks = %d, MarkErrors = %d, QueueLen = %d, want 1 each", st.Marks, st.MarkErrors, st.QueueLen)
	}
	missing(t, a, "u", "the invalidator")
	cached(t, b, "u", "")
	cached(t, b, "t", "v,t") // cannot know
	missing(t, a, "t", "the invalidator, who delivers it first")
	cached(t, b, "t", "")
}

// TestRaceTagSetWithoutItsTokens: the tokens of a value that is set cannot be
// read. The error says so, and the old value is gone, for everybody.
func TestRaceTagSetWithoutItsTokens(t *testing.T) {
	t.Parallel()
	for _, many := range []bool{false, true} {
		t.Run(fmt.Sprintf("many=%v", many), func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, a := instance(t, srv, quiet(), tagging())
			_, b := instance(t, srv, calm(), tagging())
			warm(t, a)
			set(t, a, "k", "old")
			cached(t, b, "k", "old")
			srv.FailNext("EVALSHA", "OOM command not allowed", 1) // makes the token
			var err error
			if many {
				srv.FailNext("EVALSHA", "OOM command not allowed", 1) // once to warm, once more
				err = a.SetMany(t.Context(), map[string]string{"k": "new,t"})
			} else {
				err = a.Set(t.Context(), "k", "new,t")
			}
			if err == nil {
				t.Fatal("no error")
			}
			missing(t, a, "k", "the writer")
			cached(t, b, "k", "")
			set(t, a, "k", "new,t")
			cached(t, b, "k", "new,t")
		})
	}
}

// An invalidation ends reads of the tag's token before it ends reads of values.
// The other way round, a read that begins in between could be told the old token
// by a read of that from before, and shared by who comes after the invalidation.
func TestRaceTagTokensAreForgottenFirst(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, quiet(), tagging())
	joinable := rc.TokenRead(m, ikey.TagKey("", "t"))
	release := rc.HoldReads(s)
	defer release()
	f := async(func() (string, error) { return "", m.InvalidateTag(t.Context(), "t") })
	until(t, "the read of the token to be forgotten", func() bool { return !joinable() })
	release()
	f.want(t, "")
}

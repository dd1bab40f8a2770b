package rc_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ikey "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// tokenOf returns the key of the token of the tests' namespace.
func tokenOf(t *testing.T, s *rc.CacheService[string]) string {
	t.Helper()
	return strings.TrimSuffix(key(t, s, "k"), "{k}") + "#token"
}

// passBy holds the next n calls of a command, one after the other, lets all but
// the last pass, and returns the release of that when it has arrived.
func passBy(t *testing.T, srv *rctest.Server, command string, n int, begin func()) (release func()) {
	t.Helper()
	arrived, release := srv.Hold(command)
	begin()
	for range n - 1 {
		event(t, arrived, command)
		next, releaseNext := srv.Hold(command)
		release()
		arrived, release = next, releaseNext
	}
	event(t, arrived, command)
	return release
}

// TestRaceTagTokenEvicted: memory holds a bounded number of tokens. A value
// whose token had to make room is not served when its tag was invalidated: the
// push for the token finds nobody any more.
func TestRaceTagTokenEvicted(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		for i, who := range []string{"same", "another"} {
			t.Run(vc.name+" through the "+who, func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				ma, a := instance(t, srv, calm(), both())
				mb, b := instance(t, srv, calm(), both())
				fill(t, b, "k", taggedValue)
				cached(t, a, "k", taggedValue)
				for _, k := range []string{ikey.TagKey("", "t"), ikey.TagKey("", rc.AllOf("t", "u")), tokenOf(t, a)} {
					rc.EvictToken(ma, k)
				}
				m, s := []*rc.Manager{ma, mb}[i], []*rc.CacheService[string]{a, b}[i]
				if err := vc.do(t.Context(), m, s); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					missing(t, a, "k", "the invalidator")
				}
				cached(t, a, "k", "")
				if vc.soft {
					return
				}
				fill(t, a, "k", "new,t,u")
				cached(t, b, "k", "new,t,u")
			})
		}
	}
}

// TestRaceTagReadBegunBeforeAFailedMark: a token is on its way to memory when
// this process invalidates its tag and cannot tell Redis. What was read before
// is not believed afterwards: the invalidation is delivered first.
func TestRaceTagReadBegunBeforeAFailedMark(t *testing.T) {
	t.Parallel()
	srv := start(t)
	ma, a := instance(t, srv, quiet(), tagging())
	_, b := instance(t, srv, calm(), tagging())
	fill(t, b, "k", "v,t")
	set(t, a, "other", "w") // the namespace's token is in memory
	var read *future
	release := passBy(t, srv, "PTTL", 2, func() { // the value's, then the tag's
		read = async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var inv *rc.InvalidationError
	if err := ma.InvalidateTag(gone, "t"); !errors.As(err, &inv) || !inv.Queued {
		t.Fatalf("InvalidateTag = %v, want a queued InvalidationError", err)
	}
	release()
	_, _ = read.get(t) // it began before
	missing(t, a, "k", "after a failed InvalidateTag")
	if n := ma.Stats().Replayed; n != 1 {
		t.Errorf("Replayed = %d, want the invalidation to be delivered before the read", n)
	}
}

// told is a connection that tells when something was sent over it.
type told struct {
	net.Conn
	text string
	once *sync.Once
	sent chan struct{}
}

func (c told) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if strings.Contains(string(p), c.text) {
		c.once.Do(func() { close(c.sent) })
	}
	return n, err
}

// telling opens a Manager and tells when it has sent a text for the first time.
func telling(t *testing.T, srv *rctest.Server, opts rc.Options, text string) (*rc.Manager, <-chan struct{}) {
	t.Helper()
	once, sent := new(sync.Once), make(chan struct{})
	m, err := srv.OpenDial(t.Context(), opts, func(ctx context.Context) (net.Conn, error) {
		c, err := srv.Dial(ctx)
		return told{c, text, once, sent}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, sent
}

// TestRaceTagSharedReadOfAToken: a load shares the read of its tag's token with
// a Set that asked for it before the load began, and is answered after the tag
// was invalidated. That the read was sent before says nothing about what it
// found.
func TestRaceTagSharedReadOfAToken(t *testing.T) {
	t.Parallel()
	srv := start(t)
	ma, sent := telling(t, srv, calm(), ikey.TagKey("", "t"))
	a := service(t, ma, tagging())
	mb, b := instance(t, srv, calm(), tagging())
	warm(t, a)
	fill(t, a, "before", "v,x") // scripts, the namespace's token and the guards are known
	fill(t, b, "theirs", "v,t") // the tag has a token
	claimed, claim := srv.Hold("EVALSHA")
	l := newLoader()
	load := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	event(t, claimed, "the claim of the load")
	asked, answer := srv.Hold("EVALSHA")
	wrote := async(func() (string, error) { return "", a.Set(t.Context(), "other", "w,t") })
	event(t, sent, "the Set to ask for the token")
	claim()
	l.begin(t) // after the Set has asked; it reads the old row
	event(t, asked, "the token's read at the server")
	if err := mb.InvalidateTag(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	l.finish("old,t", nil)
	until(t, "the load to be over", func() bool { return len(l.out) == 0 })
	answer()
	load.want(t, "old,t")
	wrote.want(t, "")
	missing(t, b, "k", "another, of a load from before InvalidateTag")
	missing(t, a, "k", "the loader, of a load from before InvalidateTag")
}

// TestRaceTagExpiredOften: the count of expirations is finite. When it is
// used up the tag gets a new token: what is older is gone, nothing comes back.
func TestRaceTagExpiredOften(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := tagging()
	cfg.StaleFor, cfg.ErrorBackoff = time.Hour, rc.Off
	m, s := instance(t, srv, calm(), cfg)
	tk := ikey.TagKey("", "t")
	do(t, srv, "SET", tk, "abcdef\xff\xfd", "PX", strconv.Itoa(int((24 * time.Hour).Milliseconds())))
	fill(t, s, "k", "v,t")
	for i := range 4 {
		if err := m.ExpireTag(t.Context(), "t"); err != nil {
			t.Fatalf("ExpireTag %d: %v", i, err)
		}
		missing(t, s, "k", "after ExpireTag")
		v, err := s.GetOrSet(t.Context(), "k", fails(errBoom, new(atomic.Int32)))
		if i < 2 && (v != "v,t" || err != nil) {
			t.Errorf("GetOrSet after %d expirations = %q, %v, want the stale value", i+1, v, err)
		}
		if i >= 2 && !errors.Is(err, errBoom) {
			t.Errorf("GetOrSet after the count is used up = %q, %v, want the loader's error", v, err)
		}
	}
	if raw := do(t, srv, "GET", tk).(string); len(raw) != 8 || strings.HasPrefix(raw, "abcdef") {
		t.Errorf("the token is %q, want a new one", raw)
	}
	fill(t, s, "k", "new,t")
	cached(t, s, "k", "new,t")
}

// TestRaceTagTokenOutlived: a token that ends before the values that have it
// takes them with it, also when a new one is made.
func TestRaceTagTokenOutlived(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), tagging())
	_, b := instance(t, srv, calm(), tagging())
	if err := a.Set(t.Context(), "k", "v,t", rc.WithTTL(100*time.Hour)); err != nil {
		t.Fatal(err)
	}
	cached(t, a, "k", "v,t")
	cached(t, b, "k", "v,t")
	for range 3 { // all the time of the tag's and the namespace's token
		srv.FastForward(20 * time.Hour)
	}
	if do(t, srv, "EXISTS", key(t, a, "k")) != int64(1) || do(t, srv, "EXISTS", ikey.TagKey("", "t")) != int64(0) {
		t.Fatal("the value does not outlive its token: the test is not about that")
	}
	missing(t, a, "k", "the one who stored it")
	missing(t, b, "k", "another")
	set(t, b, "k2", "w,t") // makes a token
	missing(t, a, "k", "the one who stored it, with a new token")
	missing(t, b, "k", "another, with a new token")
	// Now the token is made to live as long as such values.
	if err := a.Set(t.Context(), "k", "v,t", rc.WithTTL(100*time.Hour)); err != nil {
		t.Fatal(err)
	}
	srv.FastForward(90 * time.Hour)
	cached(t, a, "k", "v,t")
	cached(t, b, "k", "v,t")
}

// TestRaceTagTokenProlonged: a token in memory that would end before what is
// stored with it now is made to live longer.
func TestRaceTagTokenProlonged(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, calm(), tagging())
	set(t, s, "other", "v,t") // the tag's token is to live for a day
	for range 2 {             // the first teaches how long values live
		if err := s.Set(t.Context(), "k", "v,t", rc.WithTTL(100*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	srv.FastForward(90 * time.Hour)
	cached(t, s, "k", "v,t")
}

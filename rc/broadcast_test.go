package rc_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	ikey "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// broadcasting are options of coherence mode Broadcast.
func broadcasting() rc.Options {
	return rc.Options{Coherence: rc.Broadcast, OpTimeout: time.Minute, MaxStaleness: 10 * time.Minute, Heartbeat: 50 * time.Millisecond}
}

func broadcastPair(t *testing.T, cfg rc.Config[string]) (ma, mb *rc.Manager, a, b *rc.CacheService[string]) {
	t.Helper()
	url := "redis://" + localredis.Standalone(t, localredis.Redis).Addr()
	open := func() (*rc.Manager, *rc.CacheService[string]) {
		m, err := rc.Open(t.Context(), url, broadcasting())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m, service(t, m, cfg)
	}
	ma, a = open()
	mb, b = open()
	return ma, mb, a, b
}

// A tag that only the loaded value names is purged while the load runs, and the
// announcement does not arrive: it may always be later than the token that is
// read after the load. The value must not be stored as if it had the new token.
func TestRaceBroadcastGuard(t *testing.T) {
	t.Parallel()
	ma, _, a, b := broadcastPair(t, tagging())
	set(t, a, "other", "x,u") // from now on loads capture the guards
	l := newLoader()
	f := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	c := ma.Client()
	for _, k := range []string{ikey.GuardKey("", ikey.TagGroup("t")), ikey.TagKey("", "t")} {
		if err := c.Do(t.Context(), c.B().Set().Key(k).Value("8 bytes!").Ex(time.Hour).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	l.finish("old,t", nil)
	f.want(t, "old,t")
	missing(t, b, "k", "another instance, after the purge")
}

// What an instance writes or fills stays in its own memory when its own
// announcement comes back, and leaves that of the others.
func TestBroadcastOwnAnnouncement(t *testing.T) {
	t.Parallel()
	ma, mb, a, b := broadcastPair(t, rc.Config[string]{})
	bus, err := ma.Bus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set(t, a, "k", "1")
	if _, err := a.GetOrSet(t.Context(), "l", gives("1", new(atomic.Int32))); err != nil {
		t.Fatal(err)
	}
	if err := bus.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	cached(t, b, "k", "1")
	for _, id := range []string{"k", "l"} {
		if it, err := a.Lookup(t.Context(), id); err != nil || it.Source != rc.FromL1 {
			t.Errorf("Lookup(%q) of the one who wrote = %+v, %v, want it from L1", id, it, err)
		}
	}
	set(t, a, "k", "2")
	until(t, "the announcement", func() bool { v, _, err := b.Get(t.Context(), "k"); return v == "2" && err == nil })
	_ = mb
}

// While the bus is not heard, memory is not used.
func TestBroadcastSilentBus(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	o := broadcasting()
	o.MaxStaleness, o.OpTimeout = 300*time.Millisecond, 2*time.Second
	m, err := rc.Open(t.Context(), "redis://"+srv.Addr(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	s := service(t, m, rc.Config[string]{})
	set(t, s, "k", "v")
	until(t, "a hit", func() bool { it, err := s.Lookup(t.Context(), "k"); return err == nil && it.Source == rc.FromL1 })
	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	defer srv.Thaw()
	until(t, "memory not to be trusted any more", func() bool {
		it, err := s.Lookup(t.Context(), "k")
		return err != nil || it.Source != rc.FromL1 || it.Stale
	})
}

// A write that Redis took and that could not be announced is an error, and is
// announced as soon as that works: until then others may show the old value.
func TestBroadcastAnnouncementFails(t *testing.T) {
	t.Parallel()
	srv := start(t)
	o := broadcasting()
	o.Heartbeat = time.Minute // nothing is tried again by itself
	ma, a := instance(t, srv, o, rc.Config[string]{})
	_, b := instance(t, srv, o, rc.Config[string]{})
	set(t, a, "k", "v")
	cached(t, b, "k", "v")
	for sent := int64(-1); srv.Commands()["EVALSHA"] != sent; { // nothing told in the background is on its way
		sent = srv.Commands()["EVALSHA"]
		time.Sleep(20 * time.Millisecond)
	}
	srv.FailNext("EVALSHA", "OOM command not allowed", 1) // Delete itself is a DEL
	var inv *rc.InvalidationError
	if err := a.Delete(t.Context(), "k"); !errors.As(err, &inv) || !inv.Queued {
		t.Fatalf("Delete = %v, want a queued InvalidationError", err)
	}
	if n := ma.Stats().AnnounceErrors; n != 1 {
		t.Errorf("AnnounceErrors = %d, want 1", n)
	}
	missing(t, a, "k", "the one who deleted it")
	if err := ma.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the other one to be told", func() bool { _, found, err := b.Get(t.Context(), "k"); return !found && err == nil })
}

// A pattern reaches the memory of the others on every partition of the bus.
func TestBroadcastPattern(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, broadcasting(), rc.Config[string]{})
	_, b := instance(t, srv, broadcasting(), rc.Config[string]{})
	const ids = 50
	for i := range ids {
		set(t, a, fmt.Sprint("x:", i), "v")
		set(t, a, fmt.Sprint("y:", i), "v")
	}
	for i := range ids {
		cached(t, b, fmt.Sprint("x:", i), "v")
		cached(t, b, fmt.Sprint("y:", i), "v")
	}
	if n, err := a.InvalidatePattern(t.Context(), "x:*"); n != ids || err != nil {
		t.Fatalf("InvalidatePattern = %d, %v, want %d", n, err, ids)
	}
	for i := range ids {
		until(t, "the other one to be told", func() bool { _, found, err := b.Get(t.Context(), fmt.Sprint("x:", i)); return !found && err == nil })
		cached(t, b, fmt.Sprint("y:", i), "v")
	}
}

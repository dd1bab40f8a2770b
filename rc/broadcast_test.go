package rc_test

import (
	"sync/atomic"
	"testing"
	"time"

	ikey "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// broadcasting are options of coherence mode Broadcast.
func broadcasting() rc.Options {
	return rc.Options{Coherence: rc.Broadcast, MaxStaleness: 10 * time.Minute, Heartbeat: 50 * time.Millisecond}
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
	o.MaxStaleness, o.OpTimeout = 300*time.Millisecond, 100*time.Millisecond
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

package rc_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// A snapshot is some keys of a server, to be put back as a successor has them
// that did not get the last writes of its predecessor.
type snapshot map[string]struct{ raw, left string }

func snap(t *testing.T, srv *rctest.Server) snapshot {
	t.Helper()
	s := snapshot{}
	for _, k := range do(t, srv, "KEYS", "*").([]any) {
		k := k.(string)
		s[k] = struct{ raw, left string }{
			do(t, srv, "GET", k).(string), strconv.FormatInt(do(t, srv, "PTTL", k).(int64), 10),
		}
	}
	return s
}

// restore makes the server one that has just what the snapshot has.
func (s snapshot) restore(t *testing.T, srv *rctest.Server) {
	t.Helper()
	do(t, srv, "FLUSHALL")
	for k, v := range s {
		do(t, srv, "SET", k, v.raw, "PX", v.left)
	}
}

// failover restores a snapshot and cuts the connection of a Manager, which is
// how it learns of the other server.
func (s snapshot) failover(t *testing.T, srv *rctest.Server, l *link) {
	t.Helper()
	s.restore(t, srv)
	l.cut()
}

// replaying is a Manager whose connection can be cut, and another one that
// replays nothing.
func replaying(t *testing.T, opts rc.Options, cfg rc.Config[string]) (srv *rctest.Server, l *link, m *rc.Manager, a, b *rc.CacheService[string]) {
	t.Helper()
	srv = start(t)
	m, l = linked(t, srv, opts)
	a = service(t, m, cfg)
	passive := calm()
	passive.ReplayWindow = rc.Off
	_, b = instance(t, srv, passive, cfg)
	return srv, l, m, a, b
}

// TestReplayOfKeys: a primary that was lost took the last write of a key with
// it. The one who made it sends it again, and what it replaced is not served
// to anybody for long.
func TestReplayOfKeys(t *testing.T) {
	t.Parallel()
	for _, v := range verbs {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			srv, l, m, a, b := replaying(t, calm(), rc.Config[string]{})
			set(t, b, "k", "old")
			before := snap(t, srv)
			if err := v.do(t.Context(), a, "k"); err != nil {
				t.Fatal(err)
			}
			before.failover(t, srv, l)
			until(t, "the replay", func() bool { st := m.Stats(); return st.Resent > 0 && st.QueueLen == 0 })
			cached(t, b, "k", "")
			cached(t, a, "k", "")
			fill(t, b, "k", "new")
			cached(t, a, "k", "new")
		})
	}
}

// TestReplayOfMarks is the same for tags and namespaces.
func TestReplayOfMarks(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		t.Run(vc.name, func(t *testing.T) {
			t.Parallel()
			srv, l, m, a, b := replaying(t, calm(), both())
			fill(t, b, "k", taggedValue)
			cached(t, a, "k", taggedValue)
			before := snap(t, srv)
			if err := vc.do(t.Context(), m, a); err != nil {
				t.Fatal(err)
			}
			before.failover(t, srv, l)
			until(t, "the replay", func() bool { st := m.Stats(); return st.Resent > 0 && st.QueueLen == 0 })
			gone(t, b, a)
		})
	}
}

// TestReplayLeavesWhatIsThere: what Set stored and the successor has is not
// deleted; what somebody else has stored since costs a load.
func TestReplayLeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	srv, l, m, a, b := replaying(t, calm(), rc.Config[string]{})
	set(t, a, "mine", "v")
	set(t, a, "theirs", "v")
	set(t, b, "theirs", "w")
	l.cut()
	until(t, "the replay", func() bool { st := m.Stats(); return st.Resent == 2 && st.QueueLen == 0 })
	cached(t, a, "mine", "v")
	cached(t, b, "mine", "v")
	cached(t, b, "theirs", "")
	if n := do(t, srv, "EXISTS", key(t, a, "mine")); n != int64(1) {
		t.Error("the replay deleted what Set had stored")
	}
}

// TestReplayWindow: what is older than the window is not sent again, nor
// anything if there is none.
func TestReplayWindow(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{rc.Off, time.Second, time.Hour} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			t.Parallel()
			opts := calm()
			opts.ReplayWindow = window
			srv, l, m, a, _ := replaying(t, opts, rc.Config[string]{})
			set(t, a, "k", "v")
			if err := a.Delete(t.Context(), "l"); err != nil {
				t.Fatal(err)
			}
			beats := srv.Commands()["ECHO"]
			srv.FastForward(10 * time.Second)
			// Time without a beat is silence, and counts for the window. One may have
			// been on its way, and the next be heard by the feed alone so far.
			until(t, "two beats", func() bool { return srv.Commands()["ECHO"] >= beats+3 })
			until(t, "a beat", func() bool { age := m.Health()[0].FeedAge; return age >= 0 && age < time.Second/2 })
			if err := a.Delete(t.Context(), "late"); err != nil {
				t.Fatal(err)
			}
			l.cut()
			want := map[time.Duration]uint64{rc.Off: 0, time.Second: 1, time.Hour: 3}[window]
			until(t, "the replay", func() bool {
				st := m.Stats()
				return st.Resent >= want && st.QueueLen == 0 && m.Available()
			})
			if n := m.Stats().Resent; n != want {
				t.Errorf("Resent = %d with a window of %v, want %d", n, window, want)
			}
		})
	}
}

// TestReplayOfTheLastOnly: of several writes of a key the last one is sent, but
// a purge is not weakened: what Delete or InvalidateTag removed and a successor
// has again is not served as a stale value because an Expire came later.
func TestReplayOfTheLastOnly(t *testing.T) {
	t.Parallel()
	cfg := both()
	cfg.StaleFor, cfg.ErrorBackoff = time.Hour, rc.Off
	for name, steps := range map[string][2]func(ctx context.Context, m *rc.Manager, s *rc.CacheService[string]) error{
		"key": {
			func(ctx context.Context, _ *rc.Manager, s *rc.CacheService[string]) error { return s.Delete(ctx, "k") },
			func(ctx context.Context, _ *rc.Manager, s *rc.CacheService[string]) error { return s.Expire(ctx, "k") },
		},
		"tag":       {tagVerbs()[0].do, tagVerbs()[1].do},
		"namespace": {tagVerbs()[2].do, tagVerbs()[3].do},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, l, m, a, b := replaying(t, calm(), cfg)
			fill(t, b, "k", taggedValue)
			before := snap(t, srv)
			for _, step := range steps {
				if err := step(t.Context(), m, a); err != nil {
					t.Fatal(err)
				}
			}
			before.failover(t, srv, l)
			until(t, "the replay", func() bool { st := m.Stats(); return st.Resent > 0 && st.QueueLen == 0 })
			cached(t, b, "k", "")
			if v, err := b.GetOrSet(t.Context(), "k", fails(errBoom, new(atomic.Int32))); !errors.Is(err, errBoom) {
				t.Errorf("GetOrSet with a failing loader = %q, %v, want its error: the value was purged", v, err)
			}
		})
	}
}

// versions are values "<version>:<text>".
func versions() rc.Config[string] {
	return rc.Config[string]{Version: func(v string) uint64 {
		n, _ := strconv.ParseUint(v[:1], 10, 64)
		return n
	}}
}

// TestReplayAgainstANewerVersion: a write that is sent again does not make room
// for a version older than the one that somebody else has stored since.
func TestReplayAgainstANewerVersion(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(ctx context.Context, s *rc.CacheService[string]) error{
		"Delete": func(ctx context.Context, s *rc.CacheService[string]) error { return s.Delete(ctx, "k") },
		"Expire": func(ctx context.Context, s *rc.CacheService[string]) error { return s.Expire(ctx, "k") },
		"Set":    func(ctx context.Context, s *rc.CacheService[string]) error { return s.Set(ctx, "k", "7:mine") },
		"a Set that came too late": func(ctx context.Context, s *rc.CacheService[string]) error {
			if err := s.Set(ctx, "k", "9:first"); err != nil {
				return err
			}
			return s.Set(ctx, "k", "7:late")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, l, m, a, b := replaying(t, calm(), versions())
			if err := write(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			set(t, b, "k", "9:newer")
			l.cut()
			until(t, "the replay", func() bool { st := m.Stats(); return st.Resent > 0 && st.QueueLen == 0 })
			// A database replica that lags behind, for one with an empty memory.
			_, c := instance(t, srv, calm(), versions())
			if _, err := c.GetOrSet(t.Context(), "k", gives("8:lagging", new(atomic.Int32))); err != nil {
				t.Fatal(err)
			}
			for i, s := range []*rc.CacheService[string]{a, b, c} {
				if v, _, err := s.Get(t.Context(), "k"); v == "8:lagging" || err != nil {
					t.Errorf("instance %d: Get = %q, %v: version 9 has been stored", i, v, err)
				}
			}
		})
	}
}

// TestReplayLeavesRoom: what is sent again for the case that it was lost does
// not take the place of an invalidation that is known not to have arrived.
func TestReplayLeavesRoom(t *testing.T) {
	t.Parallel()
	opts := brief()
	opts.RecoveryQueue = 4
	opts.ReplayWindow = time.Hour
	srv, l, m, a, _ := replaying(t, opts, rc.Config[string]{})
	for i := range 6 {
		set(t, a, fmt.Sprint(i), "v")
	}
	srv.Refuse(true)
	l.cut()
	refused(t, m)
	until(t, "the replay to wait", func() bool { return m.Stats().QueueLen > 0 })
	var inv *rc.InvalidationError
	if err := a.Delete(t.Context(), "k"); !errors.As(err, &inv) || !inv.Queued {
		t.Errorf("Delete = %v, want it queued: there are %d of %d in the queue, all of which have arrived", err, m.Stats().QueueLen, opts.RecoveryQueue)
	}
}

// TestReplayForgetsTheOldest: no more than Options.RecoveryQueue are
// remembered, the last ones.
func TestReplayForgetsTheOldest(t *testing.T) {
	t.Parallel()
	opts := calm()
	opts.RecoveryQueue = 4
	srv, l, m, a, b := replaying(t, opts, rc.Config[string]{})
	for i := range 10 {
		set(t, b, fmt.Sprint(i), "old")
	}
	before := snap(t, srv)
	for i := range 10 {
		if err := a.Delete(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	before.failover(t, srv, l)
	until(t, "the replay", func() bool { st := m.Stats(); return st.Resent > 0 && st.QueueLen == 0 })
	if n := m.Stats().Resent; n > 4 {
		t.Errorf("Resent = %d, want at most 4", n)
	}
	for i := range 6 {
		cached(t, b, fmt.Sprint(i), "old")
	}
}

// TestReplayAfterALongSilence: a failover takes its time. What was written just
// before the node fell silent counts, however long it takes until another one
// is there.
func TestReplayAfterALongSilence(t *testing.T) {
	t.Parallel()
	srv, l, m, a, b := replaying(t, calm(), rc.Config[string]{})
	set(t, b, "k", "old")
	before := snap(t, srv)
	if err := a.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	srv.Freeze()
	srv.FastForward(3 * rc.DefaultReplayWindow) // as a cluster-node-timeout of 15s does
	before.failover(t, srv, l)
	srv.Thaw()
	until(t, "the replay", func() bool { st := m.Stats(); return st.Resent > 0 && st.QueueLen == 0 })
	cached(t, b, "k", "")
}

package rc_test

import (
	"context"
	"errors"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
)

// unsent makes a write that Redis does not hear of. It is queued.
func unsent(t *testing.T, write func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := write(ctx)
	var inv *rc.InvalidationError
	if !errors.As(err, &inv) || !inv.Queued {
		t.Errorf("a write under an ended context = %v, want a queued invalidation", err)
	}
}

func deleteK(s *rc.CacheService[string]) func(context.Context) error {
	return func(ctx context.Context) error { return s.Delete(ctx, "k") }
}

// replaced checks that after a write which waits in the queue nothing of before
// it is served, and that the queue delivers it with the next read.
func replaced(t *testing.T, m *rc.Manager, s *rc.CacheService[string]) {
	t.Helper()
	if n := m.Stats().QueueLen; n != 1 {
		t.Errorf("QueueLen = %d after a write that Redis has not heard of, want 1", n)
	}
	cached(t, s, "k", "")
	if st := m.Stats(); st.QueueLen != 0 || st.Replayed != 1 {
		t.Errorf("QueueLen = %d, Replayed = %d after a read, want 0, 1", st.QueueLen, st.Replayed)
	}
}

// TestRaceFillAfterUnsentWrite: A loads and has read "old"; A's Delete does not
// reach Redis and is queued; the load's claim still stands, so Redis takes "old".
// A does not keep it. Found by the chaos suite (a primary killed), for batches.
func TestRaceFillAfterUnsentWrite(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"GetOrSet", "GetOrSetMany"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			m, a := instance(t, start(t), quiet(), rc.Config[string]{})
			old := newLoader()
			f := async(func() (string, error) {
				if verb == "GetOrSet" {
					return a.GetOrSet(t.Context(), "k", old.load)
				}
				got, err := a.GetOrSetMany(t.Context(), []string{"k", "l"}, func(ctx context.Context, ids []string) (map[string]string, error) {
					v, err := old.load(ctx)
					return map[string]string{"k": v, "l": v}, err
				})
				return got["k"], err
			})
			old.begin(t)
			unsent(t, deleteK(a))
			old.finish("old", nil)
			f.want(t, "old")
			if st := m.Stats(); st.Fills == 0 {
				t.Fatal("Redis has not taken the value: the test is not about that")
			}
			replaced(t, m, a)
		})
	}
}

// TestRaceSetAnsweredAfterUnsentWrite: A's Set is on its way; A's Delete, which
// began later, does not reach Redis and is queued; then Set is answered. It does
// not stand for the Delete.
func TestRaceSetAnsweredAfterUnsentWrite(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*rc.CacheService[string]) error{
		"Set": func(s *rc.CacheService[string]) error { return s.Set(context.Background(), "k", "old") },
		"SetMany": func(s *rc.CacheService[string]) error {
			return s.SetMany(context.Background(), map[string]string{"k": "old"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m, a := instance(t, srv, quiet(), rc.Config[string]{})
			fill(t, a, "other", "x") // learns the namespace's token
			arrived, release := srv.Hold("EVALSHA")
			defer release()
			f := async(func() (string, error) { return "", set(a) })
			event(t, arrived, "the value to arrive")
			unsent(t, deleteK(a))
			release()
			f.want(t, "")
			replaced(t, m, a)
		})
	}
}

// TestRaceMarkAnsweredAfterUnsentMark is the same for tags and namespaces.
func TestRaceMarkAnsweredAfterUnsentMark(t *testing.T) {
	t.Parallel()
	for _, vc := range tagVerbs() {
		t.Run(vc.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m, a := instance(t, srv, quiet(), both())
			fill(t, a, "k", taggedValue)
			arrived, release := srv.Hold(map[bool]string{false: "SET", true: "EVALSHA"}[vc.soft])
			defer release()
			mark := func(ctx context.Context) error { return vc.do(ctx, m, a) }
			f := async(func() (string, error) { return "", mark(t.Context()) })
			event(t, arrived, "the first invalidation to arrive")
			unsent(t, mark)
			release()
			f.want(t, "")
			if n := m.Stats().QueueLen; n != 1 {
				t.Errorf("QueueLen = %d after an invalidation that Redis has not heard of, want 1", n)
			}
		})
	}
}

// TestRaceUnsentWriteIsQueuedFirst: a write that Redis has not heard of is in the
// queue before readers begin anew. The other way round, one that begins in between
// would bring back to memory what was replaced.
func TestRaceUnsentWriteIsQueuedFirst(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"key", "tag"} {
		t.Run(of, func(t *testing.T) {
			t.Parallel()
			m, s := instance(t, start(t), quiet(), tagging())
			write := deleteK(s)
			if of == "tag" {
				write = func(ctx context.Context) error { return m.InvalidateTag(ctx, "t") }
			}
			release := rc.HoldReads(s)
			defer release()
			f := async(func() (string, error) { unsent(t, write); return "", nil })
			until(t, "the write to be queued", func() bool { return m.Stats().QueueLen == 1 })
			release()
			f.want(t, "")
		})
	}
}

package rc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	ikey "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/rc"
)

// flushing is Flush on a goroutine of its own.
func flushing(ctx context.Context, m *rc.Manager) *future {
	return async(func() (string, error) { return "", m.Flush(ctx) })
}

// TestFlushOfNothing: without anything queued it returns at once, also with a
// context that has ended and without Redis, and sends nothing.
func TestFlushOfNothing(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, quiet(), rc.Config[string]{})
	set(t, s, "k", "v")
	srv.Freeze()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), ended} {
		flushing(ctx, m).want(t, "")
	}
	srv.Thaw()
}

// TestFlushWaits: it returns when all is delivered, and not before, whoever
// asks for it.
func TestFlushWaits(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	s := service(t, m, tagging())
	set(t, s, "k", "v,t")
	srv.Refuse(true)
	refused(t, m)
	failing := map[string]error{
		"Delete": s.Delete(t.Context(), "k"), "Expire": s.Expire(t.Context(), "l"),
		"InvalidateTag": m.InvalidateTag(t.Context(), "t"), "Clear": s.Clear(t.Context()),
		"DeleteBefore": s.DeleteBefore(t.Context(), "n", 3),
	}
	for verb, err := range failing {
		var inv *rc.InvalidationError
		if !errors.As(err, &inv) || !inv.Queued {
			t.Errorf("%s = %v, want a queued InvalidationError", verb, err)
		}
	}
	waits := []*future{flushing(t.Context(), m), flushing(t.Context(), m)}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := flushing(short, m).get(t)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "5 invalidations") {
		t.Errorf("Flush = %v, want the end of its context and 5 that are left", err)
	}
	for _, f := range waits {
		select {
		case <-f.done:
			t.Errorf("Flush = %v with %d left", f.err, m.Stats().QueueLen)
		default:
		}
	}
	srv.Refuse(false)
	for _, f := range waits {
		f.want(t, "")
	}
	if n := m.Stats().QueueLen; n != 0 {
		t.Errorf("QueueLen = %d after Flush, want 0", n)
	}
	until(t, "the replay to be counted", func() bool { return m.Stats().Replayed == 5 })
	if do(t, srv, "EXISTS", key(t, s, "k")) != int64(0) || do(t, srv, "EXISTS", key(t, s, "n")) != int64(1) {
		t.Error("Flush has returned and Redis has not got it")
	}
}

// TestFlushWakesTheQueue: it does not wait for the next beat.
func TestFlushWakesTheQueue(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, quiet(), rc.Config[string]{})
	set(t, s, "k", "old")
	srv.FailNext("DEL", "OOM command not allowed", 1)
	if err := s.Delete(t.Context(), "k"); err == nil {
		t.Fatal("Delete = nil, want an error")
	}
	flushing(t.Context(), m).want(t, "")
	if do(t, srv, "EXISTS", key(t, s, "k")) != int64(0) {
		t.Error("Flush has returned and Redis has not got it")
	}
}

// TestFlushOfWhatHasEnded: what no value can need any more is not waited for.
func TestFlushOfWhatHasEnded(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	s := service(t, m, rc.Config[string]{})
	srv.Refuse(true)
	refused(t, m)
	if err := s.Delete(t.Context(), "k"); err == nil {
		t.Fatal("Delete = nil, want an error")
	}
	f := flushing(t.Context(), m)
	srv.FastForward(time.Hour)
	f.want(t, "")
	if st := m.Stats(); st.QueueExpired != 1 || st.Replayed != 0 {
		t.Errorf("QueueExpired = %d, Replayed = %d, want 1, 0", st.QueueExpired, st.Replayed)
	}
}

// TestFlushClosed: Close ends those who wait, and says what is left, by its
// key and with the reason.
func TestFlushClosed(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	s := service(t, m, tagging())
	srv.Refuse(true)
	refused(t, m)
	for _, err := range []error{m.InvalidateTag(t.Context(), "t"), s.Clear(t.Context()), s.Delete(t.Context(), "k")} {
		if err == nil {
			t.Fatal("no error without Redis")
		}
	}
	w := &waiting{Context: t.Context(), in: "(*recovery).flush", ch: make(chan struct{})}
	wait := flushing(w, m)
	event(t, w.ch, "Flush to wait")
	err := m.Close()
	for _, k := range []string{ikey.TagKey("", "t"), tokenOf(t, s), key(t, s, "k")} {
		if err == nil || !strings.Contains(err.Error(), k) {
			t.Errorf("Close = %v, want it to say that %q is not delivered", err, k)
		}
	}
	if _, err := wait.get(t); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("Flush = %v, want ErrClosed", err)
	}
	if err := m.Flush(t.Context()); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("Flush of a closed Manager = %v, want ErrClosed", err)
	}
	for name, err := range map[string]error{
		"InvalidateTag": m.InvalidateTag(t.Context(), "t"), "ExpireTag": m.ExpireTag(t.Context(), "t"),
		"Clear": s.Clear(t.Context()), "ExpireAll": s.ExpireAll(t.Context()),
		"DeleteBefore": s.DeleteBefore(t.Context(), "k", 1),
	} {
		if !errors.Is(err, rc.ErrClosed) {
			t.Errorf("%s of a closed Manager = %v, want ErrClosed", name, err)
		}
	}
}

// TestFlushCloseDelivers: Close tries once more, and has nothing to say if that
// works.
func TestFlushCloseDelivers(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, quiet(), tagging())
	_, b := instance(t, srv, calm(), tagging())
	set(t, s, "k", "v,t")
	cached(t, b, "k", "v,t")
	srv.FailNext("SET", "OOM command not allowed", 2) // the guard's and the tag's
	if err := m.InvalidateTag(t.Context(), "t"); err == nil {
		t.Fatal("InvalidateTag = nil, want an error")
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	cached(t, b, "k", "")
}

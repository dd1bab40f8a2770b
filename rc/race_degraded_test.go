package rc_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// brief are options under which a server that refuses is noticed at once.
func brief() rc.Options {
	return rc.Options{OpTimeout: 10 * time.Second, MaxStaleness: time.Minute, Heartbeat: 50 * time.Millisecond}
}

func refused(t *testing.T, m *rc.Manager) {
	t.Helper()
	until(t, "the node to be taken for down", func() bool { return m.Health()[0].BreakerOpen })
}

func back(t *testing.T, m *rc.Manager) {
	t.Helper()
	until(t, "the node to answer again", func() bool { return m.Available() })
}

// Redis refuses: answers keep coming. Stale ones where StaleFor allows, else
// those of the loader, FallbackLoads at a time.
func TestDegradedAnswers(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	stale := service(t, m, rc.Config[string]{StaleFor: time.Hour})
	bare := service(t, m, rc.Config[string]{KeyVersion: "v2", FallbackLoads: 3, DegradedTTL: rc.Off})
	set(t, stale, "k", "old")
	srv.Refuse(true)
	refused(t, m)
	if v, err := stale.GetOrSet(t.Context(), "k", never(t)); v != "old" || err != nil {
		t.Errorf("GetOrSet = %q, %v, want the value in memory", v, err)
	}
	it, err := stale.Lookup(t.Context(), "k")
	if err != nil || it.Value != "old" || !it.Stale || it.Reason != rc.StaleDegraded || it.Source != rc.FromL1 {
		t.Errorf("Lookup = %+v, %v, want %q from L1, stale because degraded", it, err, "old")
	}
	if _, _, err := bare.Get(t.Context(), "k"); !errors.Is(err, rc.ErrUnavailable) {
		t.Errorf("Get = %v, want ErrUnavailable", err)
	}
	var running, most, calls atomic.Int32
	gate := make(chan struct{})
	var fs []*future
	for i := range 12 {
		fs = append(fs, async(func() (string, error) {
			return bare.GetOrSet(t.Context(), fmt.Sprint(i), func(context.Context) (string, error) {
				calls.Add(1)
				n := running.Add(1)
				defer running.Add(-1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				<-gate
				return "v", nil
			})
		}))
	}
	until(t, "the limit to be reached", func() bool { return running.Load() >= 3 })
	until(t, "all to have missed", func() bool { return bare.Stats().Misses == 12 })
	close(gate)
	for _, f := range fs {
		f.want(t, "v")
	}
	if most.Load() != 3 || calls.Load() != 12 {
		t.Errorf("%d loads at a time of %d, want 3 of 12", most.Load(), calls.Load())
	}
	if n := bare.Stats().DegradedLoads; n != 12 {
		t.Errorf("DegradedLoads = %d, want 12", n)
	}
	srv.Refuse(false)
	back(t, m)
	cached(t, stale, "k", "old")
	cached(t, bare, "1", "") // what was loaded without Redis was not stored
}

// A value loaded without Redis stays in memory for DegradedTTL.
func TestDegradedValueIsKept(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	s := service(t, m, rc.Config[string]{DegradedTTL: 30 * time.Second})
	srv.Refuse(true)
	refused(t, m)
	fill(t, s, "k", "v")
	if v, err := s.GetOrSet(t.Context(), "k", never(t)); v != "v" || err != nil {
		t.Errorf("GetOrSet = %q, %v, want the value kept", v, err)
	}
	srv.FastForward(31 * time.Second)
	fill(t, s, "k", "w")
}

// Delete while Redis refuses: the error says that it is kept, this process
// does not serve the old value, and it is delivered when Redis is back.
func TestDegradedDeleteIsReplayed(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	s := service(t, m, rc.Config[string]{StaleFor: time.Hour})
	set(t, s, "k", "old")
	srv.Refuse(true)
	refused(t, m)
	var ie *rc.InvalidationError
	if err := s.Delete(t.Context(), "k"); !errors.As(err, &ie) || !ie.Queued || ie.Key != key(t, s, "k") {
		t.Errorf("Delete = %v, want an InvalidationError that is queued", err)
	}
	if st := m.Stats(); st.QueueLen != 1 || st.Queued != 1 || st.InvalidationErrors != 1 {
		t.Errorf("QueueLen = %d, Queued = %d, InvalidationErrors = %d, want 1 each", st.QueueLen, st.Queued, st.InvalidationErrors)
	}
	if v, found, err := s.Get(t.Context(), "k"); found || !errors.Is(err, rc.ErrUnavailable) {
		t.Errorf("Get = %q, %v, %v, want ErrUnavailable and not the deleted value", v, found, err)
	}
	if v, err := s.GetOrSet(t.Context(), "k", fails(errBoom, new(atomic.Int32))); !errors.Is(err, errBoom) {
		t.Errorf("GetOrSet = %q, %v, want the loader's error and not the deleted value", v, err)
	}
	srv.Refuse(false)
	until(t, "the replay", func() bool { return m.Stats().Replayed == 1 })
	if n := do(t, srv, "EXISTS", key(t, s, "k")); n != int64(0) {
		t.Error("the value is still there after the replay")
	}
	if n := m.Stats().QueueLen; n != 0 {
		t.Errorf("QueueLen = %d after the replay, want 0", n)
	}
}

// A write fails while reads work. This process delivers it before it reads
// the key again.
func TestDegradedWriteIsSettledBeforeARead(t *testing.T) {
	t.Parallel()
	for _, v := range verbs {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m, s := instance(t, srv, quiet(), rc.Config[string]{})
			warm(t, s)
			set(t, s, "k", "old")
			for _, command := range []string{"DEL", "EVALSHA"} {
				srv.FailNext(command, "OOM command not allowed", 1)
			}
			if v.name == "SetMany" || v.name == "DeleteMany" {
				for _, command := range []string{"DEL", "EVALSHA"} {
					srv.FailNext(command, "OOM command not allowed", 1)
				}
			}
			if err := v.do(t.Context(), s, "k"); err == nil {
				t.Fatalf("%s = nil, want an error", v.name)
			}
			for _, command := range []string{"DEL", "EVALSHA"} {
				srv.FailNext(command, "", 0)
			}
			got, err := s.GetOrSetMany(t.Context(), []string{"k"}, func(_ context.Context, ids []string) (map[string]string, error) {
				return map[string]string{"k": "new"}, nil
			})
			if got["k"] != "new" || err != nil {
				t.Errorf("GetOrSetMany after a failed %s = %v, %v, want a new load", v.name, got, err)
			}
			if n := m.Stats().Replayed; n == 0 {
				t.Error("Replayed = 0, want the write to be settled")
			}
		})
	}
	t.Run("Get", func(t *testing.T) {
		t.Parallel()
		srv := start(t)
		_, s := instance(t, srv, quiet(), rc.Config[string]{})
		set(t, s, "k", "old")
		srv.FailNext("DEL", "OOM command not allowed", 1)
		if err := s.Delete(t.Context(), "k"); err == nil {
			t.Fatal("Delete = nil, want an error")
		}
		cached(t, s, "k", "")
	})
}

// A load without Redis is in flight; Redis comes back; Delete succeeds. Readers
// that come then do not join that load, and its value is not kept.
func TestDegradedLoadAgainstAWrite(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	s := service(t, m, rc.Config[string]{DegradedTTL: 30 * time.Second})
	srv.Refuse(true)
	refused(t, m)
	old, fresh := newLoader(), newLoader()
	lead := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", old.load) })
	old.begin(t)
	srv.Refuse(false)
	back(t, m)
	until(t, "Delete to be delivered", func() bool { return s.Delete(t.Context(), "k") == nil })
	late := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", fresh.load) })
	fresh.begin(t)
	old.finish("old", nil)
	lead.want(t, "old")
	cached(t, s, "k", "")
	fresh.finish("new", nil)
	late.want(t, "new")
	cached(t, s, "k", "new")
}

// The same while Redis stays away: the write fails and is queued, and the load
// that began before it is given to its caller and to nobody else.
func TestDegradedLoadAgainstAFailedWrite(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, brief())
	s := service(t, m, rc.Config[string]{DegradedTTL: 30 * time.Second})
	srv.Refuse(true)
	refused(t, m)
	old, fresh := newLoader(), newLoader()
	lead := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", old.load) })
	old.begin(t)
	var failed *rc.InvalidationError
	if err := s.Delete(t.Context(), "k"); !errors.As(err, &failed) || !failed.Queued {
		t.Errorf("Delete = %v, want an InvalidationError that is queued", err)
	}
	late := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", fresh.load) })
	fresh.begin(t)
	old.finish("old", nil)
	lead.want(t, "old")
	if v, found, err := s.Get(t.Context(), "k"); found || !errors.Is(err, rc.ErrUnavailable) {
		t.Errorf("Get = %q, %v, %v, want ErrUnavailable: the load is from before the write", v, found, err)
	}
	fresh.finish("new", nil)
	late.want(t, "new")
	cached(t, s, "k", "new")
}

// The caller waits for another process for LockWait, then loads for itself,
// without the right to store.
func TestLockWait(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: 50 * time.Millisecond, StaleFor: time.Hour, SoftTimeout: rc.Off}
	_, a := instance(t, srv, calm(), cfg)
	mb, b := instance(t, srv, calm(), cfg)
	l := newLoader()
	f := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	fill(t, b, "k", "mine")
	if st := mb.Stats(); st.WaitTimeouts != 1 || st.DegradedLoads != 1 || st.Fills != 0 {
		t.Errorf("WaitTimeouts = %d, DegradedLoads = %d, Fills = %d, want 1, 1, 0", st.WaitTimeouts, st.DegradedLoads, st.Fills)
	}
	cached(t, b, "k", "")
	l.finish("theirs", nil)
	f.want(t, "theirs")
	cached(t, b, "k", "theirs")
}

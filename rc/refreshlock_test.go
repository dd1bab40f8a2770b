package rc_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/lock"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
	"github.com/redis/rueidis"
)

// lockBundle is three servers for locks, beside that of the cache.
type lockBundle struct {
	t       *testing.T
	servers []*rctest.Server
	opts    []rueidis.ClientOption
}

func setupLocks(t *testing.T) *lockBundle {
	t.Helper()
	b := &lockBundle{t: t}
	for range 3 {
		s := start(t)
		b.servers, b.opts = append(b.servers, s), append(b.opts, s.ClientOption())
	}
	return b
}

// open opens a Locker of one process.
func (b *lockBundle) open(cfg lock.Config) *lock.Locker {
	b.t.Helper()
	l, err := lock.OpenRedlock(b.t.Context(), b.opts, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = l.Close() })
	return l
}

// patientLocks never time out in a test.
func patientLocks() lock.Config { return lock.Config{TTL: time.Hour, OpTimeout: time.Minute} }

// votes is how many servers have a vote for the lock of a key.
func (b *lockBundle) votes(key string) (n int) {
	b.t.Helper()
	for _, s := range b.servers {
		if do(b.t, s, "EXISTS", "cache:redlock:{all}:"+key) == int64(1) {
			n++
		}
	}
	return n
}

// The lease of a load is voided while its loader runs, by a write. Somebody else
// gets the lease, and would load at once; with a refresh lock he waits for the
// first loader. What that one brings is not stored.
//
//	A: lease, lock, loader ......................... returns; fill refused
//	W:                  Delete
//	B:                         lease, lock: held ... lock, loader, fill
func TestRefreshLockOneLoaderAtATime(t *testing.T) {
	t.Parallel()
	srv, b := start(t), setupLocks(t)
	la, lb := b.open(patientLocks()), b.open(patientLocks())
	ma, a := instance(t, srv, calm(), rc.Config[string]{RefreshLock: la})
	_, other := instance(t, srv, calm(), rc.Config[string]{RefreshLock: lb})
	_, w := instance(t, srv, calm(), rc.Config[string]{})
	first, second := newLoader(), newLoader()
	fa := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", first.load) })
	first.begin(t)
	if err := w.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	fb := async(func() (string, error) { return other.GetOrSet(t.Context(), "k", second.load) })
	until(t, "the second to wait for the lock", func() bool { return lb.Stats().Refused >= 2 })
	if n := second.calls.Load(); n != 0 {
		t.Fatalf("%d loaders beside the first", n)
	}
	first.finish("old", nil)
	fa.want(t, "old")
	second.begin(t)
	second.finish("new", nil)
	fb.want(t, "new")
	cached(t, other, "k", "new")
	if st := ma.Stats(); st.FillsVoided != 1 || st.Fills != 0 {
		t.Errorf("the first stored: %+v", st)
	}
	until(t, "the locks to be given back", func() bool { return b.votes(key(t, a, "k")) == 0 })
}

// Without Redis everybody loads for himself; with a refresh lock one after the
// other.
func TestRefreshLockWithoutRedis(t *testing.T) {
	t.Parallel()
	srv, b := start(t), setupLocks(t)
	la, lb := b.open(patientLocks()), b.open(patientLocks())
	opts := rc.Options{OpTimeout: 50 * time.Millisecond, Heartbeat: 20 * time.Millisecond, MaxStaleness: time.Second}
	_, a := instance(t, srv, opts, rc.Config[string]{RefreshLock: la})
	_, other := instance(t, srv, opts, rc.Config[string]{RefreshLock: lb})
	srv.Refuse(true)
	srv.DropConnections()
	first, second := newLoader(), newLoader()
	fa := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", first.load) })
	first.begin(t)
	fb := async(func() (string, error) { return other.GetOrSet(t.Context(), "k", second.load) })
	until(t, "the second to wait for the lock", func() bool { return lb.Stats().Refused >= 2 })
	if n := second.calls.Load(); n != 0 {
		t.Fatalf("%d loaders beside the first", n)
	}
	first.finish("v", nil)
	fa.want(t, "v")
	second.begin(t)
	second.finish("v", nil)
	fb.want(t, "v")
}

// Where the lock cannot be had the loader is not called: there is a stale value,
// or an error.
func TestRefreshLockUnavailable(t *testing.T) {
	t.Parallel()
	srv, b := start(t), setupLocks(t)
	l := b.open(lock.Config{OpTimeout: 2 * time.Second})
	m, s := instance(t, srv, calm(), rc.Config[string]{TTL: time.Minute, StaleFor: time.Hour, SoftTimeout: rc.Off, RefreshLock: l, ErrorBackoff: rc.Off})
	fill(t, s, "stale", "v")
	srv.FastForward(2 * time.Minute)
	for _, s := range b.servers[:2] {
		s.Refuse(true)
		s.DropConnections()
	}
	_, err := s.GetOrSet(t.Context(), "k", never(t))
	var node *lock.NodeError
	if !errors.Is(err, rc.ErrRefreshLock) || !errors.As(err, &node) {
		t.Errorf("GetOrSet = %v, want ErrRefreshLock and the node", err)
	}
	if v, err := s.GetOrSet(t.Context(), "stale", never(t)); v != "v" || err != nil {
		t.Errorf("GetOrSet with a stale value = %q, %v", v, err)
	}
	got, err := s.GetOrSetMany(t.Context(), []string{"x", "y", "stale"}, func(context.Context, []string) (map[string]string, error) {
		t.Error("the loader of a batch was called")
		return nil, errBoom
	})
	var many *rc.ManyError
	if !errors.As(err, &many) || !errors.Is(many.Errs["x"], rc.ErrRefreshLock) || !errors.Is(many.Errs["y"], rc.ErrRefreshLock) || got["stale"] != "v" {
		t.Errorf("GetOrSetMany = %v, %v", got, err)
	}
	if st := m.Stats(); st.LockErrors < 4 {
		t.Errorf("LockErrors = %d, want 4 at least", st.LockErrors)
	}
	for _, s := range b.servers[:2] {
		s.Refuse(false)
	}
	until(t, "the lock to be had again", func() bool {
		v, err := s.GetOrSet(t.Context(), "k", func(context.Context) (string, error) { return "new", nil })
		return v == "new" && err == nil
	})
}

// A loader whose lock is lost is told, and its callers are told why it ended.
func TestRefreshLockLost(t *testing.T) {
	t.Parallel()
	srv, b := start(t), setupLocks(t)
	l := b.open(lock.Config{TTL: 3 * time.Second, OpTimeout: time.Second})
	m, s := instance(t, srv, calm(), rc.Config[string]{RefreshLock: l})
	ld := newLoader()
	f := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", ld.load) })
	ld.begin(t)
	for _, s := range b.servers {
		do(t, s, "FLUSHALL")
	}
	if _, err := f.get(t); !errors.Is(err, rc.ErrRefreshLock) || !errors.Is(err, lock.ErrLost) {
		t.Errorf("GetOrSet = %v, want ErrRefreshLock and ErrLost", err)
	}
	if st := m.Stats(); st.LocksLost != 1 {
		t.Errorf("LocksLost = %d", st.LocksLost)
	}
}

// A batch loads what it has the locks of with one call, and waits for the rest.
func TestRefreshLockMany(t *testing.T) {
	t.Parallel()
	srv, b := start(t), setupLocks(t)
	l := b.open(patientLocks())
	_, s := instance(t, srv, calm(), rc.Config[string]{RefreshLock: l})
	k, err := b.open(patientLocks()).TryAcquire(t.Context(), key(t, s, "held"))
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan []string, 10)
	load := func(_ context.Context, ids []string) (map[string]string, error) {
		out := map[string]string{}
		for _, id := range ids {
			out[id] = "v" + id
			if id != "held" && b.votes(key(t, s, id)) < 2 {
				t.Errorf("%s is loaded without its lock", id)
			}
		}
		calls <- ids
		return out, nil
	}
	type answer struct {
		m   map[string]string
		err error
	}
	done := make(chan answer, 1)
	go func() {
		m, err := s.GetOrSetMany(t.Context(), []string{"a", "b", "held"}, load)
		done <- answer{m, err}
	}()
	if ids := <-calls; len(ids) != 2 {
		t.Errorf("the first call has %v, want a and b", ids)
	}
	until(t, "the batch to wait for the lock", func() bool { return l.Stats().Refused >= 2 })
	if err := k.Release(t.Context()); err != nil {
		t.Error(err)
	}
	got := <-done
	if got.err != nil || len(got.m) != 3 || got.m["held"] != "vheld" {
		t.Errorf("GetOrSetMany = %v, %v", got.m, got.err)
	}
	until(t, "the locks to be given back", func() bool {
		return b.votes(key(t, s, "a"))+b.votes(key(t, s, "b"))+b.votes(key(t, s, "held")) == 0
	})
}

// A loader that hangs, and does not heed its context, does not keep the lock for
// ever.
func TestRefreshLockOfALoaderThatHangs(t *testing.T) {
	t.Parallel()
	srv, b := start(t), setupLocks(t)
	l := b.open(patientLocks())
	_, s := instance(t, srv, calm(), rc.Config[string]{RefreshLock: l, LoadTimeout: 50 * time.Millisecond, LeaseTTL: 50 * time.Millisecond, ErrorBackoff: rc.Off})
	hang := make(chan struct{})
	defer close(hang)
	_, err := s.GetOrSet(t.Context(), "k", func(context.Context) (string, error) { <-hang; return "", errBoom })
	if !errors.Is(err, rc.ErrLoadTimeout) {
		t.Errorf("GetOrSet = %v, want ErrLoadTimeout", err)
	}
	until(t, "the lock to be given back", func() bool { return b.votes(key(t, s, "k")) == 0 })
	until(t, "another load", func() bool {
		v, err := s.GetOrSet(t.Context(), "k", func(context.Context) (string, error) { return "v", nil })
		return v == "v" && err == nil
	})
}

// A refresh in the background does not wait for the lock: who has it brings the
// value. It leaves no mark that would hold others back.
func TestRefreshLockInTheBackground(t *testing.T) {
	t.Parallel()
	srv, b := start(t), setupLocks(t)
	l := b.open(patientLocks())
	m, s := instance(t, srv, calm(), rc.Config[string]{TTL: time.Minute, StaleFor: time.Hour, RefreshLock: l, ErrorBackoff: time.Hour})
	fill(t, s, "k", "old")
	until(t, "the lock of the first load to be given back", func() bool { return b.votes(key(t, s, "k")) == 0 })
	k, err := b.open(patientLocks()).TryAcquire(t.Context(), key(t, s, "k"))
	if err != nil {
		t.Fatal(err)
	}
	srv.FastForward(2 * time.Minute)
	if v, err := s.GetOrSet(t.Context(), "k", never(t)); v != "old" || err != nil {
		t.Errorf("GetOrSet = %q, %v, want the stale value", v, err)
	}
	until(t, "the refresh to be given up", func() bool { return l.Stats().Refused >= 1 && do(t, srv, "EXISTS", leaseKey(t, s, "k")) == int64(0) })
	if err := k.Release(t.Context()); err != nil {
		t.Error(err)
	}
	var n atomic.Int32
	until(t, "a refresh that gets the lock", func() bool {
		v, err := s.GetOrSet(t.Context(), "k", gives("new", &n))
		return v == "new" && err == nil
	})
	if st := m.Stats(); st.LockErrors != 0 {
		t.Errorf("LockErrors = %d: a lock that others hold is none", st.LockErrors)
	}
}

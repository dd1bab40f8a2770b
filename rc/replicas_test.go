package rc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

func TestWaitKey(t *testing.T) {
	t.Parallel()
	space, err := key.NewSpace("", "", "users")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{
		space.Key("1"), space.Key("{}%"), space.Key(strings.Repeat("x", 600)), space.TokenKey(-1), space.TokenKey(3),
		key.TagKey("", "a{b}"), key.TagKey("", "}"), key.GuardKey("", 3),
	} {
		w := waitKey("", k)
		if hashslot.Of(w) != hashslot.Of(k) || !strings.HasPrefix(w, "cache:#") {
			t.Errorf("waitKey(%q) = %q in slot %d, want slot %d", k, w, hashslot.Of(w), hashslot.Of(k))
		}
	}
	if w := waitKey("app", space.Key("1")); !strings.HasPrefix(w, "app:#wait:{") {
		t.Errorf("waitKey = %q, want the prefix app", w)
	}
}

// replicaBench is a cluster with a replica for each primary, and a service.
type replicaBench struct {
	t        *testing.T
	c        *localredis.Cluster
	m        *Manager
	s        *CacheService[string]
	id, key  string
	primary  *localredis.Server
	replica  *localredis.Server
	deadline context.Context
}

func newReplicaBench(t *testing.T) *replicaBench {
	t.Helper()
	b := &replicaBench{t: t, id: "k"}
	b.c = localredis.NewCluster(t, localredis.ClusterConfig{Flavor: localredis.Redis, ReplicasPerPrimary: 1})
	var cancel context.CancelFunc
	b.deadline, cancel = context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	b.open(strings.Join(b.c.Addrs(), ","))
	b.find()
	return b
}

func (b *replicaBench) open(addrs string) {
	b.t.Helper()
	var err error
	if b.m, err = Open(b.t.Context(), "redis://"+addrs, Options{OpTimeout: 5 * time.Second}); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = b.m.Close() })
	if b.s, err = New(b.m, "replicas", Config[string]{TTL: time.Minute}); err != nil {
		b.t.Fatal(err)
	}
	if b.key, err = b.s.Key(b.id); err != nil {
		b.t.Fatal(err)
	}
}

// find learns who serves the key now.
func (b *replicaBench) find() {
	b.t.Helper()
	var err error
	if b.primary, err = b.c.PrimaryOf(b.deadline, localredis.Slot(b.key)); err != nil {
		b.t.Fatal(err)
	}
	replicas, err := b.c.ReplicasOf(b.deadline, b.primary)
	if err != nil || len(replicas) != 1 {
		b.t.Fatalf("replicas of %s: %v, %v", b.primary.Addr(), replicas, err)
	}
	b.replica = replicas[0]
}

func (b *replicaBench) set(n int, timeout time.Duration) error {
	return b.s.Set(WaitReplicas(b.deadline, n, timeout), b.id, "v")
}

func (b *replicaBench) do(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// wantReplicas checks a ReplicasError; text is part of why it is not known how
// many replicas have the write, "" if that is known.
func wantReplicas(t *testing.T, err error, want, got int, text string) {
	t.Helper()
	var re *ReplicasError
	if !errors.As(err, &re) || re.Want != want || re.Got != got || (re.Err == nil) != (text == "") || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v (%T), want a ReplicasError of %d wanted, %d got, %q", err, err, want, got, text)
	}
}

// TestWaitReplicas: nil means that the replica has it; one that does not answer
// is an error within the time, and so are more replicas than there are.
func TestWaitReplicas(t *testing.T) {
	t.Parallel()
	b := newReplicaBench(t)
	b.do("Set", b.set(1, 10*time.Second))
	reply, err := b.replica.Do(b.deadline, "KEYS", "*")
	b.do("KEYS", err)
	if list, _ := reply.([]any); !slices.Contains(list, any(b.key)) {
		t.Errorf("the replica has %v, want %q in it", reply, b.key)
	}
	wantReplicas(t, b.set(2, 2*time.Second), 2, 1, "")

	b.do("Freeze", b.replica.Freeze())
	began := time.Now()
	wantReplicas(t, b.set(1, 300*time.Millisecond), 1, 0, "")
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("it took %v, want all of the 300ms", took)
	}
	if v, found, err := b.s.Get(b.deadline, b.id); v != "v" || !found || err != nil {
		t.Errorf("Get = %q, %v, %v, want what was written all the same", v, found, err)
	}
	short, cancel := context.WithTimeout(b.deadline, 100*time.Millisecond)
	defer cancel()
	mark := b.m.markReplicas(b.deadline, b.key)
	// The replies and the end of the context come at the same time.
	if err := b.m.waitReplicas(short, mark, 1, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		wantReplicas(t, err, 1, 0, "")
	}
	ended, cancel := context.WithCancel(b.deadline)
	cancel()
	if err := b.m.waitReplicas(ended, mark, 1, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("waitReplicas with a context that is over = %v, want canceled", err)
	}
	b.do("Thaw", b.replica.Thaw())
	b.do("Set after Thaw", b.set(1, 30*time.Second))
}

// TestWaitReplicasDoesNotBlock: while some wait, others use the Manager.
func TestWaitReplicasDoesNotBlock(t *testing.T) {
	t.Parallel()
	b := newReplicaBench(t)
	b.do("Freeze", b.replica.Freeze())
	ctx, cancel := context.WithCancel(b.deadline)
	defer cancel()
	var wg sync.WaitGroup
	mark := b.m.markReplicas(ctx, b.key)
	for range 80 { // more than Options.BlockingPool
		wg.Go(func() {
			if err := b.m.waitReplicas(ctx, mark, 1, time.Hour); !errors.Is(err, context.Canceled) {
				t.Errorf("waitReplicas = %v, want canceled", err)
			}
		})
	}
	blocked := func() bool {
		info, err := b.primary.Do(b.deadline, "INFO", "clients")
		b.do("INFO", err)
		return strings.Contains(fmt.Sprint(info), fmt.Sprintf("blocked_clients:%d", DefaultBlockingPool))
	}
	for !blocked() {
		if b.deadline.Err() != nil {
			t.Fatal("the calls do not wait")
		}
	}
	for i := range 100 {
		b.do("Set", b.s.Set(b.deadline, b.id, fmt.Sprint(i)))
		if v, _, err := b.s.Get(b.deadline, b.id); v != fmt.Sprint(i) || err != nil {
			t.Fatalf("Get = %q, %v, want %d", v, err, i)
		}
	}
	cancel()
	wg.Wait()
	b.do("Thaw", b.replica.Thaw())
	b.do("Set after Thaw", b.set(1, 30*time.Second))
}

// TestWaitReplicasPrimaryReplaced: who may have lost the write does not vouch
// for it, whether another node is the primary, or the same one has started
// anew. Afterwards it works again.
func TestWaitReplicasPrimaryReplaced(t *testing.T) {
	t.Parallel()
	for _, what := range []struct {
		name   string
		happen func(b *replicaBench) error
	}{
		{"failover", func(b *replicaBench) error { return b.c.Failover(b.deadline, b.replica, "FORCE") }},
		{"restart", func(b *replicaBench) error { return b.primary.Restart() }},
		{"failover and back", func(b *replicaBench) error {
			if err := b.c.Failover(b.deadline, b.replica, ""); err != nil {
				return err
			}
			if err := b.c.WaitHealthy(b.deadline); err != nil {
				return err
			}
			return b.c.Failover(b.deadline, b.primary, "")
		}},
	} {
		t.Run(what.name, func(t *testing.T) {
			t.Parallel()
			b := newReplicaBench(t)
			b.do("Set", b.set(1, 10*time.Second))
			err := b.m.replicated(WaitReplicas(b.deadline, 1, 5*time.Second), []string{b.key}, func() error {
				if err := b.s.Set(b.deadline, b.id, "w"); err != nil {
					return err
				}
				if err := what.happen(b); err != nil {
					return err
				}
				return b.c.WaitHealthy(b.deadline)
			})
			t.Log(err)
			var re *ReplicasError
			if !errors.As(err, &re) || re.Err == nil || re.Got != 0 {
				t.Errorf("error %v, want that it is not known", err)
			}
			for b.set(1, time.Second) != nil {
				if b.deadline.Err() != nil {
					t.Fatal("it does not work again")
				}
			}
		})
	}
}

// TestWaitReplicasStandalone: without replicas it is an error at once, and the
// write is done.
func TestWaitReplicasStandalone(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	b := &replicaBench{t: t, id: "k"}
	b.deadline = t.Context()
	b.open(srv.Addr())
	began := time.Now()
	wantReplicas(t, b.set(1, time.Hour), 1, 0, "no replicas")
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v, want no wait", took)
	}
	if v, found, err := b.s.Get(t.Context(), b.id); v != "v" || !found || err != nil {
		t.Errorf("Get = %q, %v, %v, want what was written", v, found, err)
	}
	b.do("Set without replicas", b.set(0, 0))
	// Who may not ask does without the check, and not without WAIT.
	_, err := srv.Do(t.Context(), "ACL", "SETUSER", "default", "-info")
	b.do("ACL", err)
	wantReplicas(t, b.set(1, 50*time.Millisecond), 1, 0, "")
	_, err = srv.Do(t.Context(), "ACL", "SETUSER", "default", "-wait")
	b.do("ACL", err)
	wantReplicas(t, b.set(1, 50*time.Millisecond), 1, 0, "NOPERM")
}

// TestWaitReplicasFailedWrite: a write that failed is not waited for.
func TestWaitReplicasFailedWrite(t *testing.T) {
	t.Parallel()
	b := &replicaBench{t: t, id: "k", deadline: t.Context()}
	b.open(localredis.Standalone(t, localredis.Redis).Addr())
	boom := errors.New("boom")
	if err := b.m.replicated(WaitReplicas(t.Context(), 1, time.Hour), []string{b.key}, func() error { return boom }); err != boom {
		t.Errorf("replicated = %v, want the error of the write", err)
	}
}

// Every verb waits, and says if too few replicas have it.
func TestWaitReplicasVerbs(t *testing.T) {
	t.Parallel()
	b := newReplicaBench(t)
	ctx := WaitReplicas(b.deadline, 2, 200*time.Millisecond)
	for name, do := range map[string]func(context.Context) error{
		"Set":           func(ctx context.Context) error { return b.s.Set(ctx, b.id, "v") },
		"SetMany":       func(ctx context.Context) error { return b.s.SetMany(ctx, map[string]string{b.id: "v"}) },
		"Delete":        func(ctx context.Context) error { return b.s.Delete(ctx, b.id) },
		"DeleteMany":    func(ctx context.Context) error { return b.s.DeleteMany(ctx, []string{b.id}) },
		"DeleteBefore":  func(ctx context.Context) error { return b.s.DeleteBefore(ctx, b.id, 1) },
		"Expire":        func(ctx context.Context) error { return b.s.Expire(ctx, b.id) },
		"Clear":         b.s.Clear,
		"ExpireAll":     b.s.ExpireAll,
		"InvalidateTag": func(ctx context.Context) error { return b.m.InvalidateTag(ctx, "t") },
		"ExpireTag":     func(ctx context.Context) error { return b.m.ExpireTag(ctx, "t") },
	} {
		var re *ReplicasError
		if err := do(ctx); !errors.As(err, &re) || re.Want != 2 || re.Got != 1 {
			t.Errorf("%s = %v, want a ReplicasError: 2 wanted, 1 there is", name, err)
		}
		if err := do(WaitReplicas(b.deadline, 1, 10*time.Second)); err != nil {
			t.Errorf("%s with one replica = %v", name, err)
		}
	}
}

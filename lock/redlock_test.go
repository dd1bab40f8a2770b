package lock

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/redis/rueidis"
)

const redlockKey = "cache:redlock:{all}:n"

// opening starts three independent servers.
func opening(t *testing.T, fl localredis.Flavor, args ...string) (opts []rueidis.ClientOption) {
	for range 3 {
		opts = append(opts, option(localredis.Standalone(t, fl, args...).Addr()))
	}
	return opts
}

// trioOf starts three independent servers that need not abstain.
func trioOf(t *testing.T, fl localredis.Flavor, args ...string) (servers []*localredis.Server, opts []rueidis.ClientOption) {
	for range 3 {
		s := localredis.Standalone(t, fl, args...)
		servers, opts = append(servers, s), append(opts, option(s.Addr()))
		settle(t, s, "cache:redlock:{all}")
	}
	return servers, opts
}

func trio(t *testing.T) ([]*localredis.Server, []rueidis.ClientOption) {
	return trioOf(t, localredis.Redis)
}

// settle makes a server one that has run for long: it need not abstain.
func settle(t *testing.T, s *localredis.Server, lives ...string) {
	t.Helper()
	info, _ := do(t, s, "INFO", "replication").(string)
	_, id, _ := strings.Cut(info, "master_replid:")
	id, _, _ = strings.Cut(id, "\r\n")
	for _, life := range lives {
		do(t, s, "HSET", life, "replid", id, "until", "0", "ms", "0")
	}
}

func openRedlock(t *testing.T, opts []rueidis.ClientOption, cfg Config) *Locker {
	t.Helper()
	l, err := OpenRedlock(t.Context(), opts, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestRedlockExcludes(t *testing.T) {
	t.Parallel()
	_, opts := trio(t)
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 3 {
		l := openRedlock(t, opts, quick())
		for range 2 {
			wg.Go(func() {
				for range 3 {
					err := l.Do(limited(t), "n", func(context.Context) error {
						if inside.Add(1) != 1 {
							t.Error("two holders")
						}
						inside.Add(-1)
						return nil
					})
					if err != nil {
						t.Errorf("Do = %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
}

// A held lock is one for every set of nodes that already has the key: granted
// exactly when a majority is free, and nothing of a failed attempt stays.
func TestRedlockQuorum(t *testing.T) {
	t.Parallel()
	servers, opts := trio(t)
	l := openRedlock(t, opts, quick())
	for mask := range 8 {
		taken := 0
		for i, s := range servers {
			do(t, s, "DEL", redlockKey)
			if mask>>i&1 == 1 {
				do(t, s, "SET", redlockKey, "other")
				taken++
			}
		}
		k, err := l.TryAcquire(t.Context(), "n")
		if taken >= 2 {
			mustErr(t, "TryAcquire", err, ErrNotAcquired)
		} else if mustErr(t, "TryAcquire", err, nil); true {
			release(t, k)
		}
		for i, s := range servers {
			until(t, "the keys to be gone", func() bool { return exists(t, s, redlockKey) == (mask>>i&1 == 1) })
		}
	}
}

// A release that a majority refuses says that the lock was lost. If only part
// refuse and part are silent, the lock was not lost: nobody else had a majority.
func TestRedlockReleaseInPart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		forgotten     int // the first so many forget their vote
		down          bool
		lost, nothing bool
	}{
		{"one has forgotten", 1, false, false, true},
		{"two have forgotten", 2, false, true, false},
		{"one has forgotten, one is down", 1, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			servers, opts := trio(t)
			k := acquire(t, openRedlock(t, opts, long()), "n")
			for _, s := range servers {
				until(t, "all votes", func() bool { return exists(t, s, redlockKey) })
			}
			for _, s := range servers[:tt.forgotten] {
				do(t, s, "DEL", redlockKey)
			}
			if tt.down {
				if err := servers[2].Kill(); err != nil {
					t.Fatal(err)
				}
			}
			err := k.Release(t.Context())
			var ne *NodeError
			if errors.Is(err, ErrLost) != tt.lost || (err == nil) != tt.nothing || !tt.lost && !tt.nothing && !errors.As(err, &ne) {
				t.Errorf("Release = %v", err)
			}
			for _, s := range servers[:2] {
				until(t, "the votes to be gone", func() bool { return !exists(t, s, redlockKey) })
			}
		})
	}
}

// A release wakes who waits: the TTL is far longer than the test waits.
func TestRedlockHandOver(t *testing.T) {
	t.Parallel()
	servers, opts := trio(t)
	cfg := Config{TTL: time.Hour, OpTimeout: 5 * time.Second}
	k := acquire(t, openRedlock(t, opts, cfg), "n")
	l := openRedlock(t, opts, cfg)
	next := async(func() error { _, err := l.Acquire(limited(t), "n"); return err })
	for _, s := range servers {
		until(t, "the waiter to listen", func() bool {
			n := do(t, s, "PUBSUB", "SHARDNUMSUB", redlockKey+":w").([]any)
			return n[1] == int64(1)
		})
	}
	settled(t, servers[0])
	release(t, k)
	mustErr(t, "Acquire", event(t, "the lock", next), nil)
}

// One node may be dead or frozen, two may not.
func TestRedlockNodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(s *localredis.Server) error
	}{{"killed", (*localredis.Server).Kill}, {"frozen", (*localredis.Server).Freeze}} {
		t.Run(c.name, func(t *testing.T) {
			servers, opts := trio(t)
			l := openRedlock(t, opts, quick())
			if err := c.do(servers[1]); err != nil {
				t.Fatal(err)
			}
			k := acquire(t, l, "n")
			time.Sleep(quick().TTL) // it is extended meanwhile; nothing is decided by it
			if time.Until(k.Until()) <= 0 {
				t.Error("not extended")
			}
			release(t, k)
			if err := c.do(servers[2]); err != nil {
				t.Fatal(err)
			}
			_, err := l.TryAcquire(t.Context(), "n")
			var node *NodeError
			if !asNode(err, &node) || !strings.Contains(err.Error(), servers[2].Addr()) || !SafeToRetry(err) {
				t.Errorf("TryAcquire = %v, want a NodeError of %s", err, servers[2].Addr())
			}
			until(t, "the key to be gone", func() bool { return !exists(t, servers[0], redlockKey) })
		})
	}
}

// Without a quorum, Open fails; with one, the node that was down is joined later.
func TestOpenRedlock(t *testing.T) {
	t.Parallel()
	servers, opts := trio(t)
	for _, n := range []int{0, 1, 2} {
		if _, err := OpenRedlock(t.Context(), opts[:n], quick()); err == nil {
			t.Errorf("OpenRedlock over %d nodes = nil", n)
		}
	}
	if err := servers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	l := openRedlock(t, opts, quick())
	release(t, acquire(t, l, "n"))
	if err := servers[0].Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the connection", func() bool { return l.engine.(*redlock).nodes[0].client.Load() != nil })
	if err := servers[1].Kill(); err != nil {
		t.Fatal(err)
	}
	release(t, acquire(t, l, "n"))
	if err := servers[2].Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRedlock(t.Context(), opts, quick()); err == nil || !strings.Contains(err.Error(), "quorum") {
		t.Errorf("OpenRedlock with one of three = %v", err)
	}
}

// The names are fixed, and spread evenly.
func TestShardTags(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 5, 7} {
		for i, tag := range shardTags(n) {
			if s := int(hashslot.Of(tag)); s != localredis.Slot(tag) || s*n/hashslot.Count != i {
				t.Errorf("tag %d of %d is %s in slot %d", i, n, tag, s)
			}
		}
	}
	if got := strings.Join(shardTags(3), " "); got != "r53 r33 r217" {
		t.Errorf("shardTags(3) = %s: clients of other versions would not be excluded", got)
	}
}

// A killed primary without a replica takes one vote of three.
func TestShards(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{})
	for i, tag := range shardTags(DefaultShards) {
		settle(t, c.Nodes()[i], "cache:redlock:{"+tag+"}")
	}
	l, err := OpenShards(t.Context(), option(c.Addrs()...), 0, quick())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	release(t, acquire(t, l, "n"))
	k := acquire(t, l, "n")
	for i, tag := range shardTags(DefaultShards) {
		until(t, "all votes", func() bool { return exists(t, c.Nodes()[i], "cache:redlock:{"+tag+"}:n") })
	}
	if err := c.Nodes()[0].Kill(); err != nil {
		t.Fatal(err)
	}
	_, err = l.TryAcquire(t.Context(), "n")
	mustErr(t, "TryAcquire of a held lock", err, ErrNotAcquired)
	release(t, k)
	release(t, acquire(t, l, "n"))
	if _, err := OpenShards(t.Context(), option(localredis.Standalone(t, localredis.Redis).Addr()), 0, quick()); err == nil {
		t.Error("OpenShards of a standalone server = nil")
	}
}

// settled waits until a waiter has asked in vain, and some time more, which is
// for the message to be the only thing that can wake it; nothing else is decided
// by it.
func settled(t *testing.T, s *localredis.Server) {
	t.Helper()
	last, since := "", time.Now()
	until(t, "the waiter to wait", func() bool {
		stats, _ := do(t, s, "INFO", "commandstats").(string)
		_, calls, asked := strings.Cut(stats, "cmdstat_eval:calls=")
		calls, _, _ = strings.Cut(calls, ",")
		if calls != last {
			last, since = calls, time.Now()
		}
		return asked && time.Since(since) > 200*time.Millisecond
	})
}

// A frozen node costs nobody its time limit while the others agree.
func TestRedlockFrozenDelaysNobody(t *testing.T) {
	t.Parallel()
	servers, opts := trio(t)
	cfg := Config{TTL: time.Hour, OpTimeout: 8 * time.Second}
	l := openRedlock(t, opts, cfg)
	if err := servers[0].Freeze(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	release(t, acquire(t, l, "n"))
	if d := time.Since(start); d >= cfg.OpTimeout {
		t.Errorf("acquire and release took %v", d)
	}
	if err := servers[0].Thaw(); err != nil {
		t.Fatal(err)
	}
	mustErr(t, "Close", l.Close(), nil)
	until(t, "the key to be gone", func() bool { return !exists(t, servers[0], redlockKey) })
}

// What is sent to give back the votes of an attempt must not meet those of the
// next attempt of the same waiter.
func TestRedlockAttemptsDiffer(t *testing.T) {
	t.Parallel()
	servers, opts := trio(t)
	e := openRedlock(t, opts, long()).engine.(*redlock)
	first := e.try(t.Context(), "n", "waiter", true)
	if held, err := e.release("n", first.id, true); !first.granted || !held || err != nil {
		t.Fatalf("%+v, release %v, %v", first, held, err)
	}
	second := e.try(t.Context(), "n", "waiter", true)
	if !second.granted || second.id == first.id {
		t.Fatalf("second attempt %+v after %+v", second, first)
	}
	for _, s := range servers { // a straggler of the first
		until(t, "the vote", func() bool { return exists(t, s, redlockKey) })
	}
	if held, err := e.release("n", first.id, true); held || err != nil {
		t.Errorf("release of the first = %v, %v", held, err)
	}
	if held, _, err := e.extend(t.Context(), "n", second.id); !held || err != nil {
		t.Errorf("the second is held: %v, %v", held, err)
	}
}

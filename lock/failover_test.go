package lock

import (
	"context"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/redis/rueidis"
)

// failoverBundle is a cluster with a replica for each primary.
type failoverBundle struct {
	t *testing.T
	c *localredis.Cluster
}

func onFailover(t *testing.T, f func(t *testing.T, b *failoverBundle)) {
	for _, fl := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		t.Run(string(fl), func(t *testing.T) {
			t.Parallel()
			f(t, &failoverBundle{t, localredis.NewCluster(t, localredis.ClusterConfig{Flavor: fl, ReplicasPerPrimary: 1})})
		})
	}
}

func (b *failoverBundle) open(cfg Config) *Locker {
	b.t.Helper()
	l, err := Open(b.t.Context(), option(b.c.Addrs()...), cfg)
	mustErr(b.t, "Open", err, nil)
	b.t.Cleanup(func() { _ = l.Close() })
	return l
}

func (b *failoverBundle) primary() *localredis.Server {
	b.t.Helper()
	s, err := b.c.PrimaryOf(b.t.Context(), int(hashslot.Of(leaseKey)))
	mustErr(b.t, "PrimaryOf", err, nil)
	return s
}

// failOver makes a replica the primary of the lock, and returns when the holder
// has found it.
func (b *failoverBundle) failOver(k *Lock) *localredis.Server {
	b.t.Helper()
	old := b.primary()
	replicas, err := b.c.ReplicasOf(b.t.Context(), old)
	mustErr(b.t, "ReplicasOf", err, nil)
	mustErr(b.t, "Failover", b.c.Failover(b.t.Context(), replicas[0], "TAKEOVER"), nil)
	s, err := b.c.WaitPrimary(limited(b.t), int(hashslot.Of(leaseKey)), old)
	mustErr(b.t, "WaitPrimary", err, nil)
	until(b.t, "the holder to find the new primary", func() bool { return k.Extend(b.t.Context()) == nil })
	return s
}

// heard reports whether the first in the queue of a server would hear it.
func heard(t *testing.T, s *localredis.Server) bool {
	ids := do(t, s, "ZRANGE", leaseKey+":q", "0", "0").([]any)
	if len(ids) == 0 {
		return false
	}
	return do(t, s, "PUBSUB", "SHARDNUMSUB", leaseKey+":w:"+ids[0].(string)).([]any)[1] != int64(0)
}

// A waiter's subscription stays at the old primary when that is made a replica.
// When it asks the new one, it learns that it would not be heard there.
func TestLeaseWaiterLeftBehind(t *testing.T) {
	t.Parallel()
	onFailover(t, func(t *testing.T, b *failoverBundle) {
		cfg := Config{TTL: 6 * time.Second, OpTimeout: 2 * time.Second, Grace: 5 * time.Second}
		k := acquire(t, b.open(cfg), "n")
		l := b.open(cfg)
		next := async(func() *Lock { k, _ := l.Acquire(limited(t), "n"); return k })
		queued(t, b.primary(), "n", 1)
		s := b.failOver(k)
		until(t, "the waiter to be heard by the new primary", func() bool { return heard(t, s) })
		release(t, k)
		got := event(t, "the lock", next)
		if got == nil || do(t, s, "GET", leaseKey) != got.id {
			t.Fatalf("the waiter holds %+v, the server knows %v", got, do(t, s, "GET", leaseKey))
		}
		release(t, got)
	})
}

// Until then it hears what the new primary says, through the replica, and is not
// counted among those who do: so nothing may be said to it that grants.
func TestLeaseNotGrantedToWhomIsNotCounted(t *testing.T) {
	t.Parallel()
	onFailover(t, func(t *testing.T, b *failoverBundle) {
		primary := b.primary()
		replicas, err := b.c.ReplicasOf(t.Context(), primary)
		mustErr(t, "ReplicasOf", err, nil)
		opt := option(replicas[0].Addr())
		opt.ForceSingleClient, opt.DisableCache = true, true
		c, err := rueidis.NewClient(opt)
		mustErr(t, "NewClient", err, nil)
		defer c.Close()
		said, subscribed := make(chan string, 10), make(chan struct{})
		ctx, cancel := context.WithCancel(rueidis.WithOnSubscriptionHook(t.Context(), func(rueidis.PubSubSubscription) { close(subscribed) }))
		defer cancel()
		const channel = leaseKey + ":w:behind"
		ended := async(func() error {
			return c.Receive(ctx, c.B().Ssubscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) { said <- m.Message })
		})
		event(t, "the subscription at the replica", subscribed)
		do(t, primary, "SET", leaseKey, "holder", "PX", "60000")
		do(t, primary, "ZADD", leaseKey+":q", "1", "behind")
		if n := do(t, primary, "EVAL", handoverSrc+releaseSrc, "3", leaseKey, leaseKey+":q", leaseKey+":n",
			leaseKey+":w:", "60000", "90000000", "holder", ""); n != int64(1) {
			t.Fatalf("release = %v", n)
		}
		if v := do(t, primary, "GET", leaseKey); v != nil {
			t.Errorf("the lock is granted to %v", v)
		}
		do(t, primary, "SPUBLISH", channel, "end")
		if m := event(t, "what the waiter hears", said); m != "end" {
			t.Errorf("the waiter hears %q", m)
		}
		cancel()
		mustErr(t, "Receive", event(t, "its end", ended), context.Canceled)
	})
}

package rc_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// The primary dies, Sentinels promote its replica: both instances find the new
// one, tell each other of changes again, and an invalidation that failed
// meanwhile is delivered.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	srv := localredis.NewSentinel(t, localredis.SentinelConfig{Flavor: localredis.Redis, Replicas: 1})
	url := "redis://" + strings.Join(srv.Addrs(), ",") + "?master_set=" + srv.MasterName
	instance := func() (*rc.Manager, *rc.CacheService[string]) {
		// Sent again with the next news of the failover, the Delete would take
		// what comes after it.
		m, err := rc.Open(t.Context(), url, rc.Options{OpTimeout: 2 * time.Second, ReplayWindow: rc.Off})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m, service(t, m, rc.Config[string]{})
	}
	ma, a := instance()
	_, b := instance()
	set(t, a, "k", "old")
	cached(t, b, "k", "old")
	old, err := srv.Master(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Do(t.Context(), "WAIT", "1", "1000"); err != nil { // the replica has it
		t.Fatal(err)
	}
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := a.Delete(t.Context(), "k"); err == nil {
		t.Error("Delete without a primary gave no error")
	}
	if _, err := srv.WaitMaster(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	until(t, "the queued invalidation to be delivered", func() bool { return ma.Stats().Replayed >= 1 })
	until(t, "the other instance to see it", func() bool {
		_, found, err := b.Get(t.Context(), "k")
		return !found && err == nil
	})
	set(t, b, "k", "new")
	cached(t, a, "k", "new")
	until(t, "memory to be used again", func() bool {
		it, err := a.Lookup(t.Context(), "k")
		return err == nil && it.Source == rc.FromL1
	})
	// The store hears the reply of a beat before the one who sent it.
	until(t, "the new primary to be known as healthy, alone", func() bool {
		h := ma.Health()
		return len(h) == 1 && h[0].Addr != old.Addr() && h[0].Reachable && h[0].FeedAge <= 2*time.Second
	})
}

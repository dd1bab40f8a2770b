package invalidation

import (
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
	"github.com/redis/rueidis"
)

// maker makes servers that can be isolated from each other.
func maker(t *testing.T) redisnode.Maker {
	t.Helper()
	localredis.Require(t, localredis.Redis)
	m, err := localredis.NewMaker(localredis.MakerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// A primary that is cut off from the others, but not from clients, is left for
// its successor.
func TestIsolatedPrimaryInACluster(t *testing.T) {
	c, err := redisnode.StartCluster(t.Context(), maker(t), redisnode.ClusterConfig{ReplicasPerPrimary: 1, NodeTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	writer, reader := pair(t, c.Addrs())
	m := newModel(t, writer, reader)
	m.settled()
	before := m.gaps.Load()
	slot := slotOf(reader, 0)
	primary, err := c.PrimaryOf(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Isolate(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	waitPrimary(t, c, slot, primary)
	m.settled()
	if m.gaps.Load() == before {
		t.Error("no gap was delivered")
	}
	if err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.settled()
	m.stop()
}

// With Sentinel an old primary that does not hear of its successor goes on
// answering. This one does not obey when it is told.
func TestDisobedientPrimaryUnderSentinel(t *testing.T) {
	t.Parallel()
	d := localredis.NewSentinel(t, localredis.SentinelConfig{})
	opt := option(d.Addrs()...)
	opt.Sentinel = rueidis.SentinelOption{MasterSet: redisnode.DefaultMasterName}
	b := open(t, opt, quick(t))
	in := subscribe(b)
	p := b.parts[b.Partition("ns", "k")]
	primary, err := d.Master(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do(t, primary, "ACL", "SETUSER", "default", "-slaveof", "-replicaof", "-client|kill")
	do(t, d.Sentinels()[0], "SENTINEL", "FAILOVER", redisnode.DefaultMasterName)
	successor, err := d.WaitMaster(t.Context(), primary)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the client to know the successor", func() bool { return b.primaryAddr() == successor.Addr() })
	in.waitGap(t, p.index, 1)
	publish(t, b, key("k"))
	in.waitName(t, "k")
	if role := do(t, primary, "ROLE").([]any)[0]; role != "master" {
		t.Errorf("the old primary is a %v: the test shows nothing", role)
	}
}

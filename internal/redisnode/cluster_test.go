package redisnode_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// TestCluster shares one cluster per flavor between its parts, which run in
// order: a start takes 2 s.
func TestCluster(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		begin := time.Now()
		c := newCluster(t, newMaker(t, f), redisnode.ClusterConfig{ReplicasPerPrimary: 1})
		t.Logf("healthy after %s", time.Since(begin))
		for _, part := range []struct {
			name string
			test func(t *testing.T, c *redisnode.Cluster)
		}{
			{"every node is content", testEveryNodeIsContent},
			{"owners agree with the servers", testOwners},
			{"MoveSlot takes the keys along", testMoveSlot},
			{"MoveSlots takes the keys along", testMoveSlots},
			{"SetSlot leaves the keys", testSetSlot},
			{"Failover in every mode", testFailover},
			{"cut replication loses writes", testCutReplication},
			{"killed primary is replaced", testKilledPrimary},
			{"Reset repairs everything", testReset},
			{"Reset of what has not changed keeps the nodes", testQuickReset},
			{"isolated primary is replaced", testIsolatedPrimary},
			{"isolated replica gets no writes", testIsolatedReplica},
			{"nodes come and go", testMembers},
			{"a node that cannot join leaves nothing", testFailedAdd},
		} {
			if !t.Run(part.name, func(t *testing.T) { part.test(t, c) }) {
				t.Fatal("the parts that follow need a healthy cluster")
			}
		}
	})
}

func testEveryNodeIsContent(t *testing.T, c *redisnode.Cluster) {
	nodes := c.Nodes()
	if len(nodes) != 6 || len(c.Addrs()) != 6 || c.Addrs()[5] != nodes[5].Addr() {
		t.Fatalf("Nodes = %d, Addrs = %v, want 6 of each", len(nodes), c.Addrs())
	}
	for i, s := range nodes {
		info, _ := do(t, s, "CLUSTER", "INFO").(string)
		for name, want := range map[string]string{
			"cluster_state": "ok", "cluster_slots_ok": "16384", "cluster_known_nodes": "6", "cluster_size": "3",
		} {
			if got := field(info, name); got != want {
				t.Errorf("%s of node %d = %q, want %q", name, i, got, want)
			}
		}
		role, _ := do(t, s, "ROLE").([]any)
		if want := map[bool]string{true: "master", false: "slave"}[i < 3]; role[0] != want {
			t.Errorf("role of node %d = %v, want %s", i, role, want)
		}
	}
}

func testOwners(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	for i := range 20 {
		key := fmt.Sprintf("{tag%d}x%d", i, i)
		slot := redisnode.Slot(key)
		wantReply(t, c.Nodes()[i%6], int64(slot), "CLUSTER", "KEYSLOT", key)
		owner, err := c.PrimaryOf(ctx, slot)
		must(t, "PrimaryOf", err)
		if want := c.Nodes()[slot*3/redisnode.SlotCount]; owner != want {
			t.Errorf("PrimaryOf(%d) = %s, want %s", slot, owner.Addr(), want.Addr())
		}
		wantReply(t, owner, "OK", "SET", key, "v")
	}
	for i, s := range c.Nodes() {
		var want []*redisnode.Server
		if i < 3 {
			want = c.Nodes()[i+3 : i+4]
		}
		got, err := c.ReplicasOf(ctx, s)
		must(t, "ReplicasOf", err)
		if !slices.Equal(got, want) {
			t.Errorf("ReplicasOf(node %d) = %v, want %v", i, got, want)
		}
	}
}

func testMoveSlot(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	const keys = 250 // more than two batches
	slot, from, to := ownerAndOther(t, c, "{move}")
	for i := range keys {
		wantReply(t, from, "OK", "SET", "{move}"+strconv.Itoa(i), "v"+strconv.Itoa(i))
	}
	must(t, "MoveSlot", c.MoveSlot(ctx, slot, to))
	for i := range keys {
		wantReply(t, to, "v"+strconv.Itoa(i), "GET", "{move}"+strconv.Itoa(i))
	}
	wantReply(t, from, int64(0), "CLUSTER", "COUNTKEYSINSLOT", strconv.Itoa(slot))
	wantMoved(t, from, "{move}", slot, to)
	must(t, "MoveSlot to the owner", c.MoveSlot(ctx, slot, to))
	must(t, "MoveSlot back", c.MoveSlot(ctx, slot, from))
	wantReply(t, from, "v7", "GET", "{move}7")
	must(t, "WaitHealthy", c.WaitHealthy(ctx))

	if err := c.MoveSlot(ctx, redisnode.SlotCount, to); err == nil {
		t.Error("MoveSlot of slot 16384 succeeded")
	}
	replicas, err := c.ReplicasOf(ctx, to)
	must(t, "ReplicasOf", err)
	if err := c.MoveSlot(ctx, slot, replicas[0]); err == nil {
		t.Error("MoveSlot to a replica succeeded")
	}
}

func testMoveSlots(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	a, b := c.Nodes()[0], c.Nodes()[1]
	// The last slots of one node and the first of the next, to a third.
	end := redisnode.SlotCount / 3
	first, last, to := end-150, end+150, c.Nodes()[2]
	keys := keysIn(first, last, 40)
	for _, key := range keys {
		owner, err := c.PrimaryOf(ctx, redisnode.Slot(key))
		must(t, "PrimaryOf", err)
		wantReply(t, owner, "OK", "SET", key, "v"+key)
	}
	must(t, "MoveSlots", c.MoveSlots(ctx, first, last, to))
	for _, key := range keys {
		wantReply(t, to, "v"+key, "GET", key)
	}
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	must(t, "MoveSlots back", c.MoveSlots(ctx, first, end-1, a))
	must(t, "MoveSlots back", c.MoveSlots(ctx, end, last, b))
	for _, key := range keys {
		owner := a
		if redisnode.Slot(key) >= end {
			owner = b
		}
		wantReply(t, owner, "v"+key, "GET", key)
	}
	for _, bad := range [][2]int{{5, 4}, {-1, 3}, {0, redisnode.SlotCount}} {
		if err := c.MoveSlots(ctx, bad[0], bad[1], to); err == nil {
			t.Errorf("MoveSlots(%d, %d) succeeded", bad[0], bad[1])
		}
	}
}

func testSetSlot(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	slot, from, to := ownerAndOther(t, c, "{set}")
	wantReply(t, from, "OK", "SET", "{set}k", "v")
	must(t, "SetSlot", c.SetSlot(ctx, slot, to))
	wantReply(t, to, nil, "GET", "{set}k")
	wantMoved(t, from, "{set}k", slot, to)
	owner, err := c.PrimaryOf(ctx, slot)
	must(t, "PrimaryOf", err)
	if owner != to {
		t.Errorf("PrimaryOf = %s, want %s", owner.Addr(), to.Addr())
	}
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
}

func testFailover(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	slot := redisnode.Slot("failover")
	for _, mode := range []string{"", "FORCE", "TAKEOVER"} {
		old, replica := shardOf(t, c, slot)
		setAtReplica(t, old, "failover", mode)
		begin := time.Now()
		must(t, "Failover "+mode, c.Failover(ctx, replica, mode))
		t.Logf("failover %q took %s", mode, time.Since(begin))
		owner, err := c.PrimaryOf(ctx, slot)
		must(t, "PrimaryOf", err)
		if owner != replica {
			t.Errorf("after %q PrimaryOf = %s, want %s", mode, owner.Addr(), replica.Addr())
		}
		wantReply(t, replica, mode, "GET", "failover")
		must(t, "WaitHealthy after "+mode, c.WaitHealthy(ctx))
		if err := c.Failover(ctx, replica, mode); err == nil {
			t.Errorf("Failover %q to a primary succeeded", mode)
		}
	}
}

func testCutReplication(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	primary, replica := shardOf(t, c, redisnode.Slot("cut"))
	setAtReplica(t, primary, "cut", "old")
	must(t, "CutReplication", c.CutReplication(ctx, replica))
	wantReply(t, primary, "OK", "SET", "cut", "new")
	wantReply(t, primary, int64(0), "WAIT", "1", "1200") // longer than the replica's second between attempts
	brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := c.WaitHealthy(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitHealthy while cut = %v, want DeadlineExceeded", err)
	}
	if err := c.CutReplication(ctx, primary); err == nil {
		t.Error("CutReplication of a primary succeeded")
	}
	wantConfig(t, primary, "masteruser", "")
	must(t, "RestoreReplication", c.RestoreReplication(ctx, replica))
	setAtReplica(t, primary, "cut", "kept")
	must(t, "WaitHealthy", c.WaitHealthy(ctx))

	must(t, "CutReplication", c.CutReplication(ctx, replica))
	wantReply(t, primary, "OK", "SET", "cut", "lost")
	must(t, "Failover", c.Failover(ctx, replica, "TAKEOVER"))
	wantReply(t, replica, "kept", "GET", "cut")
	must(t, "RestoreReplication", c.RestoreReplication(ctx, replica))
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
}

func testKilledPrimary(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	slot := redisnode.Slot("killed")
	old, replica := shardOf(t, c, slot)
	setAtReplica(t, old, "killed", "v")
	id := do(t, old, "CLUSTER", "MYID")
	begin := time.Now()
	must(t, "Kill", old.Kill())
	if owner, err := c.PrimaryOf(ctx, slot); err != nil || owner != old {
		t.Errorf("PrimaryOf right after the kill = %v, %v, want the killed one", owner, err)
	}
	promoted, err := c.WaitPrimary(ctx, slot, old)
	must(t, "WaitPrimary", err)
	t.Logf("promoted after %s", time.Since(begin))
	if promoted != replica {
		t.Fatalf("promoted %s, want %s", promoted.Addr(), replica.Addr())
	}
	wantReply(t, promoted, "v", "GET", "killed")
	must(t, "Start", old.Start())
	wantReply(t, old, id, "CLUSTER", "MYID")
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	replicas, err := c.ReplicasOf(ctx, promoted)
	must(t, "ReplicasOf", err)
	if !slices.Equal(replicas, []*redisnode.Server{old}) {
		t.Errorf("ReplicasOf = %v, want the one that was killed", replicas)
	}
}

func testReset(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	nodes := c.Nodes()
	_, replica := shardOf(t, c, 0)
	must(t, "CutReplication", c.CutReplication(ctx, replica))
	id := do(t, nodes[5], "CLUSTER", "MYID")
	must(t, "Kill", nodes[0].Kill())
	must(t, "Freeze", nodes[1].Freeze())
	begin := time.Now()
	must(t, "Reset", c.Reset(ctx))
	t.Logf("Reset took %s", time.Since(begin))
	testEveryNodeIsContent(t, c)
	wantConfig(t, replica, "masteruser", "")
	for _, s := range nodes {
		wantReply(t, s, int64(0), "DBSIZE")
	}
	if do(t, nodes[5], "CLUSTER", "MYID") == id {
		t.Error("Reset kept the id of a node")
	}
	testOwners(t, c)
}

func testQuickReset(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	primary, replica := shardOf(t, c, redisnode.Slot("quick"))
	id := do(t, primary, "CLUSTER", "MYID")
	setAtReplica(t, primary, "quick", "v")
	must(t, "SetConfig", replica.SetConfig(ctx, "maxmemory", "7mb"))
	must(t, "SetConfig", replica.SetConfig(ctx, "maxmemory", "8mb"))
	wantConfig(t, replica, "maxmemory", "8388608")
	wantReply(t, primary, "OK", "CLIENT", "PAUSE", "60000", "WRITE")
	begin := time.Now()
	must(t, "Reset", c.Reset(ctx))
	t.Logf("Reset of a healthy cluster took %s", time.Since(begin))
	wantReply(t, primary, id, "CLUSTER", "MYID")
	wantReply(t, primary, int64(0), "DBSIZE")
	wantReply(t, replica, int64(0), "DBSIZE")
	wantConfig(t, replica, "maxmemory", "0")
	setAtReplica(t, primary, "quick", "w")

	// What looks well but is not as it was formed is formed again.
	slot, _, to := ownerAndOther(t, c, "quick")
	must(t, "MoveSlot", c.MoveSlot(ctx, slot, to))
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	begin = time.Now()
	must(t, "Reset", c.Reset(ctx))
	t.Logf("Reset after a slot had moved took %s", time.Since(begin))
	testOwners(t, c)
	// So is an open slot, which every node calls healthy.
	slot, from, to := ownerAndOther(t, c, "quick")
	fromID := do(t, from, "CLUSTER", "MYID").(string)
	wantReply(t, to, "OK", "CLUSTER", "SETSLOT", strconv.Itoa(slot), "IMPORTING", fromID)
	must(t, "Reset", c.Reset(ctx))
	if do(t, from, "CLUSTER", "MYID") == fromID {
		t.Error("Reset left the nodes as they were, with an open slot")
	}
}

func TestFrozenPrimaryIsReplacedAndComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, newMaker(t, localredis.Redis), redisnode.ClusterConfig{ReplicasPerPrimary: 1, FullCoverage: true})
	ctx := within(t)
	slot := redisnode.Slot("frozen")
	old, replica := shardOf(t, c, slot)
	must(t, "Freeze", old.Freeze())
	promoted, err := c.WaitPrimary(ctx, slot, old)
	must(t, "WaitPrimary", err)
	if promoted != replica {
		t.Fatalf("promoted %s, want %s", promoted.Addr(), replica.Addr())
	}
	wantConfig(t, promoted, "cluster-require-full-coverage", "yes")
	must(t, "Thaw", old.Thaw())
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	role, _ := do(t, old, "ROLE").([]any)
	if role[0] != "slave" {
		t.Errorf("role of the thawed primary = %v, want slave", role[0])
	}
}

func TestClusterConfigIsValidated(t *testing.T) {
	t.Parallel()
	for _, cfg := range []redisnode.ClusterConfig{
		{Primaries: -1}, {Primaries: redisnode.SlotCount + 1}, {ReplicasPerPrimary: -1}, {NodeTimeout: -1},
		{Access: redisnode.Access{Username: "u"}}, {Access: redisnode.Access{Username: "a b", Password: "p"}},
		{Access: redisnode.Access{TLS: &tls.Config{}}},
	} {
		if c, err := redisnode.StartCluster(within(t), newMaker(t, localredis.Redis), cfg); err == nil {
			c.Stop()
			t.Errorf("StartCluster(%+v) succeeded", cfg)
		}
	}
}

// shardOf returns the primary of slot and its only replica.
func shardOf(t *testing.T, c *redisnode.Cluster, slot int) (primary, replica *redisnode.Server) {
	t.Helper()
	primary, err := c.PrimaryOf(within(t), slot)
	must(t, "PrimaryOf", err)
	replicas, err := c.ReplicasOf(within(t), primary)
	must(t, "ReplicasOf", err)
	if len(replicas) != 1 {
		t.Fatalf("ReplicasOf = %v, want one", replicas)
	}
	return primary, replicas[0]
}

// ownerAndOther returns the slot of key, its primary, and another primary.
func ownerAndOther(t *testing.T, c *redisnode.Cluster, key string) (slot int, owner, other *redisnode.Server) {
	t.Helper()
	slot = redisnode.Slot(key)
	owner, err := c.PrimaryOf(within(t), slot)
	must(t, "PrimaryOf", err)
	other, err = c.PrimaryOf(within(t), (slot+redisnode.SlotCount/2)%redisnode.SlotCount)
	must(t, "PrimaryOf", err)
	if owner == other {
		t.Fatal("half the slots away is the same primary")
	}
	return slot, owner, other
}

func wantMoved(t *testing.T, s *redisnode.Server, key string, slot int, to *redisnode.Server) {
	t.Helper()
	_, err := s.Do(within(t), "GET", key)
	want := redisnode.RedisError(fmt.Sprintf("MOVED %d %s", slot, to.Addr()))
	if !errors.Is(err, want) {
		t.Errorf("GET %s at %s = %v, want %v", key, s.Addr(), err, want)
	}
}

// keysIn returns n keys whose slots are first to last.
func keysIn(first, last, n int) []string {
	var keys []string
	for i := 0; len(keys) < n; i++ {
		key := "key" + strconv.Itoa(i)
		if slot := redisnode.Slot(key); first <= slot && slot <= last {
			keys = append(keys, key)
		}
	}
	return keys
}

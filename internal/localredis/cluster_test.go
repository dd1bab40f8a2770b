package localredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestCluster shares one cluster per flavor between its parts, which run in
// order: a start takes 2 s.
func TestCluster(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f Flavor) {
		begin := time.Now()
		c := NewCluster(t, ClusterConfig{Flavor: f, ReplicasPerPrimary: 1})
		t.Logf("healthy after %s", time.Since(begin))
		for _, part := range []struct {
			name string
			test func(t *testing.T, c *Cluster)
		}{
			{"every node is content", testEveryNodeIsContent},
			{"owners agree with the servers", testOwners},
			{"MoveSlot takes the keys along", testMoveSlot},
			{"SetSlot leaves the keys", testSetSlot},
			{"Failover in every mode", testFailover},
			{"cut replication loses writes", testCutReplication},
			{"killed primary is replaced", testKilledPrimary},
			{"Reset repairs everything", testReset},
		} {
			if !t.Run(part.name, func(t *testing.T) { part.test(t, c) }) {
				t.Fatal("the parts that follow need a healthy cluster")
			}
		}
	})
}

func testEveryNodeIsContent(t *testing.T, c *Cluster) {
	nodes := c.Nodes()
	if len(nodes) != 6 || len(c.Addrs()) != 6 || c.Addrs()[5] != nodes[5].Addr() {
		t.Fatalf("Nodes = %d, Addrs = %v, want 6 of each", len(nodes), c.Addrs())
	}
	for i, s := range nodes {
		info, _ := do(t, s, "CLUSTER", "INFO").(string)
		for name, want := range map[string]string{
			"cluster_state": "ok", "cluster_slots_ok": "16384", "cluster_known_nodes": "6", "cluster_size": "3",
		} {
			if got := infoField(info, name); got != want {
				t.Errorf("%s of node %d = %q, want %q", name, i, got, want)
			}
		}
		role, _ := do(t, s, "ROLE").([]any)
		if want := map[bool]string{true: "master", false: "slave"}[i < 3]; role[0] != want {
			t.Errorf("role of node %d = %v, want %s", i, role, want)
		}
	}
}

func testOwners(t *testing.T, c *Cluster) {
	ctx := within(t)
	for i := range 20 {
		key := fmt.Sprintf("{tag%d}x%d", i, i)
		slot := Slot(key)
		wantReply(t, c.Nodes()[i%6], int64(slot), "CLUSTER", "KEYSLOT", key)
		owner, err := c.PrimaryOf(ctx, slot)
		must(t, "PrimaryOf", err)
		if want := c.Nodes()[slot*3/SlotCount]; owner != want {
			t.Errorf("PrimaryOf(%d) = %s, want %s", slot, owner.Addr(), want.Addr())
		}
		wantReply(t, owner, "OK", "SET", key, "v")
	}
	for i, s := range c.Nodes() {
		var want []*Server
		if i < 3 {
			want = c.Nodes()[i+3 : i+4]
		}
		got, err := c.ReplicasOf(ctx, s)
		must(t, "ReplicasOf", err)
		if !slices.Equal(got, want) {
			t.Errorf("ReplicasOf(node %d) = %v, want %v", i, addrs(got), addrs(want))
		}
	}
}

func testMoveSlot(t *testing.T, c *Cluster) {
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

	if err := c.MoveSlot(ctx, SlotCount, to); err == nil {
		t.Error("MoveSlot of slot 16384 succeeded")
	}
	replicas, err := c.ReplicasOf(ctx, to)
	must(t, "ReplicasOf", err)
	if err := c.MoveSlot(ctx, slot, replicas[0]); err == nil {
		t.Error("MoveSlot to a replica succeeded")
	}
}

func testSetSlot(t *testing.T, c *Cluster) {
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

func testFailover(t *testing.T, c *Cluster) {
	ctx := within(t)
	slot := Slot("failover")
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

func testCutReplication(t *testing.T, c *Cluster) {
	ctx := within(t)
	primary, replica := shardOf(t, c, Slot("cut"))
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
	must(t, "undo", setReplicaUser(ctx, primary, ""))
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

func testKilledPrimary(t *testing.T, c *Cluster) {
	ctx := within(t)
	slot := Slot("killed")
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
	if !slices.Equal(replicas, []*Server{old}) {
		t.Errorf("ReplicasOf = %v, want the one that was killed", addrs(replicas))
	}
}

func testReset(t *testing.T, c *Cluster) {
	ctx := within(t)
	nodes := c.Nodes()
	// As CutReplication leaves it, on a node that Reset makes a replica.
	must(t, "set user", setReplicaUser(ctx, nodes[4], "nosuch"))
	id := do(t, nodes[5], "CLUSTER", "MYID")
	must(t, "Kill", nodes[0].Kill())
	must(t, "Freeze", nodes[1].Freeze())
	begin := time.Now()
	must(t, "Reset", c.Reset(ctx))
	t.Logf("Reset took %s", time.Since(begin))
	testEveryNodeIsContent(t, c)
	for _, s := range nodes {
		wantReply(t, s, int64(0), "DBSIZE")
	}
	if do(t, nodes[5], "CLUSTER", "MYID") == id {
		t.Error("Reset kept the id of a node")
	}
	testOwners(t, c)
	begin = time.Now()
	must(t, "Reset", c.Reset(ctx))
	t.Logf("Reset of a healthy cluster took %s", time.Since(begin))
	testOwners(t, c)
}

func TestFrozenPrimaryIsReplacedAndComesBack(t *testing.T) {
	t.Parallel()
	c := NewCluster(t, ClusterConfig{ReplicasPerPrimary: 1, FullCoverage: true})
	ctx := within(t)
	slot := Slot("frozen")
	old, replica := shardOf(t, c, slot)
	must(t, "Freeze", old.Freeze())
	promoted, err := c.WaitPrimary(ctx, slot, old)
	must(t, "WaitPrimary", err)
	if promoted != replica {
		t.Fatalf("promoted %s, want %s", promoted.Addr(), replica.Addr())
	}
	config, _ := do(t, promoted, "CONFIG", "GET", "cluster-require-full-coverage").([]any)
	if want := []any{"cluster-require-full-coverage", "yes"}; !slices.Equal(config, want) {
		t.Errorf("CONFIG GET = %v, want %v", config, want)
	}
	must(t, "Thaw", old.Thaw())
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	role, _ := do(t, old, "ROLE").([]any)
	if role[0] != "slave" {
		t.Errorf("role of the thawed primary = %v, want slave", role[0])
	}
}

// Views disagree only for moments in a real cluster, so they are made up here.
func TestOwnerWithTheHighestEpochWins(t *testing.T) {
	t.Parallel()
	a, b := &Server{port: 1}, &Server{port: 2}
	c := &Cluster{nodes: []*Server{a, b}, byPort: map[int]*Server{1: a, 2: b}}
	line := func(port int, epoch int64, flag string, slots ...slotRange) nodeLine {
		return nodeLine{port: port, epoch: epoch, flags: []string{flag}, slots: slots}
	}
	mine := slotRange{5, 7}
	for _, tt := range []struct {
		name string
		seen []observation
		want *Server
	}{
		{"older claim first", []observation{
			{a, view{line(1, 3, "myself", mine), line(2, 2, "master")}},
			{b, view{line(1, 3, "master"), line(2, 4, "myself", mine)}},
		}, b},
		{"older claim last", []observation{
			{b, view{line(1, 3, "master"), line(2, 4, "myself", mine)}},
			{a, view{line(1, 3, "myself", mine), line(2, 2, "master")}},
		}, b},
		{"own claim at the same epoch", []observation{
			{a, view{line(1, 3, "master", mine)}},
			{b, view{line(2, 3, "myself", mine)}},
		}, b},
		{"own claim at the same epoch first", []observation{
			{b, view{line(2, 3, "myself", mine)}},
			{a, view{line(1, 3, "master", mine)}},
		}, b},
		{"other slots", []observation{{a, view{line(1, 3, "myself", slotRange{8, 9})}}}, nil},
		{"unknown node", []observation{{a, view{line(9, 3, "master", mine)}}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := c.ownerIn(tt.seen, 6); got != tt.want {
				t.Errorf("ownerIn = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestClusterConfigIsValidated(t *testing.T) {
	t.Parallel()
	for _, cfg := range []ClusterConfig{
		{Primaries: -1}, {Primaries: SlotCount + 1}, {ReplicasPerPrimary: -1}, {NodeTimeout: -1},
	} {
		if c, err := StartCluster(within(t), cfg); err == nil {
			c.Stop()
			t.Errorf("StartCluster(%+v) succeeded", cfg)
		}
	}
}

// shardOf returns the primary of slot and its only replica.
func shardOf(t *testing.T, c *Cluster, slot int) (primary, replica *Server) {
	t.Helper()
	primary, err := c.PrimaryOf(within(t), slot)
	must(t, "PrimaryOf", err)
	replicas, err := c.ReplicasOf(within(t), primary)
	must(t, "ReplicasOf", err)
	if len(replicas) != 1 {
		t.Fatalf("ReplicasOf = %v, want one", addrs(replicas))
	}
	return primary, replicas[0]
}

// ownerAndOther returns the slot of key, its primary, and another primary.
func ownerAndOther(t *testing.T, c *Cluster, key string) (slot int, owner, other *Server) {
	t.Helper()
	slot = Slot(key)
	owner, err := c.PrimaryOf(within(t), slot)
	must(t, "PrimaryOf", err)
	other, err = c.PrimaryOf(within(t), (slot+SlotCount/2)%SlotCount)
	must(t, "PrimaryOf", err)
	if owner == other {
		t.Fatal("half the slots away is the same primary")
	}
	return slot, owner, other
}

func wantMoved(t *testing.T, s *Server, key string, slot int, to *Server) {
	t.Helper()
	_, err := s.Do(within(t), "GET", key)
	want := RedisError(fmt.Sprintf("MOVED %d %s", slot, to.Addr()))
	if !errors.Is(err, want) {
		t.Errorf("GET %s at %s = %v, want %v", key, s.Addr(), err, want)
	}
}

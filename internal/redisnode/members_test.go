package redisnode_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

func testMembers(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	original := c.Nodes()
	begin := time.Now()
	primary, err := c.AddNode(ctx, redisnode.AddOptions{})
	must(t, "AddNode", err)
	t.Logf("AddNode of a primary took %s", time.Since(begin))
	begin = time.Now()
	replica, err := c.AddNode(ctx, redisnode.AddOptions{ReplicaOf: primary})
	must(t, "AddNode of a replica", err)
	t.Logf("AddNode of a replica took %s", time.Since(begin))
	if got := c.Nodes(); !slices.Equal(got, append(slices.Clone(original), primary, replica)) {
		t.Fatalf("Nodes = %v, want the new ones last", got)
	}
	replicas, err := c.ReplicasOf(ctx, primary)
	must(t, "ReplicasOf", err)
	if !slices.Equal(replicas, []*redisnode.Server{replica}) {
		t.Errorf("ReplicasOf = %v, want %s", replicas, replica)
	}
	removePrimary(t, c, primary, replica)

	// One that was there at first is kept for Reset.
	gone := original[4]
	must(t, "RemoveNode", c.RemoveNode(ctx, gone))
	if gone.Running() || slices.Contains(c.Nodes(), gone) {
		t.Errorf("%s is still there", gone)
	}
	if err := c.RemoveNode(ctx, gone); err == nil {
		t.Error("RemoveNode of a node that is gone succeeded")
	}
	if _, err := c.AddNode(ctx, redisnode.AddOptions{ReplicaOf: gone}); err == nil {
		t.Error("AddNode as replica of a node that is gone succeeded")
	}

	begin = time.Now()
	must(t, "Reset", c.Reset(ctx))
	t.Logf("Reset took %s", time.Since(begin))
	if !slices.Equal(c.Nodes(), original) {
		t.Errorf("Nodes after Reset = %v, want the original ones", c.Nodes())
	}
	if replica.Running() {
		t.Error("Reset left an added node running")
	}
	testEveryNodeIsContent(t, c)
	testOwners(t, c)
}

// removePrimary removes an added primary together with slots and a key, and
// looks where these and its replica have gone.
func removePrimary(t *testing.T, c *redisnode.Cluster, primary, replica *redisnode.Server) {
	t.Helper()
	ctx := within(t)
	const first, last = 5400, 5699 // of two primaries
	must(t, "MoveSlots", c.MoveSlots(ctx, first, last, primary))
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	key := keysIn(first, last, 1)[0]
	setAtReplica(t, primary, key, "kept")
	begin := time.Now()
	must(t, "RemoveNode", c.RemoveNode(ctx, primary))
	t.Logf("RemoveNode of a primary with 300 slots took %s", time.Since(begin))
	heir, err := c.PrimaryOf(ctx, redisnode.Slot(key))
	must(t, "PrimaryOf", err)
	wantReply(t, heir, "kept", "GET", key)
	wantEvenShares(t, c, first, last)
	replicas, err := c.ReplicasOf(ctx, c.Nodes()[0])
	must(t, "ReplicasOf", err)
	if !slices.Contains(replicas, replica) {
		t.Errorf("the replica of the removed primary is not among %v", replicas)
	}
	if err := primary.Start(); !errors.Is(err, redisnode.ErrStopped) {
		t.Errorf("Start of an added node that was removed = %v, want ErrStopped", err)
	}
}

// wantEvenShares checks that the slots the removed node had went to the three
// others in equal parts.
func wantEvenShares(t *testing.T, c *redisnode.Cluster, first, last int) {
	t.Helper()
	shares := make(map[*redisnode.Server]int)
	for slot := first; slot <= last; slot += 10 {
		owner, err := c.PrimaryOf(within(t), slot)
		must(t, "PrimaryOf", err)
		shares[owner]++
	}
	for _, s := range c.Nodes()[:3] {
		if shares[s] != 10 {
			t.Errorf("%s got %d of 30 samples, want 10", s, shares[s])
		}
	}
}

// A node that cannot join leaves nothing behind.
func testFailedAdd(t *testing.T, c *redisnode.Cluster) {
	nodes := c.Nodes()
	must(t, "Freeze", nodes[3].Freeze())
	ctx := within(t)
	brief, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if s, err := c.AddNode(brief, redisnode.AddOptions{}); err == nil {
		t.Errorf("AddNode = %s although a node is frozen", s)
	}
	if !slices.Equal(c.Nodes(), nodes) {
		t.Errorf("Nodes = %v, want %v", c.Nodes(), nodes)
	}
	must(t, "Reset", c.Reset(ctx))
	testEveryNodeIsContent(t, c)
}

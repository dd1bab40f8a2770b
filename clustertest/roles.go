package clustertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// PrimaryOf returns the primary of slot, outside of ClusterMode the primary.
// Where nodes disagree, the claim with the highest epoch wins. A killed or frozen
// primary is the answer until it has been replaced.
func (c *Cluster) PrimaryOf(ctx context.Context, slot int) (*Node, error) {
	if slot < 0 || slot >= slotCount {
		return nil, fmt.Errorf("clustertest: slot %d, want 0 to %d", slot, slotCount-1)
	}
	var s *redisnode.Server
	var err error
	switch d := c.deployment.(type) {
	case *redisnode.Cluster:
		s, err = d.PrimaryOf(ctx, slot)
	case *redisnode.Sentinel:
		s, err = d.Master(ctx)
	case *redisnode.Replicated:
		s = d.Primary()
	}
	return c.found(s, err)
}

// PrimaryOfKey is [Cluster.PrimaryOf] for the slot of key.
func (c *Cluster) PrimaryOfKey(ctx context.Context, key string) (*Node, error) {
	return c.PrimaryOf(ctx, c.Slot(key))
}

// ReplicasOf returns the replicas of primary in the order of Nodes, whether they
// run or not. A node that is no primary has none.
func (c *Cluster) ReplicasOf(ctx context.Context, primary *Node) ([]*Node, error) {
	one, err := c.servers([]*Node{primary})
	if err != nil {
		return nil, fmt.Errorf("clustertest: replicas: %w", err)
	}
	if d, ok := c.deployment.(*redisnode.Cluster); ok {
		replicas, err := d.ReplicasOf(ctx, one[0])
		if err != nil {
			return nil, fmt.Errorf("clustertest: replicas of %s: %w", primary, err)
		}
		return c.nodesOf(replicas), nil
	}
	master, err := c.PrimaryOf(ctx, 0)
	if err != nil || master != primary {
		return nil, err
	}
	var replicas []*Node
	for _, n := range c.Nodes() {
		if n != primary {
			replicas = append(replicas, n)
		}
	}
	return replicas, nil
}

// Master returns the primary of a deployment that is no cluster. In SentinelMode
// it is the one that the sentinels name.
func (c *Cluster) Master(ctx context.Context) (*Node, error) {
	if c.topology.Mode == ClusterMode {
		return nil, fmt.Errorf("clustertest: %w", c.unsupported("master", "a cluster has one primary for each slot: use PrimaryOf"))
	}
	return c.PrimaryOf(ctx, 0)
}

// WaitPrimary blocks until slot has a primary other than old, which may have been
// killed, frozen or isolated, and returns it.
func (c *Cluster) WaitPrimary(ctx context.Context, slot int, old *Node) (*Node, error) {
	var found *Node
	err := c.record(ctx, fmt.Sprintf("wait for another primary of slot %d than %s", slot, old), func() error {
		servers, err := c.servers([]*Node{old})
		if err != nil {
			return err
		}
		var s *redisnode.Server
		switch d := c.deployment.(type) {
		case *redisnode.Cluster:
			s, err = d.WaitPrimary(ctx, slot, servers[0])
		case *redisnode.Sentinel:
			s, err = d.WaitMaster(ctx, servers[0])
		default:
			err = c.unsupported("wait for another primary", "nothing fails over by itself here: use Failover, or another mode")
		}
		if err == nil {
			found = c.nodeOf(s)
		}
		return err
	})
	return found, err
}

// WaitMaster is [Cluster.WaitPrimary] for a deployment with one primary.
func (c *Cluster) WaitMaster(ctx context.Context, old *Node) (*Node, error) {
	if c.topology.Mode == ClusterMode {
		return nil, fmt.Errorf("clustertest: %w", c.unsupported("wait for another master", "a cluster has one primary for each slot: use WaitPrimary"))
	}
	return c.WaitPrimary(ctx, 0, old)
}

// WaitStable blocks until every node runs, is in its place and in sync, and all
// of them agree, each asked itself: who owns which of all 16384 slots, who
// replicates whom; with sentinels, who is the master. It does not return
// successfully while a node is killed or frozen, or replication cut.
func (c *Cluster) WaitStable(ctx context.Context) error {
	return c.record(ctx, "wait until stable", func() error { return c.settle(ctx) })
}

func (c *Cluster) settle(ctx context.Context) error {
	if err := c.deployment.WaitHealthy(ctx); err != nil {
		return err
	}
	return c.awaitShards(ctx)
}

func (c *Cluster) found(s *redisnode.Server, err error) (*Node, error) {
	if err == nil && s == nil {
		err = errors.New("no node")
	}
	if err != nil {
		return nil, fmt.Errorf("clustertest: find primary: %w", err)
	}
	return c.nodeOf(s), nil
}

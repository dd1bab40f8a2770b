package clustertest

import (
	"context"
	"fmt"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// MoveSlot moves a slot with its keys to the primary to, with MIGRATE, as
// operators do while clients read and write. It blocks until every node that
// answers knows the new owner. Moving a slot to its owner does nothing. If it
// fails halfway the slot stays open, with keys on both sides; calling it again
// completes the move.
func (c *Cluster) MoveSlot(ctx context.Context, slot int, to *Node) error {
	return c.onSlots(ctx, fmt.Sprintf("move slot %d", slot), to, func(d *redisnode.Cluster, s *redisnode.Server) error {
		return d.MoveSlot(ctx, slot, s)
	})
}

// MoveSlots is [Cluster.MoveSlot] for the slots first to last, both included, in
// batches: a thousand slots take seconds.
func (c *Cluster) MoveSlots(ctx context.Context, first, last int, to *Node) error {
	return c.onSlots(ctx, fmt.Sprintf("move slots %d-%d", first, last), to, func(d *redisnode.Cluster, s *redisnode.Server) error {
		return d.MoveSlots(ctx, first, last, s)
	})
}

// SetSlot makes the primary to the owner of a slot by CLUSTER SETSLOT alone,
// without moving keys, and blocks until every node that answers knows. The keys
// of the slot at the former owner are lost.
func (c *Cluster) SetSlot(ctx context.Context, slot int, to *Node) error {
	return c.onSlots(ctx, fmt.Sprintf("set slot %d", slot), to, func(d *redisnode.Cluster, s *redisnode.Server) error {
		return d.SetSlot(ctx, slot, s)
	})
}

func (c *Cluster) onSlots(ctx context.Context, what string, to *Node, do func(*redisnode.Cluster, *redisnode.Server) error) error {
	return c.record(ctx, fmt.Sprintf("%s to %s", what, to), func() error {
		d, err := c.clusterOnly(what)
		if err != nil {
			return err
		}
		servers, err := c.servers([]*Node{to})
		if err != nil {
			return err
		}
		return do(d, servers[0])
	})
}

// AddNode starts a node and joins it to the cluster: as a replica of replicaOf,
// or, if that is nil, as a primary without slots. It blocks until all nodes
// agree. [Cluster.Reset] removes it again.
func (c *Cluster) AddNode(ctx context.Context, replicaOf *Node) (*Node, error) {
	what := "add a primary without slots"
	if replicaOf != nil {
		what = "add a replica of " + replicaOf.String()
	}
	var added *Node
	err := c.record(ctx, what, func() error {
		d, err := c.clusterOnly("add a node")
		if err != nil {
			return err
		}
		var o redisnode.AddOptions
		if replicaOf != nil {
			servers, err := c.servers([]*Node{replicaOf})
			if err != nil {
				return err
			}
			o.ReplicaOf = servers[0]
		}
		s, err := d.AddNode(ctx, o)
		if err == nil {
			added = c.nodeOf(s)
		}
		return err
	})
	return added, err
}

// RemoveNode moves the slots of a primary evenly to the others, live, makes all
// others forget the node, and stops it for good. It blocks until all agree. The
// node's log stays readable.
func (c *Cluster) RemoveNode(ctx context.Context, n *Node) error {
	return c.record(ctx, "remove "+n.String(), func() error {
		d, err := c.clusterOnly("remove a node")
		if err != nil {
			return err
		}
		servers, err := c.servers([]*Node{n})
		if err != nil {
			return err
		}
		return d.RemoveNode(ctx, servers[0])
	})
}

func (c *Cluster) clusterOnly(what string) (*redisnode.Cluster, error) {
	d, ok := c.deployment.(*redisnode.Cluster)
	if !ok {
		return nil, c.unsupported(what, "use Mode: ClusterMode")
	}
	return d, nil
}

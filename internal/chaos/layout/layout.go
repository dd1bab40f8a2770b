//go:build unix

// Package layout finds the shards of a cluster under faults: by the slots they
// had when it was formed, whichever nodes have those now.
package layout

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// Layout is a cluster and the number of its shards. Numbers of shards that are
// larger wrap around.
type Layout struct {
	Cluster *clustertest.Cluster
	Shards  int
}

// FirstSlot returns the first slot that one of so many shards had when the
// cluster was formed. The suites move other slots than the first.
func FirstSlot(shard, shards int) int { return (shard*redisnode.SlotCount + shards - 1) / shards }

// Slot returns a slot of a shard that is not moved.
func (l Layout) Slot(shard int) int { return FirstSlot(shard%l.Shards, l.Shards) }

// Primary returns the primary of a shard.
func (l Layout) Primary(ctx context.Context, shard int) (*clustertest.Node, error) {
	return l.Cluster.PrimaryOf(ctx, l.Slot(shard))
}

// Pair returns the primary of a shard and one of its replicas.
func (l Layout) Pair(ctx context.Context, shard int) (primary, replica *clustertest.Node, err error) {
	if primary, err = l.Primary(ctx, shard); err != nil {
		return nil, nil, err
	}
	replicas, err := l.Cluster.ReplicasOf(ctx, primary)
	if err == nil && len(replicas) == 0 {
		err = fmt.Errorf("chaos: %s has no replica", primary)
	}
	if err != nil {
		return nil, nil, err
	}
	return primary, replicas[0], nil
}

// Replaced blocks until a shard has another primary than old.
func (l Layout) Replaced(ctx context.Context, shard int, old *clustertest.Node) error {
	_, err := l.Cluster.WaitPrimary(ctx, l.Slot(shard), old)
	return err
}

// Each does something with 0 to n-1 at the same time, and returns all errors.
func Each(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup // ends with do
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

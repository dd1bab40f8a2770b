package clustertest

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/internal/nap"
)

// shardsPoll is the time between two questions for shards.
const shardsPoll = 10 * time.Millisecond

// awaitShards blocks until every node of a cluster sees each replica in the shard
// of its primary. Valkey, and Redis from 7.2 on, give shards ids that spread only
// after everything else is in order. A node that is killed before that writes a
// configuration file which several versions then refuse to read as corrupted
// (github.com/valkey-io/valkey/issues/774 and 2171).
func (c *Cluster) awaitShards(ctx context.Context) error {
	if c.topology.Mode != ClusterMode {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	for _, n := range c.Nodes() {
		for {
			reply, err := n.server.Do(ctx, "CLUSTER", "SHARDS")
			if err == nil {
				err = checkShards(reply)
			}
			if err == nil {
				break
			}
			if ended := nap.For(ctx, shardsPoll); ended != nil {
				return fmt.Errorf("%s: %w: %w", n, ended, err)
			}
		}
	}
	return nil
}

// checkShards wants one primary in each shard of a reply to CLUSTER SHARDS.
func checkShards(reply any) error {
	shards, _ := reply.([]any)
	for _, shard := range shards {
		primaries := 0
		nodes, _ := field(shard, "nodes").([]any)
		for _, node := range nodes {
			if field(node, "role") == "master" {
				primaries++
			}
		}
		if primaries != 1 {
			return fmt.Errorf("CLUSTER SHARDS has a shard with %d primaries among %d nodes", primaries, len(nodes))
		}
	}
	return nil
}

// field returns the value that follows name in a list of names and values.
func field(list any, name string) any {
	pairs, _ := list.([]any)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == name {
			return pairs[i+1]
		}
	}
	return nil
}

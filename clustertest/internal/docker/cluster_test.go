package docker

import (
	"context"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// TestCluster forms a cluster of containers and partitions it.
func TestCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	m := newTestMaker(t, Config{})
	began := time.Now()
	c, err := redisnode.StartCluster(ctx, m, redisnode.ClusterConfig{ReplicasPerPrimary: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	t.Logf("healthy after %s", time.Since(began))

	old := c.Nodes()[0]
	began = time.Now()
	if err := c.Isolate(ctx, old); err != nil {
		t.Fatal(err)
	}
	t.Logf("Isolate took %s", time.Since(began))
	if _, err := c.WaitPrimary(ctx, 0, old); err != nil {
		t.Fatal(err)
	}
	t.Logf("slot 0 has another primary after %s", time.Since(began))
	began = time.Now()
	if err := c.Heal(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("Heal took %s", time.Since(began))
	if err := c.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("healthy after %s", time.Since(began))
}

//go:build unix

package fleet

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		os.Exit(runWorker())
	}
	code := m.Run()
	for _, s := range clusters {
		if s.cluster != nil {
			s.cluster.Stop()
		}
	}
	os.Exit(code)
}

// sharedCluster is the cluster of one flavor, which the tests use in turn.
type sharedCluster struct {
	turn    sync.Mutex // held by the test that uses the cluster; protects the rest
	cluster *localredis.Cluster
	dirty   bool // by a test that changed more than data
}

var clusters = map[localredis.Flavor]*sharedCluster{
	localredis.Redis:  {},
	localredis.Valkey: {},
}

// borrowCluster gives the test a cluster of three primaries with a replica each,
// until it ends. mayChange says that the test does more to it than to write
// keys.
func borrowCluster(t *testing.T, flavor localredis.Flavor, mayChange bool) *localredis.Cluster {
	t.Helper()
	localredis.Require(t, flavor)
	s := clusters[flavor]
	s.turn.Lock()
	t.Cleanup(s.turn.Unlock)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var err error
	switch {
	case s.cluster == nil:
		s.cluster, err = localredis.StartCluster(ctx, localredis.ClusterConfig{Flavor: flavor, ReplicasPerPrimary: 1})
	case s.dirty:
		err = s.cluster.Reset(ctx)
	}
	if err != nil {
		t.Fatalf("cluster: %v", err)
	}
	s.dirty = mayChange
	return s.cluster
}

// onBoth runs a test on Redis and on Valkey, at the same time; on one of them in
// short mode.
func onBoth(t *testing.T, test func(t *testing.T, flavor localredis.Flavor)) {
	t.Helper()
	for _, f := range localredis.Flavors(t.Name(), testing.Short()) {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

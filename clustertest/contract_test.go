package clustertest

import (
	"testing"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/contract"
	"github.com/fleetcache/fleetcache/rc"
)

// TestContract runs the library's own contract on every kind of deployment.
func TestContract(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, on Topology) {
		long(t, on)
		for _, mode := range []Mode{ClusterMode, Replicated, SentinelMode} {
			t.Run(mode.String(), func(t *testing.T) {
				topology := on
				topology.Mode = mode
				contract.Run(t, contractEnv(t, Start(t, topology)))
			})
		}
	})
}

func contractEnv(t *testing.T, c *Cluster) contract.Env {
	client := clientOf(t, c.ClientOption())
	return contract.Env{
		Open: func(t *testing.T, o rc.Options) *rc.Manager {
			t.Helper()
			m, err := rc.OpenClient(t.Context(), c.ClientOption(), o)
			must(t, "open", err)
			t.Cleanup(func() { _ = m.Close() })
			return m
		},
		Do: func(t *testing.T, key string, args ...string) {
			t.Helper()
			cmd := client.B().Arbitrary(args[0])
			for _, a := range args[1:] {
				if a == key {
					cmd = cmd.Keys(a)
				} else {
					cmd = cmd.Args(a)
				}
			}
			if err := client.Do(t.Context(), cmd.Build()).Error(); err != nil && !rueidis.IsRedisNil(err) {
				t.Fatal(err)
			}
		},
	}
}

package sweep

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

func TestMain(m *testing.M) {
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
}

var clusters = map[localredis.Flavor]*sharedCluster{
	localredis.Redis:  {},
	localredis.Valkey: {},
}

// borrowCluster gives the test an empty, healthy cluster of three primaries with
// a replica each, until it ends.
func borrowCluster(t *testing.T, flavor localredis.Flavor) *localredis.Cluster {
	t.Helper()
	localredis.Require(t, flavor)
	s := clusters[flavor]
	s.turn.Lock()
	t.Cleanup(s.turn.Unlock)
	var err error
	if s.cluster == nil {
		s.cluster, err = localredis.StartCluster(within(t), localredis.ClusterConfig{Flavor: flavor, ReplicasPerPrimary: 1})
	} else {
		err = s.cluster.Reset(within(t))
	}
	must(t, "cluster", err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.cluster.Describe(400))
		}
	})
	return s.cluster
}

// onBoth runs a test on Redis and on Valkey, at the same time.
func onBoth(t *testing.T, test func(t *testing.T, flavor localredis.Flavor)) {
	t.Helper()
	for _, f := range localredis.Flavors(t.Name(), testing.Short()) {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

// onClusters runs a test on a cluster of each flavor, with a client.
func onClusters(t *testing.T, test func(t *testing.T, c *localredis.Cluster, client rueidis.Client)) {
	t.Helper()
	onBoth(t, func(t *testing.T, f localredis.Flavor) {
		c := borrowCluster(t, f)
		test(t, c, newClient(t, c.Addrs()...))
	})
}

func newClient(t *testing.T, addrs ...string) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs, PipelineMultiplex: -1, DisableCache: true})
	must(t, "NewClient", err)
	t.Cleanup(c.Close)
	return c
}

// within is a context that ends before the test binary gives up.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// fill writes head0 to head<n-1>.
func fill(t *testing.T, client rueidis.Client, head string, n int) {
	t.Helper()
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(head, i)
	}
	fillNames(t, client, names)
}

func fillNames(t *testing.T, client rueidis.Client, names []string) {
	t.Helper()
	for part := range slices.Chunk(names, 500) {
		var cmds rueidis.Commands
		for _, k := range part {
			cmds = append(cmds, client.B().Set().Key(k).Value("v").Build().Pin())
		}
		for _, r := range client.DoMulti(within(t), cmds...) {
			must(t, "SET", r.Error())
		}
	}
}

// keysOf returns what is left on the primaries, asked each for itself, sorted.
func keysOf(t *testing.T, match string, servers ...*localredis.Server) []string {
	t.Helper()
	var keys []string
	for _, s := range servers {
		reply, err := s.Do(within(t), "KEYS", match)
		must(t, "KEYS", err)
		list, _ := reply.([]any)
		for _, k := range list {
			keys = append(keys, fmt.Sprint(k))
		}
	}
	slices.Sort(keys)
	return keys
}

// wantLeft fails unless exactly these many keys are left.
func wantLeft(t *testing.T, match string, want int, servers ...*localredis.Server) {
	t.Helper()
	if got := keysOf(t, match, servers...); len(got) != want {
		t.Errorf("%d keys %s are left, want %d: %.300v", len(got), match, want, got)
	}
}

func slotOf(k string) uint16 { return uint16(localredis.Slot(k)) }

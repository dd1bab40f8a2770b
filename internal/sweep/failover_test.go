package sweep

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/nap"
	"github.com/fleetcache/fleetcache/internal/topology"
)

// TestFailover: the second primary is replaced, or becomes another process,
// while it is being scanned.
func TestFailover(t *testing.T) {
	const n = 6000
	for _, what := range []struct {
		name   string
		happen func(t *testing.T, c *localredis.Cluster) error
	}{
		{"killed", func(_ *testing.T, c *localredis.Cluster) error { return c.Nodes()[1].Kill() }},
		{"frozen", func(_ *testing.T, c *localredis.Cluster) error { return c.Nodes()[1].Freeze() }},
		{"handed over", func(t *testing.T, c *localredis.Cluster) error {
			return c.Failover(within(t), c.Nodes()[4], "")
		}},
		{"restarted", func(_ *testing.T, c *localredis.Cluster) error { return c.Nodes()[1].Restart() }},
	} {
		t.Run(what.name, func(t *testing.T) {
			onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
				fill(t, client, "a:", n)
				fill(t, client, "b:", 100)
				must(t, "WaitHealthy", c.WaitHealthy(within(t)))
				g := newGate(t, c, "a:*", func(int) bool { return false },
					func() { check(t, what.name, what.happen(t, c)) }, nil)
				r, err := Sweep(within(t), client, Options{Match: "a:*", Count: 20, Keep: g.keep, OpTimeout: time.Second})
				must(t, "Sweep", err)
				t.Logf("%+v", r)
				if r.Passes < 2 {
					t.Errorf("Result = %+v, want the second primary to be swept again", r)
				}
				var live []*localredis.Server
				for _, slot := range []int{0, 5461, 16383} {
					s, err := c.PrimaryOf(within(t), slot)
					must(t, "PrimaryOf", err)
					live = append(live, s)
				}
				wantLeft(t, "a:*", 0, live...)
				wantLeft(t, "b:*", 100, live...)
			})
		})
	}
}

// TestNodeDown: the others are swept, and the error names the one that is down.
func TestNodeDown(t *testing.T) {
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		nodes := c.Nodes()
		fill(t, client, "a:", 3000)
		must(t, "WaitHealthy", c.WaitHealthy(within(t)))
		must(t, "Kill", nodes[4].Kill())
		must(t, "Kill", nodes[1].Kill())

		ctx, cancel := context.WithCancel(within(t))
		var wg sync.WaitGroup
		s := newSweeper(client, mustDefaults(t, Options{Match: "a:*", OpTimeout: time.Second}))
		var err error
		wg.Go(func() { err = s.run(ctx) })
		limit := within(t)
		for s.passes.Load() < 3 {
			must(t, "wait for passes", nap.For(limit, 20*time.Millisecond))
		}
		cancel()
		wg.Wait()
		wantLeft(t, "a:*", 0, nodes[0], nodes[2])
		var ne *topology.NodeError
		if !errors.Is(err, context.Canceled) || !errors.As(err, &ne) || ne.Node != nodes[1].Addr() {
			t.Errorf("Sweep = %v, want canceled, with %s not finished", err, nodes[1].Addr())
		}
		if err != nil && !strings.Contains(err.Error(), "5461 of 16384 slots not finished") {
			t.Errorf("Sweep = %v, want that the slots of one node are not finished", err)
		}
		t.Log(err)

		must(t, "Start", nodes[1].Start())
		must(t, "Start", nodes[4].Start())
		must(t, "WaitHealthy", c.WaitHealthy(within(t)))
		again, err := Sweep(within(t), client, Options{Match: "a:*"})
		must(t, "Sweep", err)
		if s.result().Deleted+again.Deleted != 3000 {
			t.Errorf("Deleted = %d and %d, want 3000 together", s.result().Deleted, again.Deleted)
		}
		wantLeft(t, "a:*", 0, nodes[:3]...)
	})
}

// atFirstKey returns a Keep that takes every key, and calls happen before the
// first one.
func atFirstKey(t *testing.T, happen func() error) func(string) bool {
	var once sync.Once
	return func(string) bool {
		once.Do(func() { check(t, "at the first key", happen()) })
		return true
	}
}

// TestStandaloneRestart: the cursor of the scan means nothing to the new process.
func TestStandaloneRestart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, f localredis.Flavor) {
		s := localredis.Standalone(t, f)
		client := newClient(t, s.Addr())
		fill(t, client, "a:", 3000)
		r, err := Sweep(within(t), client, Options{Match: "a:*", Count: 20, Keep: atFirstKey(t, s.Restart)})
		must(t, "Sweep", err)
		if r.Passes < 2 || r.Deleted != 3000 {
			t.Errorf("Result = %+v, want 3000 deleted and another pass", r)
		}
		wantLeft(t, "a:*", 0, s)
	})
}

// TestSentinel: the master is killed while it is being scanned.
func TestSentinel(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, f localredis.Flavor) {
		d := localredis.NewSentinel(t, localredis.SentinelConfig{Flavor: f})
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: d.Addrs(), PipelineMultiplex: -1,
			DisableCache: true, Sentinel: rueidis.SentinelOption{MasterSet: d.MasterName}})
		must(t, "NewClient", err)
		t.Cleanup(client.Close)
		fill(t, client, "a:", 3000)
		must(t, "WaitHealthy", d.WaitHealthy(within(t)))
		old, err := d.Master(within(t))
		must(t, "Master", err)
		r, err := Sweep(within(t), client, Options{Match: "a:*", Count: 20, OpTimeout: time.Second,
			Keep: atFirstKey(t, old.Kill)})
		must(t, "Sweep", err)
		next, err := d.WaitMaster(within(t), old)
		must(t, "WaitMaster", err)
		if r.Passes < 2 {
			t.Errorf("Result = %+v, want another pass", r)
		}
		wantLeft(t, "a:*", 0, next)
	})
}

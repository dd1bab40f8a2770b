//go:build unix

package fleet

import (
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// TestFleetFailover: a replica becomes primary, in agreement with the old one,
// without it, and because it was killed. Reads go on, the database is not
// flooded, and what is older than the bound is only what Redis has forgotten.
func TestFleetFailover(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, flavor localredis.Flavor) {
		c := borrowCluster(t, flavor, true)
		for _, how := range []struct {
			name string
			do   func(f *testFleet, old *localredis.Server)
		}{
			{"graceful", func(f *testFleet, old *localredis.Server) {
				f.must("failover", c.Failover(f.ctx(), f.replica(old), ""))
			}},
			{"FORCE", func(f *testFleet, old *localredis.Server) {
				f.must("failover", c.Failover(f.ctx(), f.replica(old), "FORCE"))
			}},
			{"kill", func(f *testFleet, old *localredis.Server) { f.must("kill", old.Kill()) }},
		} {
			t.Run(how.name, func(t *testing.T) { testFailover(t, c, how.do) })
		}
	})
}

func testFailover(t *testing.T, c *localredis.Cluster, fault func(*testFleet, *localredis.Server)) {
	f := newFleet(t, c, openArgs{OpTimeout: 2 * time.Second}) // a killed node refuses at once
	const readers = 2
	// Set alone: with a healthy Redis nobody has anything to load.
	b := f.startBound(readers, hammerArgs{Paced: 3}, writeArgs{Pause: 5 * time.Millisecond})
	old := f.primary(f.args.IDs[0])
	began := monotonic()
	fault(f, old)
	_, err := c.WaitPrimary(f.ctx(), slotOf(f.args.IDs[0]), old)
	f.must("wait for another primary", err)
	recovery := time.Duration(b.acknowledged(0) - began)
	if old.Pid() == 0 {
		f.must("start again", old.Start())
	}
	f.must("wait for health", c.WaitHealthy(f.ctx()))
	b.linger(1.5)
	r := b.judge()
	r.Recovery = recovery
	t.Logf("%v", r)
	// While Redis does not answer, each process loads a key again when what it
	// loaded before is older than DegradedTTL (at most MaxStaleness), and once
	// more for each version that it learns to be newer.
	windows := uint64(recovery/min(rc.DefaultDegradedTTL, f.args.MaxStaleness)) + 2
	if limit := readers*windows + uint64(readers*len(f.args.IDs)); r.Loads > limit {
		t.Errorf("%d loads, want at most %d", r.Loads, limit)
	}
}

//go:build unix

package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// TestFleetSlowNode is promises G5 and G6: a primary hangs and nobody takes
// over. Calls for its keys end in time with what the database has, the other
// shards do not notice, and invalidations that failed are sent when it wakes
// up.
func TestFleetSlowNode(t *testing.T) {
	t.Parallel()
	onBoth(t, testSlowNode)
}

func testSlowNode(t *testing.T, flavor localredis.Flavor) {
	const loadTakes, dialTimeout, margin = 50 * time.Millisecond, 500 * time.Millisecond, 1500 * time.Millisecond
	f := newFleet(t, borrowCluster(t, flavor, true), openArgs{DialTimeout: dialTimeout, OpTimeout: time.Second, MaxStaleness: 2 * time.Second})
	id := f.args.IDs[0]
	hung := f.primary(id)
	stayReplica(f, f.replica(hung))

	procs := f.spawn(3)
	writer, readers := procs[0], procs[1:]
	for key, id := range f.args.IDs {
		writer.do(callArgs{Verb: "set", ID: id, Version: f.ledger.commit(key)})
	}
	for _, p := range readers {
		p.call("hammer", hammerArgs{Paced: 3, LoadTakes: loadTakes}, nil)
		until(t, "the readers have warmed up", func() bool { return p.stats().L1Hits > 500 })
	}
	f.must("freeze", hung.Freeze())
	frozen := monotonic()
	v := f.ledger.commit(0)
	if res := writer.do(callArgs{Verb: "delete", ID: id}); !res.Queued || res.Took > f.args.OpTimeout+dialTimeout+margin {
		t.Errorf("Delete at a frozen node: queued %v after %v, want kept within %v", res.Queued, res.Took, f.args.OpTimeout+dialTimeout+margin)
	}
	time.Sleep(3*f.args.MaxStaleness - time.Duration(monotonic()-frozen))
	during := readersStats(readers)
	f.must("thaw", hung.Thaw())
	thawed := monotonic()
	var s rc.Stats
	for s = writer.stats(); s.QueueLen > 0 && time.Duration(monotonic()-thawed) < 15*time.Second; s = writer.stats() {
		time.Sleep(5 * time.Millisecond)
	}
	if s.Queued != 1 || s.Replayed == 0 || s.QueueLen != 0 || s.QueueExpired != 0 {
		t.Errorf("Queued %d, Replayed %d, QueueExpired %d, QueueLen %d; want the failed delete sent again",
			s.Queued, s.Replayed, s.QueueExpired, s.QueueLen)
	}
	if s.Replayed > 0 {
		f.ledger.acknowledge(0, v, monotonic()) // from now on the bound holds for it too
	}
	recovery := time.Duration(monotonic() - thawed)
	f.must("wait for health", f.cluster.WaitHealthy(f.ctx()))
	if s.Replayed > 0 {
		until(t, "the readers fill again", func() bool { return readersStats(readers).Fills > during.Fills })
	}
	if during.DegradedLoads == 0 {
		t.Error("nobody loaded without Redis while the node hung: nothing was tested")
	}
	time.Sleep(f.args.MaxStaleness * 3 / 2) // for a value kept too long to become a violation

	b := &bound{testFleet: f, writer: writer, readers: readers, began: frozen}
	r := b.judgeReaders()
	r.Recovery = recovery
	t.Logf("%s: %v; slowest read of the hung node %v, of the others %v and %v", flavor, r, r.Slowest[0], r.Slowest[1], r.Slowest[2])
	if limit := f.args.OpTimeout + dialTimeout + loadTakes + margin; r.Slowest[0] > limit {
		t.Errorf("a read of the hung node took %v, want at most %v", r.Slowest[0], limit)
	}
	if r.Slowest[0] < loadTakes {
		t.Errorf("no read of the hung node took as long as a load (%v): nothing was tested", loadTakes)
	}
	for key := 1; key < 3; key++ {
		if limit := f.args.OpTimeout + margin; r.Slowest[key] > limit {
			t.Errorf("a read of another node took %v, want at most %v", r.Slowest[key], limit)
		}
		if n := f.ledger.loads(key); n > 0 {
			t.Errorf("%d loads of a key of another node, want none", n)
		}
	}
}

// stayReplica forbids a replica to take over until the test ends.
func stayReplica(f *testFleet, replica *localredis.Server) {
	f.t.Helper()
	_, err := replica.Do(f.ctx(), "CONFIG", "SET", "cluster-replica-no-failover", "yes")
	f.must("CONFIG SET", err)
	f.t.Cleanup(func() {
		if _, err := replica.Do(context.Background(), "CONFIG", "SET", "cluster-replica-no-failover", "no"); err != nil {
			f.t.Errorf("CONFIG SET: %v", err)
		}
	})
}

func readersStats(procs []*proc) (sum rc.Stats) {
	for _, p := range procs {
		s := p.stats()
		sum.Fills += s.Fills
		sum.DegradedLoads += s.DegradedLoads
	}
	return sum
}

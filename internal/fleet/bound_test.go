//go:build unix

package fleet

import (
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// mixed is writes of all verbs, at a rate that leaves time for hits.
var mixed = writeArgs{Pause: 5 * time.Millisecond, DeleteEvery: 7}

// TestFleetBoundFrozenReader is promise G4 in a process that is frozen while it
// reads from memory, and resumed: what it held then is not served any more. A
// goroutine that spins is in the middle of a read at both moments, so it is
// the first thing to run, before the network is looked at.
func TestFleetBoundFrozenReader(t *testing.T) {
	t.Parallel()
	onBoth(t, testBoundFrozenReader)
}

func testBoundFrozenReader(t *testing.T, flavor localredis.Flavor) {
	f := newFleet(t, borrowCluster(t, flavor, false), openArgs{IDs: []string{idOf(0), idOf(1)}})
	b := f.startBound(1, hammerArgs{Paced: 2, Spinning: 1}, mixed)
	before := b.readers[0].stats()
	b.readers[0].freeze()
	time.Sleep(5 * f.args.MaxStaleness)
	frozen := [2]uint64{f.ledger.current(0), f.ledger.current(1)}
	b.readers[0].thaw()
	thawed := monotonic()
	until(t, "the reader hits its memory again", func() bool { return b.readers[0].stats().L1Hits > before.L1Hits+1000 })
	recovery := time.Duration(monotonic() - thawed)
	b.linger(1)
	r := b.judge()
	b.noLoss(r)
	r.Recovery = recovery
	t.Logf("%s: %v; %v versions at the thaw", flavor, r, frozen)
}

// TestFleetBoundCutConnection is promise G4 while all connections are killed
// again and again: a push that was on its way is lost with each.
func TestFleetBoundCutConnection(t *testing.T) {
	t.Parallel()
	onBoth(t, testBoundCutConnection)
}

func testBoundCutConnection(t *testing.T, flavor localredis.Flavor) {
	f := newFleet(t, borrowCluster(t, flavor, false), openArgs{IDs: []string{idOf(0), idOf(1)}})
	b := f.startBound(2, hammerArgs{Paced: 4}, mixed)
	for range 15 {
		for _, s := range f.cluster.Nodes()[:3] {
			_, err := s.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal")
			f.must("CLIENT KILL", err)
		}
		time.Sleep(150 * time.Millisecond) // time for connections and values to come back
	}
	cut := monotonic()
	recovery := time.Duration(max(b.acknowledged(0), b.acknowledged(1)) - cut)
	b.linger(1.2)
	r := b.judge()
	b.noLoss(r)
	r.Recovery = recovery
	t.Logf("%s: %v", flavor, r)
}

// TestFleetBoundFrozenServer is promise G4 while a primary is frozen for longer
// than MaxStaleness, its replica takes over, and it comes back, with replies
// and pushes from the time before.
func TestFleetBoundFrozenServer(t *testing.T) {
	t.Parallel()
	onBoth(t, testBoundFrozenServer)
}

func testBoundFrozenServer(t *testing.T, flavor localredis.Flavor) {
	f := newFleet(t, borrowCluster(t, flavor, true), openArgs{})
	b := f.startBound(2, hammerArgs{Paced: 3}, mixed)
	old := f.primary(f.args.IDs[0])
	began := monotonic()
	f.must("freeze", old.Freeze())
	_, err := f.cluster.WaitPrimary(f.ctx(), slotOf(f.args.IDs[0]), old)
	f.must("wait for the replica to take over", err)
	recovery := time.Duration(b.acknowledged(0) - began)
	b.linger(1)
	f.must("thaw", old.Thaw())
	f.must("wait for health", f.cluster.WaitHealthy(f.ctx()))
	b.linger(1.5)
	r := b.judge()
	r.Recovery = recovery
	t.Logf("%s: %v", flavor, r)
}

//go:build unix

package fleet

import (
	"slices"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// TestFleetSlotMove: slots change their owner under load, with their keys and
// without. The second is what old servers announce to nobody.
func TestFleetSlotMove(t *testing.T) {
	t.Parallel()
	t.Run("with MIGRATE", func(t *testing.T) {
		onBoth(t, func(t *testing.T, flavor localredis.Flavor) { testSlotMove(t, flavor, true) })
	})
	t.Run("SETSLOT alone", func(t *testing.T) {
		onBoth(t, func(t *testing.T, flavor localredis.Flavor) { testSlotMove(t, flavor, false) })
	})
}

func testSlotMove(t *testing.T, flavor localredis.Flavor, migrate bool) {
	f := newFleet(t, borrowCluster(t, flavor, true), openArgs{})
	b := f.startBound(2, hammerArgs{Paced: 3}, mixed)
	primaries := f.cluster.Nodes()[:3]
	rounds := 3
	if migrate {
		rounds = 10
	}
	moves, slowest := 0, time.Duration(0)
	for range rounds {
		for key, id := range f.args.IDs {
			i := slices.Index(primaries, f.primary(id))
			to, began := primaries[(i+1)%3], monotonic()
			if migrate {
				f.must("MoveSlot", f.cluster.MoveSlot(f.ctx(), slotOf(id), to))
			} else {
				f.must("SetSlot", f.cluster.SetSlot(f.ctx(), slotOf(id), to))
			}
			moves++
			slowest = max(slowest, time.Duration(b.acknowledged(key)-began))
		}
		if !migrate {
			b.linger(0.7)
		}
	}
	b.linger(1.2)
	r := b.judge()
	if migrate {
		b.noLoss(r)
	}
	r.Recovery = slowest
	var kills uint64
	for _, p := range b.readers {
		kills += p.stats().SlotKills
	}
	t.Logf("%s: %d moves, SlotKills %d: %v", flavor, moves, kills, r)
}

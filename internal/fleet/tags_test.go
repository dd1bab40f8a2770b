//go:build unix

package fleet

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// tagged is invalidations of tags, at a rate that leaves time for hits.
var tagged = writeArgs{Pause: 10 * time.Millisecond, Tags: true}

// tokensSeen has the tokens of a tag by the version that was acknowledged when
// they were seen last.
type tokensSeen map[string]uint64

// lookAtToken is look for a writer of tags: a token that was there before an
// acknowledged invalidation, and is again, is one that Redis has forgotten.
func (wr *writer) lookAtToken(k int, last uint64, seen tokensSeen) uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), wr.w.args.OpTimeout)
	defer cancel()
	c := wr.w.manager.Client()
	raw, err := c.Do(ctx, c.B().Get().Key(key.TagKey("", wr.w.args.Tags[k])).Build()).ToString()
	if rueidis.IsRedisNil(err) || err != nil {
		return 0 // no token is nothing that a reader could be shown
	}
	if v, ok := seen[raw]; ok && v < last {
		wr.w.ledger.forget(k, v+1, last)
		return last - v
	}
	seen[raw] = last
	return 0
}

// tagOf returns a tag whose token belongs to the i-th primary of a new cluster
// of three.
func tagOf(i int) string {
	for n := 0; ; n++ {
		tag := fmt.Sprint("tag-", n)
		if slotOfTag(tag)*3/localredis.SlotCount == i {
			return tag
		}
	}
}

func slotOfTag(tag string) int { return localredis.Slot(key.TagKey("", tag)) }

// newTagFleet is newFleet for identifiers with a tag each, whose token belongs
// to another primary than the value.
func newTagFleet(t *testing.T, c *localredis.Cluster) *testFleet {
	t.Helper()
	return newFleet(t, c, openArgs{Tags: []string{tagOf(1), tagOf(2), tagOf(0)}})
}

// tagPrimary returns the primary of a tag's token.
func (f *testFleet) tagPrimary(tag string) *localredis.Server {
	f.t.Helper()
	s, err := f.cluster.PrimaryOf(f.ctx(), slotOfTag(tag))
	f.must("find primary", err)
	return s
}

// TestFleetTagFailover is promise G4 for tags while the primary of some of
// their tokens is replaced: killed, frozen and thawed, or in agreement. Values
// whose tokens cannot be read are loaded; no other process serves for longer
// than the bound what was invalidated, but what Redis has forgotten.
func TestFleetTagFailover(t *testing.T) {
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
			{"kill", func(f *testFleet, old *localredis.Server) { f.must("kill", old.Kill()) }},
			{"freeze", func(f *testFleet, old *localredis.Server) { f.must("freeze", old.Freeze()) }},
		} {
			t.Run(how.name, func(t *testing.T) { testTagFailover(t, c, how.do) })
		}
	})
}

func testTagFailover(t *testing.T, c *localredis.Cluster, fault func(*testFleet, *localredis.Server)) {
	f := newTagFleet(t, c)
	b := f.startBound(2, hammerArgs{Paced: 3}, tagged)
	tag := f.args.Tags[0]
	old, began := f.tagPrimary(tag), monotonic()
	fault(f, old)
	_, err := c.WaitPrimary(f.ctx(), slotOfTag(tag), old)
	f.must("wait for another primary", err)
	recovery := time.Duration(b.acknowledged(0) - began)
	b.linger(1)
	if old.Pid() == 0 {
		f.must("start again", old.Start())
	} else {
		f.must("thaw", old.Thaw())
	}
	f.must("wait for health", c.WaitHealthy(f.ctx()))
	b.linger(1.5)
	r := b.judge()
	r.Recovery = recovery
	t.Logf("%v, slowest %v, Resent %d", r, r.Slowest[:len(f.args.IDs)], b.writer.stats().Resent)
}

// TestFleetTagSlotMove: the slots of tags' tokens change their owner under load,
// with their keys and without. Lost tokens cost loads and bring nothing back.
func TestFleetTagSlotMove(t *testing.T) {
	t.Parallel()
	t.Run("with MIGRATE", func(t *testing.T) {
		onBoth(t, func(t *testing.T, flavor localredis.Flavor) { testTagSlotMove(t, flavor, true) })
	})
	t.Run("SETSLOT alone", func(t *testing.T) {
		onBoth(t, func(t *testing.T, flavor localredis.Flavor) { testTagSlotMove(t, flavor, false) })
	})
}

func testTagSlotMove(t *testing.T, flavor localredis.Flavor, migrate bool) {
	f := newTagFleet(t, borrowCluster(t, flavor, true))
	b := f.startBound(2, hammerArgs{Paced: 3}, tagged)
	primaries := f.cluster.Nodes()[:3]
	rounds := 2
	if migrate {
		rounds = 8
	}
	slowest := time.Duration(0)
	for range rounds {
		for k, tag := range f.args.Tags {
			i := slices.Index(primaries, f.tagPrimary(tag))
			to, move := primaries[(i+1)%3], f.cluster.SetSlot
			if migrate {
				move = f.cluster.MoveSlot
			}
			began := monotonic()
			f.must("move", move(f.ctx(), slotOfTag(tag), to))
			slowest = max(slowest, time.Duration(b.acknowledged(k)-began))
		}
		if !migrate {
			b.linger(1.2) // a slot that moves twice between two looks has a test of its own
		}
	}
	b.linger(1.2)
	r := b.judge()
	if migrate {
		b.noLoss(r)
	}
	r.Recovery = slowest
	t.Logf("%s: %d moves: %v", flavor, rounds*len(f.args.Tags), r)
}

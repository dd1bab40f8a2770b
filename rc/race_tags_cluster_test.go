package rc_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ikey "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// member opens a Manager on a cluster and makes a service of tagged values.
func member(t *testing.T, c *localredis.Cluster, opts rc.Options, cfg rc.Config[string]) (*rc.Manager, *rc.CacheService[string]) {
	t.Helper()
	opts.OpTimeout = cmp.Or(opts.OpTimeout, time.Second) // for a busy machine
	m, err := rc.Open(t.Context(), "redis://"+strings.Join(c.Addrs(), ","), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, service(t, m, cfg)
}

// tagOn returns a tag whose token belongs to the i-th of three primaries.
func tagOn(i int) string {
	for n := 0; ; n++ {
		tag := fmt.Sprint("tag", n)
		if localredis.Slot(ikey.TagKey("", tag))*3/localredis.SlotCount == i {
			return tag
		}
	}
}

// idOn returns an identifier whose value belongs to the i-th of three primaries.
func idOn(i int) string {
	for n := 0; ; n++ {
		id := fmt.Sprint("id", n)
		if localredis.Slot("{"+id+"}")*3/localredis.SlotCount == i {
			return id
		}
	}
}

// notOn returns two primaries, by their numbers: one for a tag, and another one
// for a value, whose namespace's token goes with it.
func notOn(*testing.T, *rc.CacheService[string]) (tag, value int) { return 1, 2 }

// TestRaceTagGuardOfAFormerOwner: the guard of a tag is in memory, the slot of
// the tag goes to another node with nobody announcing it, and the tag is
// invalidated there while a load runs. The silence of the former owner proves
// nothing: the load is not stored with the new token.
func TestRaceTagGuardOfAFormerOwner(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{})
	_, a := member(t, c, quiet(), tagging()) // hears of no move while the test runs
	mb, b := member(t, c, rc.Options{}, tagging())
	on, other := notOn(t, a)
	tag, id := tagOn(on), idOn(other)
	fill(t, a, "before", "v,x") // the guards are in memory
	slot := localredis.Slot(ikey.TagKey("", tag))
	v, err := a.GetOrSet(t.Context(), id, func(ctx context.Context) (string, error) {
		if err := c.SetSlot(ctx, slot, c.Nodes()[other]); err != nil {
			t.Error(err)
		}
		return "old," + tag, mb.InvalidateTag(ctx, tag)
	})
	if err != nil || v != "old,"+tag {
		t.Fatalf("GetOrSet = %q, %v", v, err)
	}
	missing(t, b, id, "the invalidator, of a load from before")
	missing(t, a, id, "the loader")
}

// TestRaceTagNodeUnreachable: the node of a tag's token does not answer. Values
// with the tag, on nodes that do, are served from memory for MaxStaleness at
// most, and not from Redis: nobody can say whether they were invalidated.
// Those without the tag are served on.
func TestRaceTagNodeUnreachable(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{NodeTimeout: time.Minute})
	opts := rc.Options{MaxStaleness: 400 * time.Millisecond}
	_, a := member(t, c, opts, tagging())
	_, b := member(t, c, opts, tagging())
	on, other := notOn(t, a)
	tag := tagOn(on)
	tagged, bare := idOn(other), "x"+idOn(other)
	for localredis.Slot("{"+bare+"}")*3/localredis.SlotCount != other {
		bare += "x"
	}
	fill(t, a, tagged, "v,"+tag)
	fill(t, a, bare, "v")
	cached(t, a, tagged, "v,"+tag)
	if err := c.Nodes()[on].Freeze(); err != nil {
		t.Fatal(err)
	}
	until(t, "the tag's node not to be trusted any more", func() bool {
		v, found, err := a.Get(t.Context(), tagged)
		return !found && v == "" && err != nil
	})
	for i, s := range []*rc.CacheService[string]{a, b} {
		if v, found, err := s.Get(t.Context(), tagged); found || err == nil {
			t.Errorf("instance %d: Get of a value whose tag cannot be read = %q, %v, %v, want an error", i, v, found, err)
		}
		var n atomic.Int32
		if v, err := s.GetOrSet(t.Context(), tagged, gives("loaded,"+tag, &n)); v != "loaded,"+tag || err != nil || n.Load() != 1 {
			t.Errorf("instance %d: GetOrSet = %q, %v with %d loads, want what the loader gives", i, v, err, n.Load())
		}
		if v, found, err := s.Get(t.Context(), bare); v != "v" || !found || err != nil {
			t.Errorf("instance %d: Get of a value without the tag = %q, %v, %v", i, v, found, err)
		}
	}
	if err := c.Nodes()[on].Thaw(); err != nil {
		t.Fatal(err)
	}
	// Nobody has invalidated it, and what was loaded meanwhile was not stored.
	for _, s := range []*rc.CacheService[string]{a, b} {
		until(t, "the tag's node to be trusted again", func() bool {
			v, found, err := s.Get(t.Context(), tagged)
			return found && err == nil && v == "v,"+tag
		})
	}
}

// TestRaceTagLostInFailover: the primary of a tag's token dies with an
// acknowledged InvalidateTag that its replica has not got. The one who called
// it sends it again, and the values are gone, in every process.
func TestRaceTagLostInFailover(t *testing.T) {
	t.Parallel()
	invalidate, expire := (*rc.Manager).InvalidateTag, (*rc.Manager).ExpireTag
	for name, test := range map[string]struct {
		mark  func(m *rc.Manager, ctx context.Context, tags ...string) error
		fault func(*localredis.Server) error
	}{
		"InvalidateTag, killed": {invalidate, (*localredis.Server).Kill},
		"ExpireTag, killed":     {expire, (*localredis.Server).Kill},
		"InvalidateTag, frozen": {invalidate, (*localredis.Server).Freeze}, // its connections stay
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testTagLostInFailover(t, test.mark, test.fault)
		})
	}
}

func testTagLostInFailover(t *testing.T, mark func(*rc.Manager, context.Context, ...string) error, fault func(*localredis.Server) error) {
	ctx := t.Context()
	c := localredis.NewCluster(t, localredis.ClusterConfig{ReplicasPerPrimary: 1})
	ma, a := member(t, c, rc.Options{}, tagging())
	_, b := member(t, c, rc.Options{ReplayWindow: rc.Off}, tagging())
	on, other := notOn(t, a)
	tag, id := tagOn(on), idOn(other)
	fill(t, b, id, "old,"+tag)
	cached(t, a, id, "old,"+tag)
	old := c.Nodes()[on]
	replicas, err := c.ReplicasOf(ctx, old)
	if err != nil || len(replicas) != 1 {
		t.Fatalf("replicas %v, %v", replicas, err)
	}
	if _, err := old.Do(ctx, "WAIT", "1", "5000"); err != nil { // it has the token
		t.Fatal(err)
	}
	if err := c.CutReplication(ctx, replicas[0]); err != nil {
		t.Fatal(err)
	}
	if err := mark(ma, ctx, tag); err != nil {
		t.Fatal(err)
	}
	missing(t, a, id, "the invalidator")
	if err := fault(old); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitPrimary(ctx, localredis.Slot(ikey.TagKey("", tag)), old); err != nil {
		t.Fatal(err)
	}
	until(t, "the replay", func() bool { st := ma.Stats(); return st.Resent > 0 && st.QueueLen == 0 })
	for i, s := range []*rc.CacheService[string]{a, b} {
		until(t, "the value to be gone", func() bool { _, found, err := s.Get(ctx, id); return !found && err == nil })
		missing(t, s, id, fmt.Sprint("instance ", i))
	}
	// Sent again with the next news of the failover, it takes this one too.
	until(t, "a value to stay", func() bool {
		v, err := b.GetOrSet(ctx, id, func(context.Context) (string, error) { return "new," + tag, nil })
		got, found, aerr := a.Get(ctx, id)
		return err == nil && aerr == nil && found && v == "new,"+tag && got == v
	})
}

// TestRaceTagSlotMoves: the slot of a tag's token moves, with its keys and
// without: whoever invalidates the tag afterwards reaches everybody within the
// bound, and values come back.
func TestRaceTagSlotMoves(t *testing.T) {
	t.Parallel()
	for _, migrate := range []bool{true, false} {
		t.Run(fmt.Sprintf("migrate=%v", migrate), func(t *testing.T) {
			t.Parallel()
			c := localredis.NewCluster(t, localredis.ClusterConfig{})
			ma, a := member(t, c, rc.Options{}, tagging())
			// Sent again when b hears of the move, the invalidation would take
			// what the next round writes.
			mb, b := member(t, c, rc.Options{ReplayWindow: rc.Off}, tagging())
			on, other := notOn(t, a)
			tag, id := tagOn(on), idOn(other)
			slot := localredis.Slot(ikey.TagKey("", tag))
			for round, to := range []int{other, on, other} {
				v := fmt.Sprint("v", round, ",", tag)
				if err := b.Set(t.Context(), id, v); err != nil {
					t.Fatal(err)
				}
				cached(t, a, id, v)
				moves, move := ma.Stats().SlotMoves, c.SetSlot
				if migrate {
					move = c.MoveSlot
				}
				if err := move(t.Context(), slot, c.Nodes()[to]); err != nil {
					t.Fatal(err)
				}
				if err := mb.InvalidateTag(t.Context(), tag); err != nil {
					t.Fatal(err)
				}
				missing(t, b, id, "the invalidator")
				cached(t, a, id, "") // within MaxStaleness
				missing(t, a, id, "another")
				until(t, "the move to be known", func() bool { return ma.Stats().SlotMoves > moves })
			}
		})
	}
}

// TestRaceSlotThereAndBack: a slot goes to another node and comes back between
// two looks at the owners, so that nobody sees it move. What was read meanwhile
// from the node that had it for a moment is not in memory for ever: that node
// announces nothing any more.
func TestRaceSlotThereAndBack(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"tag", "value"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := localredis.NewCluster(t, localredis.ClusterConfig{})
			opts := rc.Options{MaxStaleness: 4 * time.Second, WatchInterval: 3 * time.Second, Heartbeat: 100 * time.Millisecond}
			ma, a := member(t, c, opts, tagging())
			mb, b := member(t, c, rc.Options{}, tagging())
			on, other := notOn(t, a)
			tag, id := tagOn(on), idOn(other)
			slot, change := localredis.Slot(ikey.TagKey("", tag)), func() error { return mb.InvalidateTag(t.Context(), tag) }
			if what == "value" {
				on, other = other, on
				slot, change = localredis.Slot("{"+id+"}"), func() error { return b.Delete(t.Context(), id) }
			}
			move := func(slot, to int) {
				t.Helper()
				if err := c.SetSlot(t.Context(), slot, c.Nodes()[to]); err != nil {
					t.Fatal(err)
				}
			}
			own := (3-on-other)*localredis.SlotCount/3 + 200 // of the third node
			move(own-1+2*(own%2), other)
			until(t, "a look at the owners", func() bool { return ma.Stats().SlotMoves == 1 })
			move(slot, other)
			set(t, b, id, "v,"+tag)
			until(t, "the value to be in memory", func() bool {
				it, err := a.Lookup(t.Context(), id)
				return err == nil && it.Found && it.Source == rc.FromL1
			})
			move(slot, on)
			if err := change(); err != nil {
				t.Fatal(err)
			}
			changed := time.Now()
			until(t, "the value to be gone", func() bool { _, found, err := a.Get(t.Context(), id); return !found && err == nil })
			if took := time.Since(changed); took > opts.MaxStaleness+time.Second {
				t.Errorf("it was served for %v, MaxStaleness is %v", took, opts.MaxStaleness)
			}
			t.Logf("gone after %v, SlotMoves %d", time.Since(changed), ma.Stats().SlotMoves)
		})
	}
}

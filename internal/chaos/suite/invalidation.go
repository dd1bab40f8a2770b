//go:build unix

package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
	"github.com/fleetcache/fleetcache/internal/nap"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// invalidationPhases returns the phases with groups of keys, in order. Those of
// the bus come last: the others have the same numbers in both modes.
func invalidationPhases(broadcast bool) []phase {
	all := []phase{
		{name: "no fault", what: "nothing is done"},
		{name: "kill primary", what: "a primary is killed, its replica takes over, it is started again", do: killPrimary},
		{name: "freeze primary", what: "a primary is frozen, its replica takes over, it wakes up", do: freezePrimary},
		{name: "isolate minority", what: "a primary and the replica of another are cut off, but not from clients", do: isolateMinority},
		{name: "lose writes", what: "replication is cut, then the primary is killed: acknowledged invalidations are lost for certain", do: loseWrites(300 * time.Millisecond)},
		{name: "move slots", what: "the slots of keys and tokens are moved with MIGRATE, and back", do: moveSlots("move slots", false, (*clustertest.Cluster).MoveSlot)},
		{name: "drop clients", what: "all connections of clients are closed five times", do: dropClients(clustertest.Normal)},
		{name: "flush all", what: "all data is deleted four times", do: flushAll},
		{name: "lost messages", what: "nothing passes between one instance and one primary, several times", do: loseMessages},
		{name: "kill instance", what: "an instance is killed and another started in its place", do: killInstance},
		{name: "freeze instance", what: "an instance is frozen while it reads", do: freezeInstance, spinning: 1},
	}
	if broadcast {
		all = append(all,
			phase{name: "drop pubsub", what: "all connections with subscriptions are closed five times", do: dropClients(clustertest.PubSub)},
			phase{name: "move bus", what: "the slots of the bus are moved with MIGRATE, and back", do: moveBus},
		)
	}
	for i := range all {
		all[i].groups = true
	}
	return all
}

// loseMessages makes one instance not hear one primary after the other: the first
// for longer than the bound, the others for as long as it takes to give up the
// connection. Meanwhile another instance writes what is not written again.
func loseMessages(ctx context.Context, e *env) error {
	for i := range e.Shards {
		n, err := e.Primary(ctx, e.shard+i)
		if err != nil {
			return err
		}
		lasts := e.bound * 6 / 10
		if i == 0 {
			lasts = e.holding()
		}
		s := span{detail: fmt.Sprintf("from %s to instance %d", n, e.victim), feeds: 1}
		f := instance.LinkFault{Do: "blackhole", Nodes: []string{n.Announced()}}
		err = e.during(ctx, "lose messages", s, func() error {
			return errors.Join(e.link(ctx, e.victim, f), e.tellRare(ctx, (e.victim+1)%e.instances, e.shard+i))
		}, lasts, func() error { return e.link(ctx, e.victim, instance.LinkFault{Do: "heal"}) })
		if err != nil {
			return err
		}
	}
	return nil
}

// tellRare lets an instance write the rare groups of a shard, if there are any.
func (e *env) tellRare(ctx context.Context, by, shard int) error {
	var t instance.Tell
	for i, g := range e.groups {
		if g.Rare && g.Shard == shard%e.Shards {
			t.Groups = append(t.Groups, i+1)
		}
	}
	if len(t.Groups) == 0 {
		return nil
	}
	return e.fleet.call(ctx, by, instance.OpTell, t, nil)
}

// busSlots returns the slots of the partitions of the bus that a primary has.
func busSlots(ctx context.Context, n *clustertest.Node) (slots []int, err error) {
	reply, err := n.Do(ctx, "KEYS", "cache:bus:*")
	if err != nil {
		return nil, err
	}
	keys, _ := reply.([]any)
	for _, k := range keys {
		if slot := redisnode.Slot(fmt.Sprint(k)); !slices.Contains(slots, slot) {
			slots = append(slots, slot)
		}
	}
	if len(slots) == 0 {
		err = errors.New("chaos: no partition of the bus is on " + n.String())
	}
	return slots, err
}

// moveBus gives the slots of the bus that one primary has to the next one, and
// back.
func moveBus(ctx context.Context, e *env) error {
	from, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	to, err := e.Primary(ctx, e.shard+1)
	if err != nil {
		return err
	}
	slots, err := busSlots(ctx, from)
	if err != nil {
		return err
	}
	for _, target := range []*clustertest.Node{to, from} {
		s := span{detail: fmt.Sprintf("%d to %s", len(slots), target), shards: []int{e.shard}, redis: true, feeds: len(slots) * e.instances}
		err := e.during(ctx, "move slots of the bus", s, func() error {
			for _, slot := range slots {
				if err := errors.Join(e.Cluster.MoveSlot(ctx, slot, target), nap.For(ctx, e.bound/10)); err != nil {
					return err
				}
			}
			return nil
		}, e.holding()/2, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

//go:build unix

package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/nap"
)

// holding is how long a fault lasts after it has taken effect, longer than the
// bound on staleness: what survives it would show.
func (e *env) holding() time.Duration {
	if e.short {
		return e.bound * 5 / 4
	}
	return e.bound * 3 / 2
}

func freezePrimary(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	return e.during(ctx, "freeze primary", span{detail: n.String(), shards: []int{e.shard}, mayLose: true, redis: true, feeds: e.instances}, func() error {
		return errors.Join(n.Freeze(ctx), e.Replaced(ctx, e.shard, n))
	}, e.holding(), func() error { return n.Thaw(ctx) })
}

// freezeBriefly freezes a primary for less than the cluster needs to replace it.
func freezeBriefly(ctx context.Context, e *env) error {
	for range 3 {
		n, err := e.Primary(ctx, e.shard)
		if err != nil {
			return err
		}
		d := 300*time.Millisecond + time.Duration(e.rand.Int64N(int64(300*time.Millisecond)))
		s := span{detail: fmt.Sprintf("%s for %v", n, d.Round(time.Millisecond)), redis: true}
		err = e.during(ctx, "freeze primary briefly", s, func() error { return n.Freeze(ctx) }, d, func() error { return n.Thaw(ctx) })
		if err != nil {
			return err
		}
		if err := nap.For(ctx, e.bound/2); err != nil {
			return err
		}
	}
	return nil
}

func freezeReplica(ctx context.Context, e *env) error {
	_, n, err := e.Pair(ctx, e.shard)
	if err != nil {
		return err
	}
	return e.during(ctx, "freeze replica", span{detail: n.String()}, func() error { return n.Freeze(ctx) },
		e.holding(), func() error { return n.Thaw(ctx) })
}

func killPrimary(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	return e.during(ctx, "kill primary", span{detail: n.String(), shards: []int{e.shard}, mayLose: true, redis: true, feeds: e.instances}, func() error {
		return errors.Join(n.Kill(ctx), e.Replaced(ctx, e.shard, n))
	}, e.holding(), func() error { return n.Start(ctx) })
}

// restartPrimary kills a primary and starts it at once: it comes back without
// its data, or its replica has taken over by then.
func restartPrimary(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	return e.during(ctx, "restart primary at once", span{detail: n.String(), shards: []int{e.shard}, mayLose: true, late: true, forgets: true, redis: true},
		func() error { return n.Restart(ctx) }, e.holding(), nil)
}

func killReplica(ctx context.Context, e *env) error {
	_, n, err := e.Pair(ctx, e.shard)
	if err != nil {
		return err
	}
	return e.during(ctx, "kill replica", span{detail: n.String()}, func() error { return n.Kill(ctx) },
		e.holding(), func() error { return n.Start(ctx) })
}

// isolate cuts a group off, waits if its primary is to be replaced, and heals.
func (e *env) isolate(ctx context.Context, name string, replaced *clustertest.Node, group ...*clustertest.Node) error {
	s := span{detail: fmt.Sprint(group), shards: []int{e.shard}, mayLose: true, late: replaced == nil, redis: true}
	return e.during(ctx, name, s, func() error {
		err := e.Cluster.Isolate(ctx, group...)
		if err == nil && replaced != nil {
			err = e.Replaced(ctx, e.shard, replaced)
		}
		return err
	}, e.holding(), func() error { return e.Cluster.Heal(ctx) })
}

func isolatePrimary(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	return e.isolate(ctx, "isolate primary", n, n)
}

// isolateMinority cuts off a primary together with the replica of another one.
func isolateMinority(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	_, other, err := e.Pair(ctx, e.shard+1)
	if err != nil {
		return err
	}
	return e.isolate(ctx, "isolate minority", n, n, other)
}

// isolateShard cuts a primary with its own replica off from the majority: nobody
// can take over, and the shard is gone until it heals.
func isolateShard(ctx context.Context, e *env) error {
	n, own, err := e.Pair(ctx, e.shard)
	if err != nil {
		return err
	}
	var majority []*clustertest.Node
	for _, other := range e.Cluster.Nodes() {
		if other != n && other != own {
			majority = append(majority, other)
		}
	}
	return e.isolate(ctx, "isolate majority", nil, majority...)
}

func failover(mode clustertest.FailoverMode) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		for range 2 { // there and back
			_, replica, err := e.Pair(ctx, e.shard)
			if err != nil {
				return err
			}
			forced := mode != clustertest.Graceful
			s := span{detail: "to " + replica.String(), shards: []int{e.shard}, mayLose: forced, commanded: forced, redis: true}
			err = e.during(ctx, "failover "+mode.String(), s, func() error { return e.Cluster.Failover(ctx, replica, mode) }, e.holding()/2, nil)
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// loseWrites makes Redis forget what it has acknowledged: the replica does not
// hear of the writes of a time, and takes over.
func loseWrites(of time.Duration) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error { return e.loseWrites(ctx, of) }
}

func (e *env) loseWrites(ctx context.Context, of time.Duration) error {
	n, replica, err := e.Pair(ctx, e.shard)
	if err != nil {
		return err
	}
	s := span{detail: n.String() + " to " + replica.String(), shards: []int{e.shard}, mayLose: true, redis: true, feeds: e.instances}
	return e.during(ctx, "lose acknowledged writes", s, func() error {
		return errors.Join(e.Cluster.CutReplication(ctx, replica), nap.For(ctx, of), e.tellRare(ctx, e.victim, e.shard), n.Kill(ctx), e.Replaced(ctx, e.shard, n))
	}, e.holding(), func() error {
		return errors.Join(e.Cluster.RestoreReplication(ctx, replica), n.Start(ctx))
	})
}

// slots returns the slots of the keys of a shard, and of the tokens of groups.
func (e *env) slots(shard int) (out []int) {
	for _, k := range e.keys {
		if k.Shard == shard && !slices.Contains(out, k.Slot) {
			out = append(out, k.Slot)
		}
	}
	for _, g := range e.groups {
		if g.Shard == shard && !slices.Contains(out, g.Slot) {
			out = append(out, g.Slot)
		}
	}
	return out
}

// moveSlots gives the slots of the keys of a shard to the next primary one by
// one, and back.
func moveSlots(name string, mayLose bool, move func(*clustertest.Cluster, context.Context, int, *clustertest.Node) error) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		from, err := e.Primary(ctx, e.shard)
		if err != nil {
			return err
		}
		to, err := e.Primary(ctx, e.shard+1)
		if err != nil {
			return err
		}
		for _, target := range []*clustertest.Node{to, from} {
			slots := e.slots(e.shard)
			s := span{
				detail: fmt.Sprintf("%d to %s", len(slots), target), shards: []int{e.shard},
				mayLose: mayLose, commanded: mayLose, forgets: mayLose, redis: true,
			}
			err := e.during(ctx, name, s, func() error {
				for _, slot := range slots {
					if err := errors.Join(move(e.Cluster, ctx, slot, target), nap.For(ctx, 50*time.Millisecond)); err != nil {
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
}

// addNode adds a primary, gives it the slots of a shard's keys, and removes it.
func addNode(ctx context.Context, e *env) error {
	var n *clustertest.Node
	return e.during(ctx, "add and remove a primary", span{redis: true}, func() (err error) {
		if n, err = e.Cluster.AddNode(ctx, nil); err != nil {
			return err
		}
		if err := e.fleet.update(ctx, e.instances); err != nil {
			return err
		}
		for _, slot := range e.slots(e.shard) {
			if err := e.Cluster.MoveSlot(ctx, slot, n); err != nil {
				return err
			}
		}
		return nil
	}, e.holding(), func() error { return e.Cluster.RemoveNode(ctx, n) })
}

// repeated makes a fault that is over at once several times.
func (e *env) repeated(ctx context.Context, name string, times int, span func(i int) span, do func(i int) error) error {
	for i := range times {
		err := e.during(ctx, name, span(i), func() error { return do(i) }, e.bound/4, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

func dropClients(kind clustertest.ClientType) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		s := span{detail: "of all nodes", redis: true, feeds: e.instances * e.Shards}
		return e.repeated(ctx, "drop "+string(kind)+" clients", 5, func(int) span { return s },
			func(int) error { return e.Cluster.DropClients(ctx, kind) })
	}
}

func pauseWrites(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	d := e.holding()
	return e.during(ctx, "pause writes", span{detail: fmt.Sprintf("of %s for %v", n, d), redis: true},
		func() error { return e.Cluster.PauseWrites(ctx, d, n) }, d, func() error { return e.Cluster.Unpause(ctx, n) })
}

func flushAll(ctx context.Context, e *env) error {
	s := span{detail: "of all nodes", forgets: true, redis: true, feeds: e.instances * e.Shards}
	return e.repeated(ctx, "flush all", 4, func(int) span { return s }, func(int) error { return e.Cluster.FlushAll(ctx) })
}

func evict(ctx context.Context, e *env) error {
	of := func(i int) span {
		return span{detail: fmt.Sprint("of shard ", i%e.Shards), shards: []int{i % e.Shards}, forgets: true, redis: true}
	}
	return e.repeated(ctx, "evict keys", 2*e.Shards, of, func(i int) error {
		n, err := e.Primary(ctx, i)
		if err != nil {
			return err
		}
		return errors.Join(e.ballast(ctx, n, i%e.Shards), e.Cluster.Evict(ctx, n))
	})
}

// ballast gives a primary keys of nobody's, so that there is something to evict
// even if all others have just been deleted. Slots that have moved do not count.
func (e *env) ballast(ctx context.Context, n *clustertest.Node, shard int) error {
	err := fmt.Errorf("chaos: no key is on shard %d", shard)
	done := false
	for _, k := range e.keys {
		if k.Shard != shard {
			continue
		}
		command := []string{"MSET"}
		for i := range 20 {
			command = append(command, fmt.Sprintf("ballast-%d{%s}", i, k.ID), strings.Repeat("x", 100))
		}
		if _, err = n.Do(ctx, command...); err == nil {
			done = true
		}
	}
	if done {
		return nil
	}
	return err
}

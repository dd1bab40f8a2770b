//go:build unix

package locks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/nap"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// failover makes the replica of a shard its primary while the lock is held.
func failover(mode clustertest.FailoverMode) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		_, replica, err := e.Pair(ctx, e.shard)
		if err != nil {
			return err
		}
		if err := e.hold(ctx, e.shard); err != nil {
			return err
		}
		s := Span{Fault: "failover " + mode.String(), Detail: "to " + replica.String(), Shards: []int{e.shard}, MayLose: mode != clustertest.Graceful}
		return e.fault(ctx, s, func() error {
			return steps(func() error { return e.Cluster.Failover(ctx, replica, mode) }, e.forgot)
		})
	}
}

// loseLocks makes a shard forget locks that it has granted, at once: the replica
// does not hear of them, and takes over.
func loseLocks(ctx context.Context, e *env) error { return e.loseLocks(ctx, 0, e.shard) }

// deafen makes replicas hear of no lock that is taken from now on. It waits until
// those are over that they know of: they have not heard of the releases either,
// and if promoted would refuse everybody for so long, which hides a loss.
func (e *env) deafen(ctx context.Context, replicas ...*clustertest.Node) error {
	return steps(
		func() error {
			return layout.Each(len(replicas), func(i int) error { return e.Cluster.CutReplication(ctx, replicas[i]) })
		},
		func() error { return e.letGo(ctx) },
		func() error { return nap.For(ctx, e.limits.TTL) })
}

// loseLocks does so with several shards, each some time after the one before.
func (e *env) loseLocks(ctx context.Context, apart time.Duration, shards ...int) error {
	replicas := make([]*clustertest.Node, len(shards))
	for i, shard := range shards {
		var err error
		if _, replicas[i], err = e.Pair(ctx, shard); err != nil {
			return err
		}
	}
	return e.fault(ctx, lost("lose acknowledged locks", replicas, shards...), func() error {
		err := e.deafen(ctx, replicas...)
		if err == nil {
			err = e.hold(ctx, shards...)
		}
		for i := range replicas {
			if err == nil && i > 0 {
				err = nap.For(ctx, apart)
			}
			if err == nil {
				err = e.Cluster.Failover(ctx, replicas[i], clustertest.Takeover)
			}
		}
		if err == nil {
			err = e.forgot()
		}
		return errors.Join(err, layout.Each(len(shards), func(i int) error { return e.Cluster.RestoreReplication(ctx, replicas[i]) }))
	})
}

// lost is the span of a fault that may lose what shards have acknowledged.
func lost[T any](name string, nodes []T, shards ...int) Span {
	shards = slices.Clone(shards)
	for i := range shards {
		shards[i] %= Primaries
	}
	return Span{Fault: name, Detail: fmt.Sprint(nodes), Shards: shards, MayLose: true}
}

// killPrimary kills a primary whose replica does not know of the locks.
func killPrimary(ctx context.Context, e *env) error {
	n, replica, err := e.Pair(ctx, e.shard)
	if err != nil {
		return err
	}
	return e.fault(ctx, lost("kill primary", []*clustertest.Node{n}, e.shard), func() error {
		return steps(
			func() error { return e.deafen(ctx, replica) },
			func() error { return e.hold(ctx, e.shard) },
			func() error { return n.Kill(ctx) },
			func() error { return e.Replaced(ctx, e.shard, n) },
			e.forgot,
			func() error { return e.Cluster.RestoreReplication(ctx, replica) },
			func() error { return nap.For(ctx, e.limits.TTL/2) },
			func() error { return n.Start(ctx) })
	})
}

// restart kills the primaries of shards and starts them at once: they are back
// without their data.
func restart(count int) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		var nodes []*clustertest.Node
		var shards []int
		for i := range count {
			n, err := e.Primary(ctx, e.shard+i)
			if err != nil {
				return err
			}
			nodes, shards = append(nodes, n), append(shards, e.shard+i)
		}
		if err := e.hold(ctx, shards...); err != nil {
			return err
		}
		return e.fault(ctx, lost("restart primary at once", nodes, shards...), func() error {
			return layout.Each(len(nodes), func(i int) error { return nodes[i].Restart(ctx) })
		})
	}
}

// freezePrimary freezes a primary until another has its place, and wakes it up.
func freezePrimary(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	if err := e.hold(ctx, e.shard); err != nil {
		return err
	}
	return e.fault(ctx, lost("freeze primary", []*clustertest.Node{n}, e.shard), func() error {
		return steps(
			func() error { return n.Freeze(ctx) },
			func() error { return e.Replaced(ctx, e.shard, n) },
			func() error { return nap.For(ctx, e.limits.TTL/2) },
			func() error { return n.Thaw(ctx) })
	})
}

// frozenAndLost lets locks be taken while a primary is frozen, so that their
// holder has the votes of the others only. One of those forgets its vote when the
// frozen one has been replaced.
func frozenAndLost(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	_, replica, err := e.Pair(ctx, e.shard+1)
	if err != nil {
		return err
	}
	s := lost("freeze a primary, and lose locks of another", []*clustertest.Node{n, replica}, e.shard, e.shard+1)
	return e.fault(ctx, s, func() error {
		return steps(
			func() error { return e.deafen(ctx, replica) },
			func() error { return n.Freeze(ctx) },
			func() error { return e.hold(ctx, e.shard+1) },
			func() error { return e.Replaced(ctx, e.shard, n) },
			func() error { return e.Cluster.Failover(ctx, replica, clustertest.Takeover) },
			func() error { return e.Cluster.RestoreReplication(ctx, replica) },
			func() error { return n.Thaw(ctx) })
	})
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
	group := []*clustertest.Node{n, other}
	return e.fault(ctx, lost("isolate minority", group, e.shard), func() error {
		return steps(
			func() error { return e.Cluster.Isolate(ctx, group...) },
			func() error { return e.hold(ctx, e.shard) }, // some of it with the minority
			func() error { return e.Replaced(ctx, e.shard, n) },
			func() error { return nap.For(ctx, e.limits.TTL/2) },
			func() error { return e.Cluster.Heal(ctx) })
	})
}

// lockSlots returns the slot of the lease that a shard had at first, and those of
// Redlock. The tags of Redlock are no business of ours: its keys are seen while
// they are there, which on one shard they need not be even if the lock is held.
func (e *env) lockSlots(ctx context.Context, shard int) (out []int, err error) {
	n, err := e.Primary(ctx, shard)
	if err != nil {
		return nil, err
	}
	out = []int{e.Cluster.Slot(e.leaseKey(e.leases[shard%e.Shards]))}
	for len(out) < 2 {
		reply, err := n.Do(ctx, "KEYS", e.prefix+":redlock:{*}*")
		if err == nil {
			err = nap.For(ctx, 2*time.Millisecond)
		}
		if err != nil {
			return nil, fmt.Errorf("chaos: %s shows no key of Redlock: %w", n, err)
		}
		keys, _ := reply.([]any)
		for _, k := range keys {
			if s := e.Cluster.Slot(fmt.Sprint(k)); !slices.Contains(out, s) && s*e.Shards/redisnode.SlotCount == shard%e.Shards {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func (e *env) move(ctx context.Context, all []int, to *clustertest.Node) error {
	for _, slot := range all {
		if err := e.Cluster.MoveSlot(ctx, slot, to); err != nil {
			return err
		}
	}
	return nil
}

// gather moves the slots of the locks of a shard to the next one while they are
// held, so that two names of Redlock are on one shard, does something, and moves
// them back.
func (e *env) gather(ctx context.Context, meanwhile func() error) error {
	if err := e.hold(ctx, e.shard); err != nil {
		return err
	}
	all, err := e.lockSlots(ctx, e.shard)
	if err != nil {
		return err
	}
	for i, to := range []int{e.shard + 1, e.shard} {
		n, err := e.Primary(ctx, to)
		if err != nil {
			return err
		}
		s := Span{Fault: "move slots", Detail: fmt.Sprintf("%d to %s", len(all), n), Shards: []int{e.shard}}
		if err := e.fault(ctx, s, func() error { return e.move(ctx, all, n) }); err != nil {
			return err
		}
		if i == 0 {
			if err := meanwhile(); err != nil {
				return err
			}
		}
	}
	return nil
}

func moveSlots(ctx context.Context, e *env) error {
	return e.gather(ctx, func() error { return nap.For(ctx, e.limits.TTL/2) })
}

// twoNames lets a shard forget its locks which has two names of Redlock. The
// lease of the first shard is there, too.
func twoNames(ctx context.Context, e *env) error {
	return e.gather(ctx, func() error {
		_, replica, err := e.Pair(ctx, e.shard+1)
		if err != nil {
			return err
		}
		return e.fault(ctx, lost("lose a shard with two names", []*clustertest.Node{replica}, e.shard, e.shard+1), func() error {
			return steps(
				func() error { return e.deafen(ctx, replica) },
				func() error { return e.hold(ctx, e.shard, e.shard+1) },
				func() error { return e.Cluster.Failover(ctx, replica, clustertest.Takeover) },
				e.forgot,
				func() error { return e.Cluster.RestoreReplication(ctx, replica) })
		})
	})
}

// twoShards lets two shards forget at once, or the second one when the holder
// may just have extended.
func twoShards(apart int) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		return e.loseLocks(ctx, e.limits.TTL*time.Duration(apart)/10, e.shard, e.shard+1)
	}
}

// dropClients closes connections, those with subscriptions as well.
func dropClients(ctx context.Context, e *env) error {
	if err := e.hold(ctx, e.shard); err != nil {
		return err
	}
	for range 3 {
		for _, kind := range []clustertest.ClientType{clustertest.Normal, clustertest.PubSub} {
			err := e.fault(ctx, Span{Fault: "drop clients", Detail: string(kind)}, func() error { return e.Cluster.DropClients(ctx, kind) })
			if err != nil {
				return err
			}
		}
		if err := nap.For(ctx, e.limits.TTL/6); err != nil {
			return err
		}
	}
	return nil
}

// freezeHolder stops a process that holds locks for longer than they last.
func freezeHolder(ctx context.Context, e *env) error {
	if err := e.hold(ctx, e.shard); err != nil {
		return err
	}
	p, d := e.fleet.proc(e.victim), e.limits.TTL*3/2
	return e.fault(ctx, Span{Fault: "freeze holder", Detail: fmt.Sprintf("%d for %v", e.victim, d)}, func() error {
		err := p.Freeze()
		if err == nil {
			err = nap.For(ctx, d)
		}
		return errors.Join(err, p.Thaw())
	})
}

// killHolder kills a process that holds locks, and starts another.
func killHolder(ctx context.Context, e *env) error {
	if err := e.hold(ctx, e.shard); err != nil {
		return err
	}
	return e.fault(ctx, Span{Fault: "kill holder", Detail: fmt.Sprint(e.victim)}, func() error {
		return steps(
			func() error { return e.fleet.kill(e.victim) },
			func() error { return nap.For(ctx, e.limits.TTL/2) },
			func() error { return e.fleet.spawn(e.victim) },
			func() error { return e.join(ctx, e.victim) })
	})
}

// combine draws faults, and does each as soon as the cluster is whole after the
// one before: the locks have not recovered by then.
func combine(ctx context.Context, e *env) error {
	all := single()
	for range 3 {
		p := all[e.rand.IntN(len(all))]
		e.shard, e.victim = e.rand.IntN(e.Shards), e.rand.IntN(e.processes)
		e.log("  %s, shard %d, holder %d", p.name, e.shard, e.victim)
		if err := errors.Join(p.do(ctx, e), e.letGo(ctx)); err != nil {
			return err
		}
	}
	return nil
}

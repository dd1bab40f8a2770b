package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Amounts of the built-in faults.
const (
	slowDelay  = 20 * time.Millisecond
	slowJitter = 10 * time.Millisecond
	movedSlots = 32
)

// builtin is a fault and where it is possible.
type builtin struct {
	Fault
	possible func(t Topology) bool
}

func anywhere(Topology) bool       { return true }
func withReplicas(t Topology) bool { return t.ReplicasPerPrimary > 0 }
func inCluster(t Topology) bool    { return t.Mode == ClusterMode && t.Primaries > 1 }

// promotable reports whether a replica can be made the primary by hand.
func promotable(t Topology) bool { return t.Mode == ClusterMode && withReplicas(t) }

// electing reports whether replicas are elected.
func electing(t Topology) bool {
	return withReplicas(t) && (t.Mode == SentinelMode || t.Mode == ClusterMode && t.Primaries > 2)
}

// isolating reports whether nodes can be isolated. While the backend is open, it
// is possible if both can.
func isolating(t Topology) bool {
	return t.Backend == Docker || t.Mode == ClusterMode && !t.TLS
}

// builtins are in the order in which seeds draw from them: new ones go to the
// end.
var builtins = []builtin{
	{Fault{Name: "kill", Impact: ImpactCluster, Begin: beginKill}, anywhere},
	{Fault{Name: "restart", Impact: ImpactCluster, Instant: true, Begin: beginRestart}, anywhere},
	{Fault{Name: "freeze", Impact: ImpactCluster, Begin: beginFreeze}, anywhere},
	{Fault{Name: "isolate", Impact: ImpactCluster, Begin: beginIsolate}, func(t Topology) bool { return isolating(t) && t.nodeCount() > 1 }},
	{Fault{Name: "isolate-minority", Impact: ImpactCluster, Roles: []Role{Primary}, Begin: beginIsolateMinority},
		func(t Topology) bool { return isolating(t) && inCluster(t) && electing(t) }},
	{Fault{Name: "failover", Impact: ImpactCluster, Roles: []Role{Replica}, Instant: true, Begin: beginFailover(Graceful)}, promotable},
	{Fault{Name: "failover-force", Impact: ImpactCluster, Roles: []Role{Replica}, Instant: true, Begin: beginFailover(Force)}, promotable},
	{Fault{Name: "failover-takeover", Impact: ImpactCluster, Roles: []Role{Replica}, Instant: true, Begin: beginFailover(Takeover)}, promotable},
	{Fault{Name: "cut-replication", Impact: ImpactCluster, Roles: []Role{Replica}, Begin: beginCut}, withReplicas},
	{Fault{Name: "lose-writes", Impact: ImpactCluster, Roles: []Role{Replica}, Begin: beginLoseWrites}, electing},
	{Fault{Name: "move-slots", Impact: ImpactCluster, Roles: []Role{Primary}, Begin: beginMoveSlots}, inCluster},
	{Fault{Name: "set-slot", Impact: ImpactCluster, Roles: []Role{Primary}, Begin: beginSetSlot}, inCluster},
	{Fault{Name: "add-node", Impact: ImpactCluster, Roles: []Role{Primary}, Begin: beginAddNode}, inCluster},
	{Fault{Name: "drop-clients", Impact: ImpactNode, Instant: true, Begin: beginDrop(Normal)}, anywhere},
	{Fault{Name: "drop-pubsub", Impact: ImpactNode, Instant: true, Begin: beginDrop(PubSub)}, anywhere},
	{Fault{Name: "slow", Impact: ImpactNode, Begin: beginSlow}, anywhere},
	{Fault{Name: "pause-writes", Impact: ImpactNode, Roles: []Role{Primary}, Begin: beginPause}, anywhere},
	{Fault{Name: "flush", Impact: ImpactNode, Roles: []Role{Primary}, Instant: true, Begin: beginFlush}, anywhere},
	{Fault{Name: "evict", Impact: ImpactNode, Roles: []Role{Primary}, Instant: true, Begin: beginEvict}, anywhere},
}

// Faults returns the built-in faults that a deployment of topology t can do. In
// the order of the table in the README: kill, restart, freeze, isolate,
// isolate-minority, failover, failover-force, failover-takeover,
// cut-replication, lose-writes, move-slots, set-slot, add-node, drop-clients,
// drop-pubsub, slow, pause-writes, flush, evict.
func Faults(t Topology) []Fault {
	t = t.withDefaults()
	var faults []Fault
	for _, b := range builtins {
		if b.possible(t) {
			faults = append(faults, b.Fault)
		}
	}
	return faults
}

// ender is how a fault ends.
type ender = func(context.Context) error

func beginKill(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	return n.Start, n.Kill(ctx)
}

func beginRestart(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	return nil, n.Restart(ctx)
}

func beginFreeze(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	return n.Thaw, n.Freeze(ctx)
}

func beginIsolate(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	return t.Cluster.Heal, t.Cluster.Isolate(ctx, n)
}

// beginIsolateMinority isolates the primary of the shard together with a replica
// of the next shard: a group that can elect nobody and loses nothing of the
// next shard but the replica.
func beginIsolateMinority(ctx context.Context, t Target) (ender, error) {
	primary, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	next := t
	next.Step.Shard = (t.Step.Shard + 1) % t.Cluster.topology.Primaries
	next.Step.Role = Replica
	replica, err := next.Node(ctx)
	if err != nil {
		return nil, err
	}
	return t.Cluster.Heal, t.Cluster.Isolate(ctx, primary, replica)
}

func beginFailover(mode FailoverMode) func(context.Context, Target) (ender, error) {
	return func(ctx context.Context, t Target) (ender, error) {
		n, err := t.Node(ctx)
		if err != nil {
			return nil, err
		}
		return nil, t.Cluster.Failover(ctx, n, mode)
	}
}

func beginCut(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	restore := func(ctx context.Context) error { return t.Cluster.RestoreReplication(ctx, n) }
	return restore, t.Cluster.CutReplication(ctx, n)
}

// beginLoseWrites cuts the replication of all replicas of the shard. The end of
// it kills the primary and waits for another: what was written in between is
// lost.
func beginLoseWrites(ctx context.Context, t Target) (_ ender, err error) {
	c := t.Cluster
	primary, err := c.PrimaryOf(ctx, t.slot())
	if err != nil {
		return nil, err
	}
	replicas, err := c.ReplicasOf(ctx, primary)
	if err != nil {
		return nil, err
	}
	restore := func(ctx context.Context) error {
		var errs []error
		for _, r := range replicas {
			errs = append(errs, c.RestoreReplication(ctx, r))
		}
		return errors.Join(errs...)
	}
	for _, r := range replicas {
		if err := c.CutReplication(ctx, r); err != nil {
			return nil, errors.Join(err, restore(context.WithoutCancel(ctx)))
		}
	}
	return func(ctx context.Context) error {
		if err := primary.Kill(ctx); err != nil {
			return errors.Join(err, restore(ctx))
		}
		_, err := c.WaitPrimary(ctx, t.slot(), primary)
		return errors.Join(err, primary.Start(ctx), restore(ctx))
	}, nil
}

// beginMoveSlots moves the last slots of the shard to the next shard, live, and
// the end moves them back. The first slot of a shard, by which it is known,
// stays.
func beginMoveSlots(ctx context.Context, t Target) (ender, error) {
	c, from, to, err := t.neighbours(ctx)
	if err != nil {
		return nil, err
	}
	_, last := t.slots()
	first := max(last-movedSlots+1, t.slot()+1)
	if first > last {
		return nil, fmt.Errorf("clustertest: shard %d has a single slot", t.Step.Shard)
	}
	back := func(ctx context.Context) error { return c.MoveSlots(ctx, first, last, from) }
	return back, c.MoveSlots(ctx, first, last, to)
}

// beginSetSlot gives the last slot of the shard to the next shard without its
// keys; the end gives it back, likewise.
func beginSetSlot(ctx context.Context, t Target) (ender, error) {
	c, from, to, err := t.neighbours(ctx)
	if err != nil {
		return nil, err
	}
	first, last := t.slots()
	if first == last {
		return nil, fmt.Errorf("clustertest: shard %d has a single slot", t.Step.Shard)
	}
	back := func(ctx context.Context) error { return c.SetSlot(ctx, last, from) }
	return back, c.SetSlot(ctx, last, to)
}

// beginAddNode adds a primary and moves slots of the shard to it; the end moves
// them back and removes it.
func beginAddNode(ctx context.Context, t Target) (ender, error) {
	c, from, _, err := t.neighbours(ctx)
	if err != nil {
		return nil, err
	}
	n, err := c.AddNode(ctx, nil)
	if err != nil {
		return nil, err
	}
	_, last := t.slots()
	first := max(last-movedSlots+1, t.slot()+1)
	end := func(ctx context.Context) error {
		return errors.Join(c.MoveSlots(ctx, first, last, from), c.RemoveNode(ctx, n))
	}
	return end, c.MoveSlots(ctx, first, last, n)
}

func beginDrop(what ClientType) func(context.Context, Target) (ender, error) {
	return func(ctx context.Context, t Target) (ender, error) {
		n, err := t.Node(ctx)
		if err != nil {
			return nil, err
		}
		return nil, t.Cluster.DropClients(ctx, what, n)
	}
}

func beginSlow(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	end := func(context.Context) error { return t.Cluster.Slow(n, 0, 0) }
	return end, t.Cluster.Slow(n, slowDelay, slowJitter)
}

// beginPause pauses for a moment longer than the fault lasts: its end ends the
// pause.
func beginPause(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	end := func(ctx context.Context) error { return t.Cluster.Unpause(ctx, n) }
	return end, t.Cluster.PauseWrites(ctx, t.Step.Lasts+time.Second, n)
}

func beginFlush(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	return nil, t.Cluster.record(ctx, "flush "+n.String(), func() error {
		_, err := n.Do(ctx, "FLUSHALL")
		return err
	})
}

// beginEvict does nothing to a node without keys.
func beginEvict(ctx context.Context, t Target) (ender, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	if size, err := n.Do(ctx, "DBSIZE"); err != nil || size == int64(0) {
		return nil, err
	}
	return nil, t.Cluster.Evict(ctx, n)
}

// slots returns the slots that the shard was given when the cluster was formed.
func (t Target) slots() (first, last int) {
	shards := t.Cluster.topology.Primaries
	return firstSlot(t.Step.Shard, shards), firstSlot(t.Step.Shard+1, shards) - 1
}

// neighbours returns the primaries of the shard and of the next one.
func (t Target) neighbours(ctx context.Context) (c *Cluster, from, to *Node, err error) {
	c = t.Cluster
	if from, err = c.PrimaryOf(ctx, t.slot()); err != nil {
		return nil, nil, nil, err
	}
	next := (t.Step.Shard + 1) % c.topology.Primaries
	to, err = c.PrimaryOf(ctx, firstSlot(next, c.topology.Primaries))
	return c, from, to, err
}

func faultNamed(faults []Fault, name string) (Fault, bool) {
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, false
	}
	return faults[i], true
}

//go:build unix

package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
)

// combination is a phase of faults drawn from a seed, which overlap.
func combination(name string, seed uint64, length time.Duration) phase {
	return phase{
		name: name, what: fmt.Sprintf("faults of all kinds overlap, drawn from seed %d", seed), spinning: 1,
		do: func(ctx context.Context, e *env) error { return e.combine(ctx, seed, length) },
	}
}

func (e *env) combine(ctx context.Context, seed uint64, length time.Duration) error {
	faults := e.known()
	schedule, err := clustertest.Chaos(seed, clustertest.ChaosConfig{
		Topology: e.Cluster.Topology(), Faults: faults, Duration: length, Concurrent: true,
		MinGap: 200 * time.Millisecond, MaxGap: 1500 * time.Millisecond,
		MinLasting: 100 * time.Millisecond, MaxLasting: 4 * time.Second,
	})
	if err != nil {
		return err
	}
	err = schedule.Run(ctx, e.Cluster, clustertest.RunOptions{Faults: faults, Log: e.log, Done: e.record})
	return errors.Join(err, e.fleet.update(ctx, e.instances))
}

// ofProcesses are the faults that are none of the cluster.
func (e *env) ofProcesses() []clustertest.Fault {
	victim := func(t clustertest.Target) int { return t.Step.Shard % e.instances }
	hurt := func(f instance.LinkFault) func(context.Context, clustertest.Target) (func(context.Context) error, error) {
		return func(ctx context.Context, t clustertest.Target) (func(context.Context) error, error) {
			i := victim(t)
			heal := func(ctx context.Context) error { return e.linkIfUp(ctx, i, instance.LinkFault{Do: "heal"}) }
			return heal, e.linkIfUp(ctx, i, f)
		}
	}
	primary := []clustertest.Role{clustertest.Primary}
	return []clustertest.Fault{
		{Name: "cut-link", Roles: primary, Begin: hurt(instance.LinkFault{Do: "cut"})},
		{Name: "blackhole-link", Roles: primary, Begin: hurt(instance.LinkFault{Do: "blackhole"})},
		{Name: "delay-link", Roles: primary, Begin: hurt(instance.LinkFault{Do: "delay", Delay: 50 * time.Millisecond, Jitter: 40 * time.Millisecond})},
		{Name: "freeze-instance", Roles: primary, Begin: func(_ context.Context, t clustertest.Target) (func(context.Context) error, error) {
			p := e.fleet.proc(victim(t))
			return func(context.Context) error { return p.Thaw() }, p.Freeze()
		}},
	}
}

// ofOurs are the faults that take the place of built-in ones: slowing a node
// reaches only clients in this process, and evicting finds nothing to evict
// where every key was just deleted.
func (e *env) ofOurs() []clustertest.Fault {
	return []clustertest.Fault{
		{Name: "slow", Impact: clustertest.ImpactNode, Begin: e.beginSlow},
		{
			Name: "evict", Impact: clustertest.ImpactNode, Roles: []clustertest.Role{clustertest.Primary}, Instant: true,
			Begin: func(ctx context.Context, t clustertest.Target) (func(context.Context) error, error) {
				n, err := t.Node(ctx)
				if err != nil {
					return nil, err
				}
				return nil, errors.Join(e.ballast(ctx, n, t.Step.Shard), e.Cluster.Evict(ctx, n))
			},
		},
	}
}

// known is every fault there is.
func (e *env) known() []clustertest.Fault {
	ours := e.ofOurs()
	all := append(e.ofProcesses(), ours...)
	for _, f := range clustertest.Faults(e.Cluster.Topology()) {
		if !slices.ContainsFunc(ours, func(o clustertest.Fault) bool { return o.Name == f.Name }) {
			all = append(all, e.telling(f))
		}
	}
	return all
}

// telling makes the instances learn where nodes are reached, when a fault that
// may change it has begun and ended.
func (e *env) telling(f clustertest.Fault) clustertest.Fault {
	if f.Impact != clustertest.ImpactCluster {
		return f
	}
	begin := f.Begin
	f.Begin = func(ctx context.Context, t clustertest.Target) (func(context.Context) error, error) {
		end, err := begin(ctx, t)
		if err != nil || end == nil {
			return end, errors.Join(err, e.fleet.update(ctx, e.instances))
		}
		return func(ctx context.Context) error { return errors.Join(end(ctx), e.fleet.update(ctx, e.instances)) },
			e.fleet.update(ctx, e.instances)
	}
	return f
}

// linkIfUp is link for an instance that may be frozen: then it hears of it when
// it is thawed, and nobody waits for that.
func (e *env) linkIfUp(ctx context.Context, i int, f instance.LinkFault) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := e.link(ctx, i, f)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// beginSlow delays the way of every instance to a node.
func (e *env) beginSlow(ctx context.Context, t clustertest.Target) (func(context.Context) error, error) {
	n, err := t.Node(ctx)
	if err != nil {
		return nil, err
	}
	everybody := func(ctx context.Context, f instance.LinkFault) error {
		f.Nodes = []string{n.Announced()}
		return layout.Each(e.instances, func(i int) error { return e.linkIfUp(ctx, i, f) })
	}
	return func(ctx context.Context) error { return everybody(ctx, instance.LinkFault{Do: "heal"}) },
		everybody(ctx, instance.LinkFault{Do: "delay", Delay: 30 * time.Millisecond, Jitter: 20 * time.Millisecond})
}

// mayLose names the faults after which another node may take over that has not
// heard all.
var mayLose = map[string]bool{
	"kill": true, "restart": true, "freeze": true, "isolate": true, "isolate-minority": true,
	"failover-force": true, "failover-takeover": true, "lose-writes": true, "cut-replication": true, "set-slot": true,
}

// ofOneNode names those of them that harm one node: nothing is lost if it is a
// replica.
var ofOneNode = map[string]bool{"kill": true, "restart": true, "freeze": true, "isolate": true}

// commanded names those of them that make another node take over at once. When
// the others do so is not known.
var commanded = map[string]bool{"failover-force": true, "failover-takeover": true, "set-slot": true}

// forgets names the faults that drop keys.
var forgets = map[string]bool{"flush": true, "evict": true, "restart": true, "set-slot": true}

// record enters a step of a schedule into the record.
func (e *env) record(r clustertest.StepReport) {
	now, wall := history.Now(), time.Now()
	at := func(t time.Time) history.Time {
		if t.IsZero() {
			return 0 // it did not come to that
		}
		return now.Add(t.Sub(wall))
	}
	s := history.Span{
		Name: r.Step.Fault, Detail: fmt.Sprintf("shard %d, %s", r.Step.Shard, r.Step.Role), Shards: []int{r.Step.Shard},
		Began: at(r.Began), Ended: at(r.Recovered), Recovered: at(r.Recovered),
		MayLose: mayLose[r.Step.Fault], Forgets: forgets[r.Step.Fault], Commanded: commanded[r.Step.Fault], Redis: true,
	}
	if r.Step.Role == clustertest.Replica && ofOneNode[r.Step.Fault] {
		s.MayLose, s.Forgets = false, false
	}
	if r.Step.Lasts > 0 {
		s.Healing = at(r.Ended)
	}
	if s.Commanded || s.Forgets && !s.MayLose {
		s.Held = at(r.Held)
	}
	for _, f := range []string{"cut-link", "blackhole-link", "delay-link", "freeze-instance"} {
		if r.Step.Fault == f {
			s.Redis, s.Detail = false, fmt.Sprint("instance ", r.Step.Shard%e.instances)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spans = append(e.spans, s)
}

//go:build unix

package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/instance"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
)

// link does something to the way of an instance.
func (e *env) link(ctx context.Context, i int, f instance.LinkFault) error {
	return e.fleet.call(ctx, i, instance.OpLink, f, nil)
}

// hurtLink hurts the way of one instance to all nodes, and heals it. It lasts
// long beyond the bound: only then would values that it keeps regardless show
// every time.
func hurtLink(name string, f instance.LinkFault) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		s := span{detail: fmt.Sprint("of instance ", e.victim)}
		return e.during(ctx, name, s, func() error { return e.link(ctx, e.victim, f) }, 2*e.bound,
			func() error { return e.link(ctx, e.victim, instance.LinkFault{Do: "heal"}) })
	}
}

// slowNode delays the way of every instance to one primary.
func slowNode(ctx context.Context, e *env) error {
	n, err := e.Primary(ctx, e.shard)
	if err != nil {
		return err
	}
	const delay, jitter = 40 * time.Millisecond, 20 * time.Millisecond
	s := span{detail: fmt.Sprintf("%s by %v ± %v", n, delay, jitter), redis: true}
	return e.during(ctx, "slow node", s, func() error {
		f := instance.LinkFault{Do: "delay", Delay: delay, Jitter: jitter, Nodes: []string{n.Announced()}}
		return layout.Each(e.instances, func(i int) error { return e.link(ctx, i, f) })
	}, e.holding(), func() error {
		return layout.Each(e.instances, func(i int) error { return e.link(ctx, i, instance.LinkFault{Do: "heal"}) })
	})
}

// freezeInstance stops a process in the middle of what it does, for longer than
// the bound.
func freezeInstance(ctx context.Context, e *env) error {
	p := e.fleet.proc(e.victim)
	d := 2 * e.bound
	return e.during(ctx, "freeze instance", span{detail: fmt.Sprintf("%d for %v", e.victim, d), feeds: e.Shards}, p.Freeze, d, p.Thaw)
}

// killInstance kills a process and starts another in its place.
func killInstance(ctx context.Context, e *env) error {
	return e.during(ctx, "kill instance", span{detail: fmt.Sprint(e.victim)},
		func() error { return e.fleet.kill(e.victim) }, e.holding()/2, func() error { return e.revive(ctx, e.victim) })
}

// revive starts an instance in place of one that was killed, and puts it to
// work.
func (e *env) revive(ctx context.Context, i int) error {
	if err := e.fleet.spawn(i, e.fleet.exe); err != nil {
		return err
	}
	return errors.Join(e.join(ctx, i), e.fleet.call(ctx, i, instance.OpStart, e.work, nil))
}

// join makes an instance part of the phase.
func (e *env) join(ctx context.Context, i int) error {
	o := e.open
	o.Instance = i
	o.LateClient = o.LateClient && i%2 == 0
	var err error
	if o.Exported, err = e.fleet.exported(); err != nil {
		return err
	}
	return e.fleet.call(ctx, i, instance.OpOpen, o, nil)
}

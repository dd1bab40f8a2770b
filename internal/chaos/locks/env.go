//go:build unix

package locks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/nap"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// env is one phase under way: what faults are done to.
type env struct {
	layout.Layout
	fleet            *fleet
	ledger           *ledger
	limits           Limits
	processes        int
	prefix           string
	leases, redlocks []string
	shard            int        // the one that a fault of one shard hits
	victim           int        // the process that a fault of one process hits
	rand             *rand.Rand // for what faults choose; one goroutine at a time
	seed             uint64
	log              func(format string, args ...any)

	mu    sync.Mutex // protects spans
	spans []Span
}

// next makes the next fault hit another shard and another process.
func (e *env) next() {
	e.shard = (e.shard + 1) % e.Shards
	e.victim = (e.victim + 1) % e.processes
}

// names makes a name of a lease for each shard, in order, and those of Redlock,
// which have a key in each.
func (e *env) names() {
	for shard := range e.Shards {
		for k := 0; len(e.leases) == shard; k++ {
			name := fmt.Sprint("n", k)
			if e.Cluster.Slot(e.leaseKey(name))*e.Shards/redisnode.SlotCount == shard {
				e.leases = append(e.leases, name)
			}
		}
	}
	e.redlocks = []string{"a", "b"}
}

// leaseKey is the key of a lease; see package lock.
func (e *env) leaseKey(name string) string { return e.prefix + ":lock:{" + name + "}" }

func (e *env) targets() (out []target) {
	for _, n := range e.leases {
		out = append(out, target{Lease, n})
	}
	for _, n := range e.redlocks {
		out = append(out, target{Redlock, n})
	}
	return out
}

// join makes a process part of the phase, and puts it to work.
func (e *env) join(ctx context.Context, i int) error {
	exported, err := json.Marshal(e.Cluster.Export())
	if err != nil {
		return err
	}
	return errors.Join(e.fleet.call(ctx, i, opOpen, open{
		Process: i, Exported: exported, Prefix: e.prefix, Leases: e.leases, Redlocks: e.redlocks,
		Limits: e.limits, Each: 2, Seed: e.seed + uint64(i), First: e.fleet.number(i),
	}, nil), e.fleet.call(ctx, i, opStart, nil, nil))
}

// fault does something, waits until the cluster is whole again, and records all
// of that as one fault.
func (e *env) fault(ctx context.Context, s Span, do func() error) error {
	e.log("  %s %s", s.Fault, s.Detail)
	s.Began = history.Now()
	e.mu.Lock()
	i := len(e.spans)
	e.spans = append(e.spans, s)
	e.mu.Unlock()
	err := do()
	if err == nil {
		err = e.reach(ctx)
	}
	if err == nil {
		err = e.Cluster.WaitStable(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spans[i].Ended = history.Now()
	if e.spans[i].Forgot == 0 {
		e.spans[i].Forgot = e.spans[i].Ended
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Fault, err)
	}
	return nil
}

// reach tells all processes where nodes are reached now.
func (e *env) reach(ctx context.Context) error {
	exported, err := json.Marshal(e.Cluster.Export())
	if err != nil {
		return err
	}
	return layout.Each(e.processes, func(i int) error { return e.fleet.call(ctx, i, opReach, reach{exported}, nil) })
}

// forgot records that nothing is lost any more by the fault under way: from now
// on its shards grant what they will remember. Who was granted a lock before hears
// of it within OpTimeout.
func (e *env) forgot() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spans[len(e.spans)-1].Forgot = history.Now().Add(e.limits.OpTimeout)
	return nil
}

// hold lets the victim take the lease of each of the shards, and every lock of
// Redlock, and keep them until [env.letGo], so that the fault has something to
// hit.
func (e *env) hold(ctx context.Context, shards ...int) error {
	var all []target
	for _, s := range shards {
		all = append(all, target{Lease, e.leases[s%e.Shards]})
	}
	for _, n := range e.redlocks {
		all = append(all, target{Redlock, n})
	}
	return layout.Each(len(all), func(i int) error {
		return e.fleet.call(ctx, e.victim, opHold, hold{all[i].kind, all[i].name}, nil)
	})
}

// letGo ends what hold has begun.
func (e *env) letGo(ctx context.Context) error {
	return layout.Each(e.processes, func(i int) error { return e.fleet.call(ctx, i, opLetGo, nil, nil) })
}

// progress blocks until every process has got each lock again after now: a fault
// must not leave a lock that nobody gets, nor a process that is passed over.
func (e *env) progress(ctx context.Context) error {
	const limit = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	now := history.Now()
	for {
		var missing []string
		for _, t := range e.targets() {
			for i := range e.processes {
				if e.ledger.lastEntry(i, t) <= now {
					missing = append(missing, fmt.Sprintf("%s %s in process %d", t.kind, t.name, i))
				}
			}
		}
		if len(missing) == 0 {
			return nil
		}
		if nap.For(ctx, 5*time.Millisecond) != nil {
			return fmt.Errorf("chaos: not taken within %v: %s", limit, strings.Join(missing, ", "))
		}
	}
}

// steps does one thing after the other until one fails.
func steps(all ...func() error) error {
	for _, do := range all {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

//go:build unix

package locks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/chaos/rebuilt"
	"github.com/fleetcache/fleetcache/internal/nap"
)

// Primaries is the number of shards of the cluster. Each has one replica.
const Primaries = 3

// DefaultProcesses is the number of processes that hold locks.
const DefaultProcesses = 4

// Config says what a run does.
type Config struct {
	// Topology is the cluster, of Primaries shards with a replica each.
	Topology clustertest.Topology
	// Seed decides what faults hit, and how long holders stay.
	Seed uint64
	// Short does fewer phases, and each fault once, for CI.
	Short bool
	// Only, if not nil, leaves out the phases whose name it does not match.
	Only *regexp.Regexp
	// Processes defaults to DefaultProcesses.
	Processes int
	// Votes is the number of names of Redlock. Defaults to 3.
	Votes int
	// Mutant, if not empty, names what is taken out of package lock in all
	// holders: for tests of the judge.
	Mutant string
	// Log is told what goes on, by one goroutine at a time.
	Log func(format string, args ...any)
	// Done is given each phase when it is over.
	Done func(*Phase)
}

func (c Config) withDefaults() Config {
	c.Topology.Primaries, c.Topology.ReplicasPerPrimary = Primaries, 1
	c.Processes, c.Votes = cmp.Or(c.Processes, DefaultProcesses), cmp.Or(c.Votes, 3)
	log := c.Log
	var mu sync.Mutex
	c.Log = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if log != nil {
			log(format, args...)
		}
	}
	return c
}

// limits are those of the locks. A lock lasts longer than the cluster needs to
// replace a primary: only then is the old holder still there when the successor
// grants what it does not know of. Short runs lose locks by a takeover, which
// takes milliseconds.
func (c Config) limits() Limits {
	l := Limits{TTL: 3 * time.Second, OpTimeout: 250 * time.Millisecond, Votes: c.Votes}
	if c.Short {
		l.TTL = 1500 * time.Millisecond
	}
	return l
}

// run is a run under way.
type run struct {
	cfg     Config
	cluster *clustertest.Cluster
	fleet   *fleet
}

// Run does all phases. The error is that of a run that could not go on; what
// went wrong in a phase is in its record.
func Run(ctx context.Context, cfg Config) (err error) {
	cfg = cfg.withDefaults()
	phases := plan(cfg)
	if len(phases) == 0 {
		return fmt.Errorf("chaos: no phase matches %v: nothing would be tested", cfg.Only)
	}
	r := &run{cfg: cfg, fleet: &fleet{}}
	if cfg.Mutant != "" {
		dir, err := os.MkdirTemp("", "chaos-")
		if err != nil {
			return fmt.Errorf("chaos: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		m, err := findMutant(cfg.Mutant)
		if err != nil {
			return err
		}
		if r.fleet.exe, err = rebuilt.Program(ctx, m, rebuilt.Library(), dir); err != nil {
			return err
		}
	}
	if r.cluster, err = clustertest.Run(ctx, cfg.Topology); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.cluster.Stop()) }()
	defer func() { err = errors.Join(err, r.fleet.close()) }()
	cfg.Log("%s, %d processes, Redlock over %d names, seed %d", r.cluster, cfg.Processes, cfg.Votes, cfg.Seed)
	for _, ph := range phases {
		p, err := r.phase(ctx, ph)
		if err != nil {
			return fmt.Errorf("chaos: phase %q: %w", ph.name, err)
		}
		if cfg.Done != nil {
			cfg.Done(p)
		}
	}
	return nil
}

// faultLimit is the time that one fault may take.
const faultLimit = time.Minute

// phase does one phase.
func (r *run) phase(ctx context.Context, ph phase) (*Phase, error) {
	e, err := r.prepare(ctx, ph)
	if err != nil {
		return nil, err
	}
	rec := &Phase{Name: ph.name, Shards: map[string]int{}}
	for shard, name := range e.leases {
		rec.Shards[name] = shard
	}
	r.cfg.Log("%s", ph.name)
	rec.Began = history.Now()
	err = r.work(ctx, ph, e)
	rec.Ended = history.Now()
	if err != nil {
		rec.Failures = append(rec.Failures, err.Error())
	}
	close(e.ledger.over)
	err = errors.Join(r.cluster.Recover(ctx), layout.Each(r.cfg.Processes, func(i int) error { return r.fleet.call(ctx, i, opClose, nil, nil) }))
	r.fleet.use(nil)
	e.ledger.facts(rec)
	for _, s := range rec.Stays {
		if s.Exit == 0 {
			rec.Failures = append(rec.Failures, fmt.Sprintf("the end of stay %d of process %d was not reported", s.ID, s.Process))
		}
	}
	rec.Spans = e.spans
	rec.Failures = append(rec.Failures, r.fleet.takeFailures()...)
	return rec, err
}

// prepare brings the cluster to how it was formed, and opens the holders.
func (r *run) prepare(ctx context.Context, ph phase) (*env, error) {
	if err := errors.Join(r.cluster.Reset(ctx), r.fleet.ensure(r.cfg.Processes)); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(r.cfg.Seed, uint64(ph.number)))
	e := &env{
		Layout: layout.Layout{Cluster: r.cluster, Shards: Primaries}, fleet: r.fleet, ledger: newLedger(), limits: r.cfg.limits(), processes: r.cfg.Processes,
		prefix: fmt.Sprint("p", ph.number), shard: rng.IntN(Primaries), victim: rng.IntN(r.cfg.Processes),
		rand: rng, seed: rng.Uint64(), log: r.cfg.Log,
	}
	e.names()
	r.fleet.use(e.ledger)
	return e, layout.Each(r.cfg.Processes, func(i int) error { return e.join(ctx, i) })
}

// work does the faults of a phase. After each all locks have to be taken again,
// and there is time for an old holder to show.
func (r *run) work(ctx context.Context, ph phase, e *env) error {
	if err := e.progress(ctx); err != nil {
		return fmt.Errorf("before any fault: %w", err)
	}
	for range ph.times(r.cfg.Short) {
		if ph.do != nil {
			limited, cancel := context.WithTimeout(ctx, faultLimit)
			err := ph.do(limited, e)
			cancel()
			if err != nil {
				return err
			}
		}
		if err := errors.Join(nap.For(ctx, e.limits.TTL/2), e.letGo(ctx), e.progress(ctx)); err != nil {
			return err
		}
		e.next()
	}
	return nil
}

// phase is one kind of phase.
type phase struct {
	name string
	// do makes the faults. Nil makes none.
	do func(ctx context.Context, e *env) error
	// short is whether a short run has it.
	short bool
	// again is how often a run that is not short does it.
	again int
	// number is its place in the full list, from 1: what is drawn in a phase
	// does not depend on which others are run.
	number int
}

func (p phase) times(short bool) int {
	if short {
		return 1
	}
	return max(1, p.again)
}

// single are the phases that hit one shard at a time, or none.
func single() []phase {
	return []phase{
		{name: "failover", do: failover(clustertest.Graceful)},
		{name: "failover force", do: failover(clustertest.Force)},
		{name: "failover takeover", do: failover(clustertest.Takeover), again: 2},
		{name: "lose locks", do: loseLocks, short: true, again: 2},
		{name: "kill primary", do: killPrimary, again: 2},
		{name: "restart primary", do: restart(1)},
		{name: "freeze primary", do: freezePrimary, short: true, again: 2},
		{name: "isolate minority", do: isolateMinority},
		{name: "move slots", do: moveSlots, short: true},
		{name: "drop clients", do: dropClients},
		{name: "freeze holder", do: freezeHolder, short: true},
		{name: "kill holder", do: killHolder},
	}
}

// plan returns the phases of a run: first one shard at a time, then two within
// one TTL, then faults as they come.
func plan(cfg Config) []phase {
	all := append([]phase{{name: "no fault", short: true}}, single()...)
	all = append(all,
		phase{name: "two shards", do: twoShards(0), short: true, again: 2},
		phase{name: "two shards in turn", do: twoShards(4)},
		phase{name: "two names on one shard", do: twoNames, short: true, again: 2},
		phase{name: "two restarts", do: restart(2)},
		phase{name: "frozen and lost", do: frozenAndLost},
		phase{name: "combination 1", do: combine},
		phase{name: "combination 2", do: combine})
	for i := range all {
		all[i].number = i + 1
	}
	return slices.DeleteFunc(all, func(p phase) bool {
		return cfg.Only != nil && !cfg.Only.MatchString(p.name) || cfg.Only == nil && cfg.Short && !p.short
	})
}

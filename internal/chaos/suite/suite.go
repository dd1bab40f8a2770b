//go:build unix

package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/board"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/nap"
)

// Config says what a run does.
type Config struct {
	// Topology is the cluster. Defaults to three primaries with a replica each.
	Topology clustertest.Topology
	// Seed decides what faults hit and the combinations.
	Seed uint64
	// Short leaves out combinations, for CI.
	Short bool
	// Soak, if not 0, goes on with combinations for that long after the phases.
	Soak time.Duration
	// Invalidation runs the phases with tags, namespaces and patterns in place
	// of the others.
	Invalidation bool
	// Broadcast makes the instances hear of changes by the bus, and not by
	// tracking.
	Broadcast bool
	// Only, if not nil, leaves out the phases whose name it does not match.
	Only *regexp.Regexp
	// Instances is the number of instances. Defaults to 3.
	Instances int
	// Bound is Options.MaxStaleness of the instances. Defaults to 1s.
	Bound time.Duration
	// Mutant, if not empty, is the name of a mechanism of the library that is
	// taken away in all instances, from package mutants or one of ours: for tests
	// of the checker.
	Mutant string
	// LateClients makes the clients of every other instance notice silent
	// connections later than any fault lasts, by an option that users may set,
	// too.
	LateClients bool
	// Log, if not nil, is told what goes on, by one goroutine at a time.
	Log func(format string, args ...any)
	// Done, if not nil, is given each phase when it is over, and may forget
	// what it does not need.
	Done func(*history.Phase)
}

func (c Config) withDefaults() Config {
	if c.Topology.Primaries == 0 {
		c.Topology.Primaries, c.Topology.ReplicasPerPrimary = 3, 1
	}
	c.Instances = cmp.Or(c.Instances, 3)
	c.Bound = cmp.Or(c.Bound, time.Second)
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

// run is a run under way.
type run struct {
	cfg     Config
	cluster *clustertest.Cluster
	fleet   *fleet
	dir     string
	wrong   string // the program with the wrong clock, once it is built
}

// Run does all phases and returns what happened. The error is that of a run
// that could not go on; what went wrong in a phase is in its record.
func Run(ctx context.Context, cfg Config) (_ *history.Run, err error) {
	cfg = cfg.withDefaults()
	out := &history.Run{Seed: cfg.Seed, Short: cfg.Short, Instances: cfg.Instances, Began: history.Now(), Date: time.Now()}
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := clustertest.Run(ctx, cfg.Topology)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	out.Backend, out.Server = c.Backend().String(), c.Version()
	cfg.Log("%s, %d instances, seed %d", c, cfg.Instances, cfg.Seed)
	r := &run{cfg: cfg, cluster: c, fleet: &fleet{cluster: c}, dir: dir}
	if cfg.Mutant != "" {
		if r.fleet.exe, err = buildMutant(ctx, cfg.Mutant, dir); err != nil {
			return nil, err
		}
	}
	defer func() { err = errors.Join(err, r.fleet.close()) }()
	if err := r.all(ctx, out); err != nil {
		return nil, err
	}
	out.Ended = history.Now()
	return out, nil
}

// all does the phases of the run.
func (r *run) all(ctx context.Context, out *history.Run) error {
	phases := plan(r.cfg)
	if len(phases) == 0 && r.cfg.Soak == 0 {
		return fmt.Errorf("chaos: no phase matches %v: nothing would be tested", r.cfg.Only)
	}
	for _, ph := range phases {
		if err := r.one(ctx, ph, out); err != nil {
			return err
		}
	}
	end := time.Now().Add(r.cfg.Soak)
	for i := 0; time.Now().Before(end); i++ {
		if err := r.one(ctx, soak(r.cfg, i), out); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) one(ctx context.Context, ph phase, out *history.Run) error {
	rec, err := r.phase(ctx, ph)
	if err != nil {
		return fmt.Errorf("chaos: phase %q: %w", ph.name, err)
	}
	if r.cfg.Done != nil {
		r.cfg.Done(rec)
	}
	out.Phases = append(out.Phases, *rec)
	return nil
}

// limitsOf are those the instances run with in a phase. Without a fault an
// operation gets so much time that a busy machine is not one.
func (r *run) limitsOf(ph phase) history.Limits {
	l := history.Limits{
		OpTimeout: 250 * time.Millisecond, DialTimeout: 500 * time.Millisecond,
		LoadTimeout: 5 * time.Second, // more than a reader waits: it is no failed read then
		LockWait:    time.Second, LeaseTTL: time.Second,
		DegradedTTL: r.cfg.Bound / 2, TTL: 3 * time.Second, ErrorBackoff: 100 * time.Millisecond,
		Heartbeat: r.cfg.Bound / 4, WatchInterval: r.cfg.Bound / 2,
	}
	if ph.do == nil {
		l.OpTimeout, l.LoadTimeout, l.LockWait, l.LeaseTTL = 5*time.Second, 10*time.Second, 10*time.Second, 3*time.Second
	}
	return l
}

// The time a phase may take: to warm up, for its faults, and to converge.
const (
	warmLimit     = 20 * time.Second
	faultLimit    = 3 * time.Minute
	convergeLimit = 20 * time.Second
)

// phase does one phase. What goes wrong in it is recorded; the error is that of
// one which could not begin or end.
func (r *run) phase(ctx context.Context, ph phase) (*history.Phase, error) {
	e, rec, err := r.prepare(ctx, ph)
	if err != nil {
		return nil, err
	}
	r.cfg.Log("%s", ph.name)
	db, err := newDatabase(e.board, len(e.keys), rec.Config)
	if err != nil {
		return nil, errors.Join(err, e.board.Close())
	}
	r.fleet.use(db)
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { watchStalls(watch, db) })
	err = r.open(ctx, ph, e)
	if err == nil {
		rec.Began = history.Now()
		r.work(ctx, ph, e, rec)
		rec.Ended = history.Now()
	}
	r.closeAll(ctx, ph, e, rec)
	stop()
	watching.Wait()
	db.close(rec)
	r.fleet.use(nil)
	rec.Spans = e.spans
	rec.Failures = append(rec.Failures, r.fleet.takeFailures()...)
	return rec, errors.Join(err, e.board.Close())
}

// prepare brings the cluster to how it was formed, and makes what the phase
// shares.
func (r *run) prepare(ctx context.Context, ph phase) (*env, *history.Phase, error) {
	if err := r.cluster.Reset(ctx); err != nil {
		return nil, nil, err
	}
	shards := r.cluster.Topology().Primaries
	rng := rand.New(rand.NewPCG(r.cfg.Seed, uint64(ph.number)))
	rec := &history.Phase{
		Name: ph.name, What: ph.what, Bound: r.cfg.Bound, Config: r.limitsOf(ph), Instances: r.cfg.Instances,
		Keys:      makeKeys(fmt.Sprint("p", ph.number), shards, ph.register > 0),
		FaultFree: ph.do == nil, Porcupine: ph.register > 0,
	}
	if ph.l1 {
		rec.Instances = 1
	}
	if ph.groups {
		rec.Keys, rec.Groups = makeGroups(fmt.Sprint("p", ph.number), shards, rec.Keys)
	}
	rec.Feed.Broadcast = r.cfg.Broadcast
	file := filepath.Join(r.dir, fmt.Sprint("board-", ph.number))
	b, err := board.Open(file, len(rec.Keys), rec.Instances)
	if err != nil {
		return nil, nil, err
	}
	e := &env{
		Layout: layout.Layout{Cluster: r.cluster, Shards: shards}, fleet: r.fleet, board: b, keys: rec.Keys, groups: rec.Groups, shard: rng.IntN(shards),
		victim: rng.IntN(rec.Instances), rand: rng, bound: r.cfg.Bound, short: r.cfg.Short, instances: rec.Instances, log: r.cfg.Log,
		work: instance.Work{Readers: 2, Spinning: ph.spinning, Pause: 20 * time.Millisecond},
		open: instance.Open{
			Instances: rec.Instances, Board: file, Keys: rec.Keys, Groups: rec.Groups, Broadcast: r.cfg.Broadcast, Namespace: fmt.Sprint("p", ph.number),
			Bound: r.cfg.Bound, Limits: rec.Config, L1Off: ph.register > 0 && !ph.l1, LateClient: r.cfg.LateClients,
		},
	}
	if ph.register > 0 {
		e.work = instance.Work{Readers: 4, Register: ph.register, ClientPerKey: !ph.l1}
	}
	return e, rec, nil
}

// open makes the instances part of the phase and puts them to work.
func (r *run) open(ctx context.Context, ph phase, e *env) error {
	if ph.wrongClock {
		if err := r.useWrongClock(ctx, e.victim); err != nil {
			return err
		}
	}
	if err := r.fleet.ensure(e.instances); err != nil {
		return err
	}
	if err := layout.Each(e.instances, func(i int) error { return e.join(ctx, i) }); err != nil {
		return err
	}
	return layout.Each(e.instances, func(i int) error { return r.fleet.call(ctx, i, instance.OpStart, e.work, nil) })
}

// useWrongClock runs an instance from the program with the wrong clock.
func (r *run) useWrongClock(ctx context.Context, i int) (err error) {
	if r.wrong == "" {
		if r.wrong, err = buildWithWrongClock(ctx, r.dir); err != nil {
			return err
		}
	}
	if err := r.fleet.ensure(i + 1); err != nil {
		return err
	}
	return errors.Join(r.fleet.stop(i), r.fleet.spawn(i, r.wrong))
}

// work lets the phase happen.
func (r *run) work(ctx context.Context, ph phase, e *env, rec *history.Phase) {
	fail := func(what string, err error) bool {
		if err != nil {
			rec.Failures = append(rec.Failures, fmt.Sprintf("%s: %v", what, err))
		}
		return err != nil
	}
	if ph.register > 0 {
		fail("operations", r.registers(ctx, e))
		return
	}
	if _, err := e.converged(ctx, warmLimit); fail("warm up", err) {
		return
	}
	if ph.do != nil {
		fctx, cancel := context.WithTimeout(ctx, faultLimit)
		defer cancel()
		if fail("fault", ph.do(fctx, e)) {
			fail("recover", errors.Join(r.cluster.Recover(ctx), e.fleet.update(ctx, e.instances)))
		}
	} else if fail("work", nap.For(ctx, 4*e.bound)) {
		return
	}
	rec.Healed = e.healed()
	at, err := e.converged(ctx, convergeLimit)
	if err != nil {
		rec.Unconverged = err.Error()
		return
	}
	rec.Converged = at
	fail("linger", nap.For(ctx, e.bound*6/5))
}

// registers blocks until the clients of a porcupine phase are done.
func (r *run) registers(ctx context.Context, e *env) error {
	return layout.Each(e.instances, func(i int) error { return r.fleet.call(ctx, i, instance.OpWait, nil, nil) })
}

// closeAll ends the phase in all instances.
func (r *run) closeAll(ctx context.Context, ph phase, e *env, rec *history.Phase) {
	err := layout.Each(e.instances, func(i int) error {
		if r.fleet.proc(i) == nil {
			return nil
		}
		return r.fleet.call(ctx, i, instance.OpClose, nil, nil)
	})
	if ph.wrongClock {
		err = errors.Join(err, r.fleet.stop(e.victim))
	}
	if err != nil {
		rec.Failures = append(rec.Failures, fmt.Sprintf("close: %v", err))
	}
}

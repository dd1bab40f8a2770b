//go:build unix

package steps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/crew"
	"github.com/fleetcache/fleetcache/bench/internal/hist"
	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/nap"
)

// An outcome is what was measured of a step.
type outcome struct {
	step
	latency  *hist.Histogram
	slowest  time.Duration
	errors   map[string]int
	failed   int
	oldest   time.Duration
	late     time.Duration
	queries  int   // of the database
	inSpells []int // of them, by spell
	down     int   // of them, those that failed
}

func newOutcome(s step) *outcome {
	return &outcome{step: s, latency: hist.New(), errors: map[string]int{}}
}

// A stage is what steps are run on.
type stage struct {
	cfg     Config
	cluster *localredis.Cluster
	db      *origin.Database
}

// Run executes the steps and returns what was measured. The program must have
// passed the roles of this package and of package origin to crew.Enter.
func Run(ctx context.Context, cfg Config) (_ *record.Run, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	defer cfg.Bar.End()
	s := &stage{cfg: cfg}
	err = cfg.Bar.During("cluster", clusterUp, func() (err error) {
		s.cluster, err = localredis.StartCluster(ctx, localredis.ClusterConfig{})
		return err
	})
	if err != nil {
		return nil, err
	}
	defer s.cluster.Stop()
	s.db, err = origin.Start(ctx, origin.Config{IDs: cfg.ids(), Connections: cfg.Connections})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.db.Stop()) }()
	var all []*outcome
	for i, st := range cfg.steps() {
		var o *outcome
		err := cfg.Bar.During(st.Name, cfg.stepLength(), func() (err error) {
			o, err = s.run(ctx, i, st)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("step %q: %w", st.Name, err)
		}
		all = append(all, o)
	}
	return cfg.record(ctx, all, s.cluster)
}

// run executes one step, with processes and keys of its own.
func (s *stage) run(ctx context.Context, number int, st step) (_ *outcome, err error) {
	all, err := crew.StartAll(RoleName, s.cfg.Nodes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, all.End()) }()
	if err := s.open(ctx, all, number, st); err != nil {
		return nil, err
	}
	if err := s.db.SetMode(ctx, s.mode(spells[0])); err != nil {
		return nil, err
	}
	if _, err := s.db.Take(ctx); err != nil {
		return nil, err
	}
	o := newOutcome(st)
	start := workers.Now() + int64(200*time.Millisecond)
	results := make([]runResult, len(all))
	ran := make(chan error, 1)
	go func() { // ends with the rounds, or with the processes
		ran <- all.Each(func(i int, m crew.Member) error {
			a := runArgs{Start: start, Every: s.cfg.scaled(scenarioEvery), Rounds: s.cfg.rounds(), Callers: s.cfg.Callers}
			return m.Call(ctx, "run", a, &results[i])
		})
	}()
	err = s.direct(ctx, start, o)
	if err = errors.Join(err, <-ran); err != nil {
		return nil, err
	}
	if err := all.Each(func(_ int, m crew.Member) error { return m.Call(ctx, "end", nil, nil) }); err != nil {
		return nil, err
	}
	if err := s.took(ctx, o); err != nil { // what was begun while the last answers came
		return nil, err
	}
	for _, r := range results {
		if err := o.add(r); err != nil {
			return nil, err
		}
	}
	return o, o.check(s.cfg)
}

func (s *stage) open(ctx context.Context, all crew.All, number int, st step) error {
	return all.Each(func(i int, m crew.Member) error {
		a := openArgs{
			Step: s.cfg.scale(st), Addrs: s.cluster.Addrs(), Prefix: fmt.Sprintf("step-%d", number),
			TTL: s.cfg.scaled(scenarioTTL), Socket: s.db.Socket, IDs: s.cfg.ids(),
		}
		if st.Alone {
			a.Prefix += fmt.Sprintf("-node-%d", i)
		}
		return m.Call(ctx, "open", a, nil)
	})
}

// mode is how the database answers in a spell, scaled.
func (s *stage) mode(sp spell) origin.Mode {
	return origin.Mode{Service: s.cfg.scaled(sp.mode.Service), Down: sp.mode.Down}
}

// direct has the database be fast, slow and down, and counts its queries.
func (s *stage) direct(ctx context.Context, start int64, o *outcome) error {
	for i, sp := range spells {
		if i > 0 { // a little before the round that begins then
			if err := until(ctx, start+int64(s.cfg.scaled(sp.from-scenarioEvery/5))); err != nil {
				return err
			}
			if err := s.took(ctx, o); err != nil {
				return err
			}
		}
		o.inSpells = append(o.inSpells, 0)
		if err := s.db.SetMode(ctx, s.mode(sp)); err != nil {
			return err
		}
	}
	return until(ctx, start+int64(s.cfg.scaled(scenarioLength)))
}

// took adds the queries that the database has counted since the last time to
// the last spell.
func (s *stage) took(ctx context.Context, o *outcome) error {
	l, err := s.db.Take(ctx)
	if err != nil {
		return err
	}
	o.queries += l.Begun
	o.down += l.Failed
	o.inSpells[len(o.inSpells)-1] += l.Begun
	return nil
}

func (o *outcome) add(r runResult) error {
	h, err := r.Latency.Unpack()
	if err != nil {
		return err
	}
	o.latency.Merge(h)
	o.slowest = max(o.slowest, r.Slowest)
	o.oldest = max(o.oldest, r.Oldest)
	o.late = max(o.late, r.Late)
	for text, n := range r.Errors {
		o.errors[text] += n
		o.failed += n
	}
	return nil
}

// check refuses a step in which what is measured did not happen.
func (o *outcome) check(c Config) error {
	if n := o.latency.TotalCount(); n != int64(c.requests()) {
		return fmt.Errorf("steps: %d requests, want %d", n, c.requests())
	}
	if o.Kind == nothing && o.queries != c.requests() {
		return fmt.Errorf("steps: %d queries of %d requests without a cache", o.queries, c.requests())
	}
	if o.queries < c.Products {
		return fmt.Errorf("steps: %d queries for %d products", o.queries, c.Products)
	}
	for text := range o.errors {
		if text != causeDown && text != causeBackoff {
			return fmt.Errorf("steps: %d requests failed with what is not part of the scenario: %s", o.errors[text], text)
		}
	}
	return nil
}

// until waits for a time of workers.Now.
func until(ctx context.Context, at int64) error {
	return nap.For(ctx, time.Duration(at-workers.Now()))
}

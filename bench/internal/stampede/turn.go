//go:build unix

package stampede

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/crew"
	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/nap"
)

// A stage is what contenders have their turns on.
type stage struct {
	cfg      Config
	cluster  *localredis.Cluster
	db       *origin.Database
	failover bool
	turns    int
}

// A plan is when what happens in a turn.
type plan struct {
	start, from, to int64
	keys            []int64 // when the first request for each may be made
}

// plan spreads the first loads of the keys over a TTL, so that they expire one
// after the other.
func (c Config) plan(start int64) plan {
	p := plan{start: start, from: start + int64(c.warmUp())}
	p.to = p.from + int64(c.Window)
	for i := range c.Expiring {
		p.keys = append(p.keys, start+int64(c.TTL)*int64(i)/int64(c.Expiring))
	}
	for i := range c.Written {
		p.keys = append(p.keys, start+int64(c.TTL)*int64(i)/int64(c.Written))
	}
	return p
}

// writes returns the keys that an instance updates: each key has one writer.
func (c Config) writes(instance int) (keys []int) {
	for i := instance; i < c.Written; i += c.Processes {
		keys = append(keys, c.Expiring+i)
	}
	return keys
}

// turn lets a contender run once.
func (s *stage) turn(ctx context.Context, name string) (_ *outcome, err error) {
	s.turns++
	if err := flush(ctx, s.cluster); err != nil {
		return nil, err
	}
	all, err := crew.StartAll(RoleName, s.cfg.Processes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, all.End()) }()
	open := openArgs{Peer: name, Socket: s.db.Socket, IDs: s.cfg.ids(), Settings: settings{
		Addrs: s.cluster.Addrs(), Prefix: fmt.Sprintf("stampede-%d", s.turns), TTL: s.cfg.TTL, StaleFor: s.cfg.TTL, OpTimeout: s.cfg.OpTimeout,
	}}
	if err := all.Each(func(_ int, m crew.Member) error { return m.Call(ctx, "open", open, nil) }); err != nil {
		return nil, err
	}
	if _, err := s.db.Take(ctx); err != nil {
		return nil, err
	}
	o := &outcome{name: name, window: s.cfg.Window, errors: map[string]int{}}
	p := s.cfg.plan(workers.Now() + int64(200*time.Millisecond))
	results, err := s.run(ctx, all, p, o)
	if err != nil {
		return nil, err
	}
	log, err := s.db.Take(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.judge(ctx, all, p, results, log.Queries, o); err != nil {
		return nil, err
	}
	return o, all.Each(func(_ int, m crew.Member) error { return s.ended(ctx, m) })
}

// ended closes what an instance has opened. After a killed primary some clients
// say so with an error, which is no error of the measurement.
func (s *stage) ended(ctx context.Context, m crew.Member) error {
	if err := m.Call(ctx, "end", nil, nil); err != nil && !s.failover {
		return err
	}
	return nil
}

// run has the instances read and write, and looks at Redis meanwhile.
func (s *stage) run(ctx context.Context, all crew.All, p plan, o *outcome) ([]runResult, error) {
	results := make([]runResult, len(all))
	ran := make(chan error, 1)
	go func() { // ends with the phase, which has an end, or with the instances
		ran <- all.Each(func(i int, m crew.Member) error {
			return m.Call(ctx, "run", runArgs{
				Start: p.start, End: p.to, From: p.keys, Callers: s.cfg.Callers, Think: s.cfg.Think,
				Seed: uint64(s.turns*1000 + i), Writes: s.cfg.writes(i), WriteEvery: s.cfg.WriteEvery,
			}, &results[i])
		})
	}()
	err := s.watch(ctx, p, o)
	if err = errors.Join(err, <-ran); err != nil {
		return nil, err
	}
	for _, r := range results {
		if r.Wrong != "" {
			return nil, errors.New(r.Wrong)
		}
	}
	return results, nil
}

// watch counts what the servers do within the measured window, or kills one of
// them in it.
func (s *stage) watch(ctx context.Context, p plan, o *outcome) error {
	if err := until(ctx, p.from); err != nil {
		return err
	}
	busy, tick := cpuTicks()
	var err error
	if s.failover {
		err = s.fail(ctx, p, o)
	} else {
		err = s.count(ctx, p, o)
	}
	busyThen, tickThen := cpuTicks()
	o.busy, o.tick = busyThen-busy, tickThen-tick
	return err
}

func (s *stage) count(ctx context.Context, p plan, o *outcome) error {
	before, err := usageOf(ctx, s.cluster.Nodes())
	if err != nil {
		return err
	}
	if err := until(ctx, p.to); err != nil {
		return err
	}
	after, err := usageOf(ctx, s.cluster.Nodes())
	o.used = after.since(before)
	return err
}

// fail kills a primary after a quarter of the window, and starts it again when
// the window is over.
func (s *stage) fail(ctx context.Context, p plan, o *outcome) error {
	if err := until(ctx, p.from+(p.to-p.from)/4); err != nil {
		return err
	}
	v, err := pickVictim(ctx, s.cluster)
	if err != nil {
		return err
	}
	if o.recovery, err = v.kill(ctx, s.cluster); err != nil {
		return err
	}
	return errors.Join(until(ctx, p.to), v.mend(ctx, s.cluster))
}

// judge has the instances judge their requests by what the database and the
// writers know.
func (s *stage) judge(ctx context.Context, all crew.All, p plan, results []runResult, queries []origin.Query, o *outcome) error {
	j := judgement{From: p.from, To: p.to, Expiring: s.cfg.Expiring}
	at := begins(queries)
	for i, id := range s.cfg.ids() {
		j.Spans = append(j.Spans, spans(at[id], 2*int64(s.cfg.Service)))
		var acks []ack
		for _, r := range results {
			acks = append(acks, r.Acks[i]...)
		}
		j.Acks = append(j.Acks, acks)
		if i >= s.cfg.Expiring {
			continue
		}
		e, l := counted(bursts(at[id], s.cfg.width()), p.from, p.to, s.cfg.width())
		o.expiries += e
		o.loads += l
		for _, t := range at[id] {
			if t >= p.from && t <= p.to {
				o.queries++
			}
		}
	}
	o.peak = peak(queries, p.from, p.to)
	for _, r := range results {
		o.add(r)
	}
	verdicts := make([]verdictSent, len(all))
	if err := all.Each(func(i int, m crew.Member) error { return m.Call(ctx, "judge", j, &verdicts[i]) }); err != nil {
		return err
	}
	o.verdict = newVerdict()
	for _, sent := range verdicts {
		v, err := sent.verdict()
		if err != nil {
			return err
		}
		o.verdict.merge(v)
	}
	o.ran = time.Duration(p.to - p.start)
	if !s.failover {
		o.counted = int(o.All.TotalCount())
	}
	return o.check(s.cfg)
}

func (o *outcome) add(r runResult) {
	for text, n := range maps.All(r.Errors) {
		o.errors[text] += n
	}
	o.writes += r.Writes
	o.unannounced += r.Unannounced
	o.cpu += r.CPU
	o.late = max(o.late, r.Late)
}

// check refuses a turn in which what is measured did not happen.
func (o *outcome) check(c Config) error {
	switch {
	case 2*o.expiries < c.Expiring:
		return fmt.Errorf("stampede: %s: %d expiries of %d keys: values did not end as they should", o.name, o.expiries, c.Expiring)
	case o.Expiry.TotalCount() == 0 || o.Plain.TotalCount() == 0:
		return fmt.Errorf("stampede: %s: no request met an expiry, or all did", o.name)
	case c.Written > 0 && (o.writes == 0 || o.Reads == 0):
		return fmt.Errorf("stampede: %s: nothing was written, or nothing read of it", o.name)
	}
	return nil
}

// until waits for a time of workers.Now.
func until(ctx context.Context, at int64) error {
	return nap.For(ctx, time.Duration(at-workers.Now()))
}

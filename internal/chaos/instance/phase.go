//go:build unix

package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/board"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/invalidation"
	"github.com/fleetcache/fleetcache/rc"
)

// Row is what is cached: the version of a key that the database had.
type Row struct {
	ID      string
	Version uint64
}

// phase is one phase of the run, in this instance.
type phase struct {
	args    Open
	link    *workers.Link
	way     *way
	board   *board.Board
	manager *rc.Manager
	bus     *invalidation.Bus       // nil in mode Tracking
	service []*rc.CacheService[Row] // by key
	number  map[string]int          // of a key, by its identifier
	groups  map[string]int          // number of a group, by its tag or namespace
	byClass map[history.Class][]int
	rec     *recorder
	own     []ownWrites // by key

	lastFeed history.Feed // what of it was reported

	writing, reading context.Context // end with quit and close
	quit, stop       context.CancelFunc
	writers, readers sync.WaitGroup // end with these contexts; the reporter and the stall watch are readers
}

// ownWrites is what this instance has written of a key.
type ownWrites struct {
	// newest is the newest version whose call returned nil, or that it is
	// kept: twice the version, and 1 for kept.
	newest atomic.Uint64

	mu     sync.Mutex // protects failed
	failed []history.Write
}

func openPhase(ctx context.Context, link *workers.Link, a Open) (*phase, error) {
	p := &phase{
		args: a, link: link, rec: &recorder{}, own: make([]ownWrites, len(a.Keys)),
		number: map[string]int{}, byClass: map[history.Class][]int{}, service: make([]*rc.CacheService[Row], len(a.Keys)),
		groups: map[string]int{},
	}
	for i, k := range a.Keys {
		p.number[k.ID] = i
		p.byClass[k.Class] = append(p.byClass[k.Class], i)
	}
	for i, g := range a.Groups {
		name := g.Name
		if g.Kind == history.GroupNamespace {
			name = a.Namespace + "/" + name
		}
		p.groups[name] = i + 1
	}
	var err error
	if p.board, err = board.Open(a.Board, len(a.Keys), a.Instances); err != nil {
		return nil, err
	}
	if p.way, err = newWay(a.Exported); err != nil {
		return nil, errors.Join(err, p.board.Close())
	}
	if err := p.openManager(ctx); err != nil {
		return nil, errors.Join(err, p.board.Close())
	}
	if err := p.openServices(); err != nil {
		return nil, errors.Join(err, p.manager.Close(), p.board.Close())
	}
	p.reading, p.stop = context.WithCancel(context.Background())
	p.writing, p.quit = context.WithCancel(p.reading)
	p.readers.Go(p.report)
	p.readers.Go(p.watchStalls)
	return p, nil
}

// openManager connects. In mode Broadcast the bus is open by then.
func (p *phase) openManager(ctx context.Context) (err error) {
	a := p.args
	o := rc.Options{
		MaxStaleness: a.Bound, OpTimeout: a.Limits.OpTimeout, DialTimeout: a.Limits.DialTimeout,
		Heartbeat: a.Limits.Heartbeat, WatchInterval: a.Limits.WatchInterval,
		Observer: observer{in: p}, Logger: logger(a.Instance),
	}
	if a.Broadcast {
		o.Coherence = rc.Broadcast
	}
	if p.manager, err = rc.OpenClient(ctx, p.way.option(a.LateClient), o); err != nil || !a.Broadcast {
		return err
	}
	if p.bus, err = p.manager.Bus(ctx); err != nil {
		err = errors.Join(err, p.manager.Close())
	}
	return err
}

// logger writes what the library logs to standard error if the environment asks
// for it: it is much under faults.
func logger(instance int) *slog.Logger {
	if os.Getenv(Env+"_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("instance", instance)
}

// openServices makes one service for each way of configuring one, and one for
// each namespace that is a group.
func (p *phase) openServices() error {
	a := p.args
	base := rc.Config[Row]{
		TTL: a.Limits.TTL, LoadTimeout: a.Limits.LoadTimeout, LockWait: a.Limits.LockWait, LeaseTTL: a.Limits.LeaseTTL,
		DegradedTTL: a.Limits.DegradedTTL, ErrorBackoff: a.Limits.ErrorBackoff, EarlyFraction: 0.5,
	}
	if a.L1Off {
		base.L1Size = rc.Off
	}
	quiet, versioned, tagged := base, base, base
	quiet.TTL, quiet.EarlyFraction, quiet.EarlyBeta, quiet.Jitter = time.Hour, 0, rc.Off, rc.Off
	versioned.Version = func(r Row) uint64 { return r.Version }
	tagged.Tags = p.tagsOf
	kept := quiet
	kept.Tags = p.tagsOf
	for _, s := range []struct {
		name    string
		cfg     rc.Config[Row]
		classes []history.Class
	}{
		{"main", base, []history.Class{history.ClassSet, history.ClassDelete, history.ClassExpire, history.ClassMany, history.ClassNegative}},
		{"quiet", quiet, []history.Class{history.ClassQuiet, history.ClassRegister, history.ClassPattern}},
		{"versioned", versioned, []history.Class{history.ClassVersioned, history.ClassBefore}},
		{"tagged", tagged, []history.Class{history.ClassTagFast}},
		{"kept", kept, []history.Class{history.ClassTagSlow, history.ClassTagSet}},
	} {
		var keys []int
		for _, c := range s.classes {
			keys = append(keys, p.byClass[c]...)
		}
		if err := p.openService(s.name, s.cfg, keys); err != nil {
			return err
		}
	}
	for _, g := range a.Groups {
		if g.Kind != history.GroupNamespace {
			continue
		}
		if err := p.openService(g.Name, quiet, g.Keys); err != nil {
			return err
		}
	}
	return nil
}

// openService makes the service of some keys, unless there are none.
func (p *phase) openService(name string, cfg rc.Config[Row], keys []int) error {
	if len(keys) == 0 {
		return nil
	}
	svc, err := rc.New(p.manager, p.args.Namespace+"/"+name, cfg)
	for _, key := range keys {
		p.service[key] = svc
	}
	return err
}

// tagsOf is Config.Tags.
func (p *phase) tagsOf(id string, _ Row) []string { return p.args.Keys[p.number[id]].Tags }

// start puts readers and writers to work.
func (p *phase) start(w Work) {
	p.way.begun()
	if w.Register > 0 {
		p.startRegister(w)
		return
	}
	for i := range w.Readers + w.Spinning {
		p.readers.Go(func() { p.read(i < w.Spinning) })
	}
	if w.Pause > 0 {
		p.startWriters(w.Pause)
	}
}

// close ends all work and reports the rest. It returns what went wrong with the
// phase; what Manager.Close says goes into the report.
func (p *phase) close() error {
	p.quit()
	p.writers.Wait()
	p.stop()
	p.readers.Wait()
	stats := p.manager.Stats()
	if err := p.manager.Close(); err != nil {
		p.rec.closing(err.Error())
	}
	last := p.rec.take(stats)
	p.addFeed(&last)
	return errors.Join(p.send(last), p.board.Close())
}

// reportEvery is short, because a killed instance takes what it has not reported
// with it.
const reportEvery = 100 * time.Millisecond

// report reports until the phase ends.
func (p *phase) report() {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.reading.Done():
			return
		case <-tick.C:
		}
		r := p.rec.take(p.manager.Stats())
		p.addFeed(&r)
		if err := p.send(r); err != nil {
			fmt.Fprintf(os.Stderr, "chaos: instance %d cannot report: %v\n", p.args.Instance, err)
			return // the parent is gone, and so are we
		}
	}
}

func (p *phase) send(r Report) error {
	return p.link.Call(context.Background(), OpReport, r, nil)
}

// A process that does not run for longer than minStall is said to be stalled.
const (
	stallTick = 5 * time.Millisecond
	minStall  = 40 * time.Millisecond
)

// watchStalls notices when this process does not run.
func (p *phase) watchStalls() {
	tick := time.NewTicker(stallTick)
	defer tick.Stop()
	for last := history.Now(); ; {
		select {
		case <-p.reading.Done():
			return
		case <-tick.C:
		}
		now := history.Now()
		if now.Sub(last) > minStall {
			p.rec.stalled(history.Stall{Instance: p.args.Instance, Began: last, Ended: now})
		}
		last = now
	}
}

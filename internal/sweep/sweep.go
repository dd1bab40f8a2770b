package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/nap"
)

// Defaults of [Options].
const (
	DefaultCount     = 1000
	DefaultBatch     = 512
	DefaultOpTimeout = 5 * time.Second
)

// MaxBatch is the largest Options.Batch. The client sends larger pipelines on
// connections of their own.
const MaxBatch = 1024

// Options say what to delete and how. Match is required.
type Options struct {
	// Match is a glob pattern as SCAN takes it.
	Match string

	// Keep, if not nil, is asked about every key that matches; only those it
	// accepts are deleted. It is called from several goroutines at once, and
	// must not block for long.
	Keep func(key string) bool

	// First, if not empty, is a glob pattern of keys that are deleted, too, and not
	// counted: in each slot all of them before any key that matches Match is
	// looked for. So what can make keys only while a key of First is there has
	// made them by then, and none is missed. It takes a second scan.
	First string

	// FirstKeep is Keep for the keys that match First.
	FirstKeep func(key string) bool

	// Count is the COUNT of SCAN: how much a server looks at in one go, during
	// which it does nothing else. More is faster and makes others wait longer.
	//
	// Defaults to DefaultCount.
	Count int

	// Batch is the number of keys deleted in one pipeline, at most MaxBatch.
	//
	// Defaults to DefaultBatch.
	Batch int

	// Progress, if not nil, is called with the counts so far while they grow, and
	// once at the end, in the goroutine that called Sweep. It does not hold up
	// the sweep: while it runs, calls are left out.
	Progress func(deleted, scanned int64)

	// OpTimeout bounds every command or pipeline. One that fails is sent again.
	//
	// Defaults to DefaultOpTimeout.
	OpTimeout time.Duration
}

func (o Options) withDefaults() (Options, error) {
	o.Count = cmp.Or(o.Count, DefaultCount)
	o.Batch = cmp.Or(o.Batch, DefaultBatch)
	o.OpTimeout = cmp.Or(o.OpTimeout, DefaultOpTimeout)
	switch {
	case o.Match == "":
		return o, errors.New(`sweep: Options.Match is empty, want a pattern ("*" for all keys)`)
	case o.Count < 0:
		return o, fmt.Errorf("sweep: Options.Count is %d, want 1 or more", o.Count)
	case o.Batch < 0 || o.Batch > MaxBatch:
		return o, fmt.Errorf("sweep: Options.Batch is %d, want 1 to %d", o.Batch, MaxBatch)
	case o.OpTimeout < 0:
		return o, fmt.Errorf("sweep: Options.OpTimeout is %v, want more than 0", o.OpTimeout)
	}
	return o, nil
}

// Result is what a sweep did.
type Result struct {
	// Deleted counts keys that servers said they deleted. A deletion whose
	// answer was lost is not counted. A key that was written again during the
	// sweep may be counted again.
	Deleted int64
	// Scanned counts keys that matched Options.Match, each time one was listed.
	Scanned int64
	// Passes is how often there was something to sweep: 1 if nothing moved.
	Passes int
	// Resweeps counts slots that were swept again, because they moved or because
	// their node failed, each time.
	Resweeps int64
}

// Sweep deletes every key that matches and existed before the call, and blocks
// until it has: as long as slots keep moving, or a node that has some of the keys
// is down, it goes on until ctx ends. It needs memory for some batches of keys
// per primary, however many there are.
//
// The client must not send SCAN to replicas. Sweep uses its connections next to
// other callers.
//
// When ctx ends, the error says how far Sweep came and which nodes were not
// finished, each a [*topology.NodeError]; errors.Is finds the error of ctx. A
// command that is refused, for lack of permission for example, ends it at once.
// The Result is valid in any case.
func Sweep(ctx context.Context, client rueidis.Client, opt Options) (Result, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return Result{}, err
	}
	s := newSweeper(client, opt)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the wait, also when Progress panics
	done := make(chan error, 1)
	wg.Go(func() { done <- s.run(ctx) })
	for {
		select {
		case <-s.grown:
			s.progress()
		case err := <-done:
			s.progress()
			return s.result(), err
		}
	}
}

// sweeper is one call of Sweep.
type sweeper struct {
	client    rueidis.Client
	opt       Options
	lookEvery time.Duration // the time between two looks during a pass

	deleted, scanned atomic.Int64
	grown            chan struct{} // says that deleted or scanned are larger

	passes   atomic.Int64
	resweeps atomic.Int64
}

func newSweeper(client rueidis.Client, opt Options) *sweeper {
	return &sweeper{client: client, opt: opt, lookEvery: lookInterval, grown: make(chan struct{}, 1)}
}

func (s *sweeper) progress() {
	if s.opt.Progress != nil {
		s.opt.Progress(s.deleted.Load(), s.scanned.Load())
	}
}

// result returns the counts so far.
func (s *sweeper) result() Result {
	return Result{Deleted: s.deleted.Load(), Scanned: s.scanned.Load(),
		Passes: int(s.passes.Load()), Resweeps: s.resweeps.Load()}
}

// counted adds to the counts.
func (s *sweeper) counted(deleted, scanned int64) {
	s.deleted.Add(deleted)
	s.scanned.Add(scanned)
	select {
	case s.grown <- struct{}{}:
	default:
	}
}

// run makes passes until no slot is left.
func (s *sweeper) run(ctx context.Context) error {
	todo := allSlots()
	var wait backoff
	var undone []error
	for {
		left, reasons, err := s.pass(ctx, todo)
		if reasons != nil {
			undone = reasons
		}
		if err != nil {
			return s.stopped(err, undone)
		}
		n := left.len()
		if n == 0 {
			return nil
		}
		if n < todo.len() {
			wait.reset()
		}
		todo = left
		if err := wait.next(ctx); err != nil {
			return s.stopped(err, undone)
		}
		s.resweeps.Add(int64(n))
	}
}

// pass sweeps the slots todo once, and returns those that have to be swept
// again. The reasons say for each node why, as far as that is known. An error
// ends the sweep.
func (s *sweeper) pass(ctx context.Context, todo *slotSet) (left *slotSet, reasons []error, err error) {
	base, err := s.look(ctx)
	if err != nil {
		return todo, nil, err
	}
	s.passes.Add(1)
	w := newWatch(base)
	stop := s.keepLooking(ctx, w)
	failed, err := s.sweepSlots(ctx, base, todo)
	stop()
	if err != nil {
		return todo, base.describe(todo, failed), err
	}
	end, err := s.look(ctx)
	if err != nil {
		return todo, base.describe(todo, failed), err
	}
	left = w.unsettled(end)
	for slot := range failed {
		left.add(slot)
	}
	left.keep(todo)
	return left, end.describe(left, failed), nil
}

// keepLooking looks at the deployment again and again until stop is called.
func (s *sweeper) keepLooking(ctx context.Context, w *watch) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { // joined by stop
		pause := s.lookEvery
		for nap.For(ctx, pause) == nil {
			began := time.Now()
			if v, err := s.look(ctx); err == nil {
				w.see(v)
			}
			pause = max(s.lookEvery, 10*time.Since(began)) // 10% of the time at most
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// describe says which nodes the slots are on that were not swept, and why if
// that is known.
func (v *view) describe(left *slotSet, failed failures) []error {
	type undone struct {
		slots int
		err   error
	}
	byNode := make(map[string]*undone)
	for s := range left.all() {
		addr, err := v.where(s)
		if addr == "" {
			continue // belongs to nobody: there is nothing to sweep
		}
		u := byNode[addr]
		if u == nil {
			u = new(undone)
			byNode[addr] = u
		}
		u.slots++
		u.err = cmp.Or(u.err, failed[s], err)
	}
	var errs []error
	for addr, u := range byNode {
		err := fmt.Errorf("%d of %d slots not finished", u.slots, slotCount)
		if u.err != nil {
			err = fmt.Errorf("%w: %w", err, u.err)
		}
		errs = append(errs, nodeError(addr, err))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

// stopped is the error of a sweep that did not finish.
func (s *sweeper) stopped(err error, undone []error) error {
	for _, e := range undone {
		err = fmt.Errorf("%w; %w", err, e) // errors.Join would make lines
	}
	return fmt.Errorf("sweep %q: stopped in pass %d after %d keys deleted of %d found: %w",
		s.opt.Match, s.passes.Load(), s.deleted.Load(), s.scanned.Load(), err)
}

// backoff waits longer each time.
type backoff struct{ last time.Duration }

const (
	firstWait = 10 * time.Millisecond
	longWait  = time.Second
)

func (b *backoff) reset() { b.last = 0 }

func (b *backoff) next(ctx context.Context) error {
	b.last = min(max(2*b.last, firstWait), longWait)
	return nap.For(ctx, b.last)
}

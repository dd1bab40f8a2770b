package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/nap"
)

// stepTimeout bounds the begin and the end of a fault, each.
const stepTimeout = 30 * time.Second

// StepReport says what became of one step.
type StepReport struct {
	Step Step

	// Began is when the fault began to take effect, and Held when it had.
	Began, Held time.Time

	// Ended is when the end of the fault began, and Recovered when it was over
	// and, for faults of ImpactCluster, the cluster stable again.
	Ended, Recovered time.Time

	// Err is why the fault could not begin or end, or the cluster not recover.
	Err error
}

// RunOptions are for [Schedule.Run]. The zero value will do.
type RunOptions struct {
	// Faults are further faults that steps name, or others in place of built-in
	// ones of the same name.
	Faults []Fault

	// Log receives the schedule, each step as it begins and ends, and at the
	// end the timeline: t.Logf of a test. It is called by one goroutine at a
	// time.
	//
	// Defaults to none.
	Log func(format string, args ...any)

	// Done is called after each step, by one goroutine at a time. It must not
	// block for long: with Concurrent off the next step waits for it.
	//
	// Defaults to none.
	Done func(StepReport)
}

// Run does the steps of the schedule to c, each not before its time: a fault of
// ImpactCluster begins when the cluster has recovered from the one before. It
// ends with [Cluster.Recover], also when ctx has ended or a step failed; the
// steps that have not begun by then are left out. The error is what ended the
// schedule early or kept the cluster from recovering. With BreakQuorum, a step
// that fails because of another is none.
func (s Schedule) Run(ctx context.Context, c *Cluster, o RunOptions) error {
	r := &chaosRun{schedule: s, cluster: c, options: o, start: time.Now(), failed: make(chan struct{})}
	if err := r.prepare(); err != nil {
		return err
	}
	r.log("chaos on %s; %s=%d draws these steps again:\n%s", c, SeedEnv, s.Seed, s)
	err := r.steps(ctx)
	r.under.Wait()
	err = errors.Join(err, r.failure())

	// The cluster is left healthy whatever has happened.
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*stepTimeout)
	defer cancel()
	err = errors.Join(err, c.Recover(healing))
	r.log("timeline:\n%s", c.times())
	if err != nil {
		return fmt.Errorf("clustertest: chaos, seed %d: %w", s.Seed, err)
	}
	return nil
}

// chaosRun is one run of a schedule.
type chaosRun struct {
	schedule Schedule
	cluster  *Cluster
	options  RunOptions
	start    time.Time
	faults   []Fault
	whole    lock   // for faults of ImpactCluster
	shards   []lock // for faults of ImpactNode and ImpactCluster
	under    sync.WaitGroup
	failed   chan struct{} // closed when a step has failed: no more are to begin

	mu  sync.Mutex // protects the fields below, and calls of Log and Done
	err error
}

// lock is a mutex that can be waited for with a context.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) take(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lock) give() { <-l }

// prepare finds what is wrong with the schedule before anything is done.
func (r *chaosRun) prepare() error {
	t := r.cluster.topology
	r.faults = slices.Concat(r.options.Faults, Faults(t))
	r.whole = newLock()
	r.shards = make([]lock, t.Primaries)
	for i := range r.shards {
		r.shards[i] = newLock()
	}
	for _, step := range r.schedule.Steps {
		f, ok := faultNamed(r.faults, step.Fault)
		switch {
		case !ok:
			return fmt.Errorf("clustertest: step %q: %s can do no such fault: correct the name, or give it in RunOptions.Faults", step, r.cluster)
		case f.Begin == nil:
			return fmt.Errorf("clustertest: step %q: the fault has no Begin", step)
		case step.Shard < 0 || step.Shard >= t.Primaries:
			return fmt.Errorf("clustertest: step %q: want a shard from 0 to %d", step, t.Primaries-1)
		case step.Role != Primary && step.Role != Replica:
			return fmt.Errorf("clustertest: step %q: want role primary or replica", step)
		}
	}
	return nil
}

// steps begins the steps in their order and returns when the last has begun, or
// the reason to begin no more.
func (r *chaosRun) steps(ctx context.Context) error {
	for _, step := range r.schedule.Steps {
		select {
		case <-time.After(time.Until(r.start.Add(step.At))):
		case <-r.failed:
			return nil
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // also if it is time
			return ctx.Err()
		}
		f, _ := faultNamed(r.faults, step.Fault)
		release, err := r.acquire(ctx, f, step)
		if err != nil {
			return err
		}
		if r.failure() != nil {
			release()
			return nil
		}
		running := r.begin(ctx, f, step)
		finish := func() {
			defer release()
			r.finish(ctx, running)
		}
		// With Concurrent the steps begin one after the other all the same, so
		// that a schedule is as repeatable as it can be.
		if r.schedule.Concurrent {
			r.under.Go(finish)
		} else {
			finish()
		}
	}
	return nil
}

// acquire waits until nothing is under way that the fault must not overlap with.
func (r *chaosRun) acquire(ctx context.Context, f Fault, step Step) (release func(), err error) {
	var locks []lock
	if f.Impact == ImpactCluster && !r.schedule.BreakQuorum {
		locks = append(locks, r.whole)
	}
	if f.Impact != ImpactNone {
		locks = append(locks, r.shards[step.Shard])
	}
	for i, l := range locks {
		if err := l.take(ctx); err != nil {
			for _, taken := range locks[:i] {
				taken.give()
			}
			return nil, err
		}
	}
	return func() {
		for _, l := range locks {
			l.give()
		}
	}, nil
}

// running is a step whose fault has begun.
type running struct {
	report StepReport
	impact Impact
	end    func(context.Context) error // nil for nothing to end
}

func (r *chaosRun) begin(ctx context.Context, f Fault, step Step) *running {
	r.log("chaos: %s", step)
	p := &running{report: StepReport{Step: step, Began: time.Now()}, impact: f.Impact}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	p.end, p.report.Err = f.Begin(ctx, Target{Cluster: r.cluster, Step: step})
	p.report.Held = time.Now()
	return p
}

// finish lets the fault last, ends it, and waits until the cluster has recovered.
func (r *chaosRun) finish(ctx context.Context, p *running) {
	step := p.report.Step
	if p.report.Err == nil {
		// The end of ctx only makes the fault end sooner.
		_ = nap.For(ctx, time.Until(p.report.Held.Add(step.Lasts)))
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	p.report.Ended = time.Now()
	if p.end != nil && p.report.Err == nil {
		p.report.Err = p.end(ending)
	}
	if p.report.Err == nil && p.impact == ImpactCluster && !r.schedule.BreakQuorum {
		p.report.Err = r.cluster.WaitStable(ending)
	}
	p.report.Recovered = time.Now()
	r.done(p.report)
}

func (r *chaosRun) done(report StepReport) {
	if report.Err != nil {
		r.log("chaos: %s: %v", report.Step, report.Err)
	} else {
		r.log("chaos: %s %s is over", report.Step.At, report.Step.Fault)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if report.Err != nil && r.err == nil && !r.schedule.BreakQuorum {
		r.err = fmt.Errorf("step %q: %w", report.Step, report.Err)
		close(r.failed)
	}
	if r.options.Done != nil {
		r.options.Done(report)
	}
}

// failure returns why no more steps are to begin.
func (r *chaosRun) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *chaosRun) log(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.options.Log != nil {
		r.options.Log(format, args...)
	}
}

package rc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/internal/flight"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/near"
)

// job is one key to be loaded.
type job struct {
	k    keyed
	o    call
	load loadFunc
	seen string // the value the caller has seen, as Acquire wants it
	// cause is why Redis cannot be used for this key, nil if it can.
	cause      error
	background bool
	// direct reports that Redis was not asked for the value: it mostly has
	// none lately.
	direct bool
	// impatient reports that the caller has waited for another process
	// already, and has no stale value to make do with.
	impatient bool
}

var (
	// errElsewhere ends a background load that another process does.
	errElsewhere error = &skippedError{errors.New("rc: loaded elsewhere")}
	// errLockWait marks the errors of a load that waited in vain.
	errLockWait = errors.New("rc: another process has been loading for longer than Config.LockWait")
)

// A skippedError ends a background load that did not take place. It says nothing
// to a caller who has come to share the load: that one begins its own.
type skippedError struct{ error }

func (e *skippedError) Unwrap() error { return e.error }

// maxChanges bounds how often a load finds the value changed under it and looks
// again, before it loads without the right to store. Waits are bounded by
// LockWait instead: each extension of the lease waited for ends one.
const maxChanges = 16

// lead brings a value for all callers of this process that wait for it: it
// claims the key, or waits for the process that has, and loads if it must.
func (c *core) lead(ctx context.Context, fc *flight.Call, j job) (any, error) {
	if j.cause != nil {
		return c.loadDegraded(ctx, fc, j)
	}
	token := newToken()
	waited := c.m.now()
	until := waited + int64(c.cfg.lockWait)
	for changes := 0; changes < maxChanges; {
		g, err := c.acquire(ctx, j, token)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				return nil, err
			}
			// The claim may have been granted, and its answer lost.
			c.m.wg.Go(func() { c.release(ctx, &claim{c: c, k: j.k, token: token}, "") })
			j.cause = err
			return c.loadDegraded(ctx, fc, j)
		}
		switch g.State {
		case lease.Changed:
			changes++
		case lease.Granted:
			if ctx.Err() != nil { // everybody left meanwhile
				c.release(ctx, &claim{c: c, k: j.k, token: token}, "")
				return nil, context.Cause(ctx)
			}
			if j.direct {
				c.cold.note(true)
				c.miss(ctx, j.k.id, MissAbsent)
			}
			return c.loadHeld(ctx, fc, j, token)
		case lease.Backoff:
			return nil, &BackoffError{Key: j.k.rk, Text: g.Text, RetryAfter: g.Left}
		case lease.Held:
			if j.background {
				return nil, errElsewhere
			}
			if j.impatient || c.m.now() >= until {
				c.observeWait(ctx, j, waited, true)
				return c.loadAnyway(ctx, fc, j)
			}
			c.n.waits.Add(1)
			if err := c.waitFor(ctx, j.k, g.Left, until); err != nil {
				return nil, err
			}
			c.observeWait(ctx, j, waited, false)
		}
		// Somebody stored, or let go of, something.
		a, found, err := c.look(ctx, fc, &j)
		switch {
		case found:
			return a, nil
		case err != nil && (ctx.Err() != nil || errors.Is(err, ErrClosed)):
			return nil, err
		case err != nil:
			j.cause = err
			return c.loadDegraded(ctx, fc, j)
		}
	}
	return c.loadAnyway(ctx, fc, j)
}

// look reads the value that a load found changed. If it is not fresh, the next
// claim names it as seen. Who comes when the answer may be old does not share
// it, as with reads.join.
func (c *core) look(ctx context.Context, fc *flight.Call, j *job) (a answer, found bool, err error) {
	began := c.m.now()
	fc.Joinable(func() bool { return c.m.now()-began <= int64(c.m.opts.MaxStaleness) })
	d, _, err := c.fetch(ctx, j.k)
	if err != nil {
		return a, false, err
	}
	now := c.m.now()
	if d.grade(now, 0) == freshGrade {
		c.hit(ctx, j.k.id, d)
		return d.answer(now, NotStale), true, nil
	}
	fc.Joinable(nil)
	j.seen = ""
	if d != nil {
		j.seen = d.seen
	}
	return a, false, nil
}

func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return hex.EncodeToString(b[:])
}

// acquire claims a key. It does not heed the end of ctx: a claim whose answer
// nobody waits for may have been granted, and would hold everybody up.
func (c *core) acquire(ctx context.Context, j job, token string) (g lease.Grant, err error) {
	err = c.m.do(context.WithoutCancel(ctx), j.k.rk, func(ctx context.Context) (err error) {
		g, err = c.m.redis.Acquire(ctx, j.k.rk, j.seen, token, c.cfg.lease)
		return err
	})
	return g, err
}

// waitFor sleeps until the claim of another process changes: by the push for
// its key, by the end of its time (no push may come for that), by the loss of
// the connection that would push, or until the given time.
func (c *core) waitFor(ctx context.Context, k keyed, left time.Duration, until int64) error {
	var w *near.Entry
	for try := 0; w == nil; try++ {
		var token string
		var err error
		w, token, err = c.watch(ctx, k)
		if err != nil || !lease.Claimed(token) {
			if w != nil {
				c.m.table.Release(w)
			}
			return ctx.Err() // it has happened already; or the next claim fails too
		}
		// Without a watch the claim changed while we looked, so look again; or
		// we were redirected, and nobody will wake us for a while.
		if w == nil && try == 3 {
			left = min(left, c.m.opts.OpTimeout)
			break
		}
	}
	var woken, gone <-chan struct{}
	if w != nil {
		defer c.m.table.Release(w)
		woken, gone = w.Woken(), w.Feed().Gone()
	}
	if c.m.broadcast != nil { // what is announced in the background may get lost
		left = min(left, c.m.opts.OpTimeout)
	}
	left = min(left+time.Millisecond, since(until, c.m.now()))
	t := time.NewTimer(max(left, time.Millisecond))
	defer t.Stop()
	select {
	case <-woken:
	case <-gone:
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// watch reads the claim on a key and watches it.
func (c *core) watch(ctx context.Context, k keyed) (w *near.Entry, token string, err error) {
	err = c.m.do(ctx, k.rk, func(ctx context.Context) (err error) {
		w, token, err = c.m.redis.Watch(ctx, k.rk)
		return err
	})
	return w, token, err
}

func (c *core) observeWait(ctx context.Context, j job, from int64, timedOut bool) {
	if timedOut {
		c.n.waitTimeouts.Add(1)
	}
	if o := c.m.opts.Observer; o != nil {
		o.Wait(ctx, WaitEvent{Namespace: c.ns, ID: j.k.id, Duration: since(c.m.now(), from), TimedOut: timedOut})
	}
}

// running is a loader at work.
type running struct {
	c      *core
	ctx    context.Context // of the load: LoadTimeout, load info
	cancel context.CancelFunc
	info   *loadInfo
	event  LoadStartEvent
	began  int64
	// waited is how much of the time since began went by before the loader was
	// called, for RefreshLock.
	waited atomic.Int64
	done   chan loaded
}

// loaded is what a loader came back with.
type loaded struct {
	value any
	err   error
	took  time.Duration
	info  *loadInfo
	// ctx is that of the load, for its values: it is over.
	ctx context.Context
}

// begin starts the loader of a job.
func (c *core) begin(ctx context.Context, j job, degraded bool) *running {
	r := &running{c: c, began: c.m.now(), done: make(chan loaded, 1)}
	r.event = LoadStartEvent{Namespace: c.ns, IDs: []string{j.k.id}, Background: j.background, Degraded: degraded}
	r.start(ctx, &timeoutError{core: c, id: j.k.id}, c.underLock(r, j))
	return r
}

// start runs a loader on a goroutine of its own: it may hang, panic or end its
// goroutine, and its claims must be looked after meanwhile.
func (r *running) start(ctx context.Context, limit error, load loadFunc) {
	c := r.c
	r.ctx, r.cancel = context.WithTimeoutCause(ctx, c.cfg.loadTimeout, limit)
	r.ctx, r.info = withLoadInfo(r.ctx)
	c.n.loads.Add(1)
	if r.event.Degraded {
		c.n.degradedLoads.Add(1)
	}
	if o := c.m.opts.Observer; o != nil {
		r.ctx = o.LoadStart(r.ctx, r.event)
	}
	go func() { // ends when the loader does; its result and the end of ctx do not wait for it
		l := loaded{err: ErrGoexit}
		defer func() {
			if p := recover(); p != nil {
				l = loaded{err: &flight.PanicError{Value: p, Stack: debug.Stack()}}
			}
			r.done <- l
		}()
		v, err := load(r.ctx)
		l = loaded{value: v, err: err}
	}()
}

// timeoutError is [ErrLoadTimeout] with what timed out, put into words only if
// it does.
type timeoutError struct {
	core *core
	id   string
	many int
}

func (e *timeoutError) Error() string {
	what := e.core.name(keyed{id: e.id})
	if e.many > 0 {
		what = fmt.Sprintf("%d identifiers of %q", e.many, e.core.ns)
	}
	return fmt.Sprintf("%v: %s after %v", ErrLoadTimeout, what, e.core.cfg.loadTimeout)
}

func (e *timeoutError) Unwrap() error { return ErrLoadTimeout }

// end accounts for a loader that has returned or is given up.
func (r *running) end(l loaded) loaded {
	c := r.c
	l.took, l.info, l.ctx = since(c.m.now(), r.began+r.waited.Load()), r.info, r.ctx
	if l.err != nil && r.ctx.Err() != nil && errors.Is(l.err, r.ctx.Err()) {
		l.err = context.Cause(r.ctx) // our own deadline says so
	}
	end := LoadEndEvent{LoadStartEvent: r.event, Duration: l.took}
	var p *flight.PanicError
	switch {
	case errors.Is(l.err, ErrNotFound):
		c.n.notFound.Add(1)
		end.NotFound = true
	case l.err != nil:
		end.Err = l.err
		c.n.loadErrors.Add(1)
		if errors.As(l.err, &p) {
			c.n.loadPanics.Add(1)
		}
	}
	if o := c.m.opts.Observer; o != nil {
		o.LoadEnd(r.ctx, end)
	}
	r.cancel()
	return l
}

// wait returns what the loader came back with, or the reason why its time is
// over. A result that is there beats a context that ended at the same moment.
func (r *running) wait() loaded {
	select {
	case l := <-r.done:
		return r.end(l)
	case <-r.ctx.Done():
	}
	return r.end(r.givenUp())
}

func (r *running) givenUp() loaded {
	select {
	case l := <-r.done:
		return l
	default:
		return loaded{err: context.Cause(r.ctx)}
	}
}

// loadDegraded loads without Redis: under the process' limit, and not stored
// but, for a moment, in memory.
func (c *core) loadDegraded(ctx context.Context, fc *flight.Call, j job) (any, error) {
	if j.background {
		return nil, &skippedError{j.cause} // the old value will do
	}
	return c.loadLimited(ctx, fc, j, true)
}

// loadAnyway loads although another process has the claim, for longer than a
// caller should have to wait.
func (c *core) loadAnyway(ctx context.Context, fc *flight.Call, j job) (any, error) {
	if !j.impatient && j.o.maxStale > 0 && j.seen != "" {
		return nil, errLockWait // callers take a stale value, or come back impatient
	}
	return c.loadLimited(ctx, fc, j, false)
}

func (c *core) loadLimited(ctx context.Context, fc *flight.Call, j job, keep bool) (any, error) {
	release, err := c.fallbackSlot(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer release()
	r := c.begin(ctx, j, true)
	// Nothing tells us of a change made elsewhere, so only callers that come
	// within the bound may share this.
	fc.Joinable(func() bool { return c.m.now()-r.began <= int64(c.m.opts.MaxStaleness) })
	l := r.wait()
	if errors.Is(l.err, ErrNotFound) {
		return answer{negative: true}, nil
	}
	if l.err != nil {
		return nil, l.err
	}
	if _, _, skip, _ := l.info.get(); keep && !skip {
		c.keepDegraded(j, l, r.began, fc)
	}
	return answer{value: l.value}, nil
}

// fallbackSlot waits for one of Config.FallbackLoads, for LoadTimeout at most.
func (c *core) fallbackSlot(ctx context.Context, ids int) (release func(), err error) {
	t := time.NewTimer(c.cfg.loadTimeout)
	defer t.Stop()
	select {
	case c.fallback <- struct{}{}:
		return func() { <-c.fallback }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-t.C:
		return nil, fmt.Errorf("%w: %d identifiers of %q waited %v for one of %d", ErrOverloaded, ids, c.ns, c.cfg.loadTimeout, c.cfg.fallbackLoads)
	}
}

// keepDegraded keeps a value in memory that was loaded without Redis: fresh
// for DegradedTTL after its load began, and after that of use only while Redis
// still does not answer. Nobody announces changes of it, so it is kept only
// while the node is known to be down, and dropped when it answers again.
func (c *core) keepDegraded(j job, l loaded, began int64, fc *flight.Call) {
	if n := c.m.topo.For(j.k.rk); c.index == nil || c.cfg.degradedTTL <= 0 || n == nil || !n.Open() {
		return
	}
	soft := began + int64(c.cfg.degradedTTL)
	d := &cand{value: l.value, source: FromL1, stored: began, due: soft, soft: soft}
	d.hard = max(soft, began+int64(c.cfg.ttl+c.cfg.staleFor))
	c.keep(j.k, c.m.table.Detached(j.k.rk, began), d, fc.Detached)
}

package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Locker takes locks. It is safe for concurrent use. [Open], [OpenRedlock] and
// [OpenShards] make one; the zero value is of no use.
type Locker struct {
	cfg    Config
	engine engine
	turns  turns
	n      *counters
	// stop is closed by Close; whoever waits returns.
	stop chan struct{}
	// wg counts the goroutines of the Locker and the attempts of callers.
	wg sync.WaitGroup

	mu     sync.Mutex // protects the fields below
	closed bool
	held   map[*Lock]struct{}
}

func newLocker(cfg Config, e engine, n *counters) *Locker {
	return &Locker{cfg: cfg, engine: e, n: n, stop: make(chan struct{}), held: map[*Lock]struct{}{}}
}

// enter makes Close wait until wg.Done is called, unless it is too late.
func (l *Locker) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Add(1)
	return true
}

// start runs f in a goroutine that Close waits for, unless it is too late.
func (l *Locker) start(f func()) bool {
	if !l.enter() {
		return false
	}
	go func() {
		defer l.wg.Done()
		f()
	}()
	return true
}

// Close releases the locks that are held, makes those who wait return
// ErrClosed, and waits for all goroutines. It blocks for at most about four
// OpTimeouts. A second Close does nothing.
func (l *Locker) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		l.wg.Wait()
		return nil
	}
	l.closed = true
	held := make([]*Lock, 0, len(l.held))
	for k := range l.held {
		held = append(held, k)
	}
	l.mu.Unlock()
	close(l.stop)
	errs := make([]error, len(held))
	var wg sync.WaitGroup // ends before Close
	for i, k := range held {
		wg.Go(func() { errs[i] = k.Release(context.Background()) })
	}
	wg.Wait()
	l.wg.Wait()
	l.engine.close()
	for i, err := range errs {
		if errors.Is(err, ErrReleased) || errors.Is(err, ErrLost) {
			errs[i] = nil // somebody else has been told
		}
	}
	return errors.Join(errs...)
}

// TryAcquire takes the lock if it is free, and returns ErrNotAcquired if it is
// not, or if others are waiting for it. It blocks for one round trip, OpTimeout
// at most (twice that with Redlock), or until ctx ends. ctx does not end the
// lock. A *NodeError means that it is not known who holds the lock.
func (l *Locker) TryAcquire(ctx context.Context, name string) (*Lock, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	k, _, err := l.attempt(ctx, name, newID(), false)
	return k, err
}

// Acquire takes the lock, and waits for it if it is not free, until ctx ends.
// Waiting costs no polling: the waiter is told when it is its turn; see the
// package comment. ctx does not end the lock. An error of a node ends the wait:
// a *NodeError, after which the call may be repeated.
func (l *Locker) Acquire(ctx context.Context, name string) (*Lock, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := l.turns.enter(ctx, name, l.stop); err != nil {
		return nil, fmt.Errorf("lock: acquire %q: %w", name, err)
	}
	defer l.turns.leave(name)
	k, _, err := l.attempt(ctx, name, newID(), false)
	if !errors.Is(err, ErrNotAcquired) {
		return k, err
	}
	return l.wait(ctx, name)
}

// Do runs fn under the lock, for which it waits as Acquire does, and releases it.
// The context of fn is cancelled when ctx ends, and with the cause ErrLost when
// the lock is lost; [FromContext] has the lock, and its token. The error is that
// of fn, and ErrLost if the lock was lost before fn returned: then somebody else
// may have run at the same time. [SafeToRetry] tells whether fn has run. A panic
// of fn releases the lock.
func (l *Locker) Do(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	k, err := l.Acquire(ctx, name)
	if err != nil {
		return err
	}
	released := false
	defer func() {
		if !released { // a panic, or Goexit
			_ = k.Release(ctx)
		}
	}()
	fnCtx, cancel := k.Attach(ctx)
	defer cancel()
	err = fn(fnCtx)
	released = true
	rel := k.Release(ctx)
	if errors.Is(rel, ErrReleased) { // fn has done it
		rel = nil
	}
	if err = errors.Join(err, rel); err != nil {
		return &ranError{err}
	}
	return nil
}

// attempt asks once. Time counts from before the request is sent. If the caller
// leaves, or the answer is not known, whatever was granted is given back.
func (l *Locker) attempt(ctx context.Context, name, id string, queue bool) (*Lock, answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, answer{}, fmt.Errorf("lock: acquire %q: %w", name, err)
	}
	if !l.enter() {
		return nil, answer{}, ErrClosed
	}
	defer l.wg.Done()
	sent := time.Now()
	a := l.engine.try(ctx, name, id, queue)
	if a.err != nil { // it may have been granted
		l.n.acquireErrors.Add(1)
		l.giveBack(name, id, queue)
		if ctx.Err() != nil {
			return nil, a, fmt.Errorf("lock: acquire %q: %w", name, ctx.Err())
		}
		return nil, a, a.err
	}
	k, err := l.taken(ctx, name, sent, a)
	return k, a, err
}

// taken makes a Lock of an answer, or says why there is none.
func (l *Locker) taken(ctx context.Context, name string, sent time.Time, a answer) (*Lock, error) {
	if !a.granted {
		l.n.refused.Add(1)
		if a.why == "" {
			return nil, fmt.Errorf("%w: %q", ErrNotAcquired, name)
		}
		l.n.abstained.Add(1)
		return nil, fmt.Errorf("%w: %q: %s", ErrNotAcquired, name, a.why)
	}
	first := l.cfg.TTL / 3
	if a.whole != nil { // by then all nodes have answered
		first = min(first, l.cfg.OpTimeout)
	}
	k, err := l.newLock(ctx, grant{
		name: name, id: a.id, token: a.token, sent: sent, lasts: l.cfg.TTL, first: first, whole: a.whole,
	})
	if err != nil {
		l.giveBack(name, a.id, false)
	}
	return k, err
}

// giveBack is undo for a caller who does not wait for it, unless the Locker is
// being closed. The caller has entered.
func (l *Locker) giveBack(name, id string, queued bool) {
	if !l.start(func() { l.undo(name, id, queued) }) { // ends by the time limits of the engine
		l.undo(name, id, queued)
	}
}

// undo gives back what nobody wants.
func (l *Locker) undo(name, id string, queued bool) {
	if _, err := l.engine.release(name, id, queued); err != nil {
		l.n.releaseErrors.Add(1)
		l.cfg.Logger.Warn("lock: giving back what nobody wants any more; it ends by itself", "name", name, "error", err)
	}
}

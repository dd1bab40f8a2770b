package lock

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Lock is a lock that was taken. It extends itself until it is released or
// lost. It is safe for concurrent use: goroutines that share it share the lock.
type Lock struct {
	l     *Locker
	name  string
	id    string
	token uint64
	ctx   context.Context // ends with the lock, not with the caller's
	end   context.CancelCauseFunc
	// over is closed when the extending has ended.
	over chan struct{}
	// extending holds one token: the right to send an extension.
	extending chan struct{}

	mu       sync.Mutex // protects the fields below
	until    time.Time  // with the monotonic clock
	cancelAt time.Time  // earlier, by the safety margin
	released bool
}

// A grant is a lock that Redis has given, and how sure that is.
type grant struct {
	name, id string
	token    uint64
	// sent is a time before the grant was made, and lasts how long it lasts
	// from when it was made.
	sent  time.Time
	lasts time.Duration
	// first is when it wants to be extended first, and whole, if there is one,
	// reports whether that may wait for longer.
	first time.Duration
	whole func() bool
}

// newLock makes the Lock of a grant, if there is enough left of it.
func (l *Locker) newLock(ctx context.Context, g grant) (*Lock, error) {
	k := &Lock{l: l, name: g.name, id: g.id, token: g.token, over: make(chan struct{}), extending: make(chan struct{}, 1)}
	k.count(g.sent, g.lasts)
	if time.Until(k.cancelAt) <= 0 {
		return nil, &NodeError{Op: opAcquire, Node: g.name, Err: context.DeadlineExceeded}
	}
	k.ctx, k.end = context.WithCancelCause(context.WithValue(context.WithoutCancel(ctx), lockKey{}, k))
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.held[k] = struct{}{}
		l.wg.Go(func() { k.keep(g.first, g.whole) }) // ends with the lock
	}
	l.mu.Unlock()
	if closed {
		k.end(ErrReleased)
		return nil, ErrClosed
	}
	l.n.acquired.Add(1)
	return k, nil
}

// count sets the end of a lock that lasts for a while from some time after sent.
func (k *Lock) count(sent time.Time, lasts time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.until = sent.Add(lasts - drift(lasts))
	k.cancelAt = k.until.Add(-margin(lasts))
}

// lockKey is the key of a Lock in its context.
type lockKey struct{}

// FromContext returns the lock whose context, or whose [Locker.Do], ctx comes
// from: the innermost one, or nil if there is none.
func FromContext(ctx context.Context) *Lock {
	k, _ := ctx.Value(lockKey{}).(*Lock)
	return k
}

// Name returns the name of the lock.
func (k *Lock) Name() string { return k.name }

// Context returns a context that is cancelled when the lock ends, with the cause
// ErrReleased or ErrLost: the latter a tenth of the TTL before the lock can be
// somebody else's. It has the values of the context that the lock was acquired
// with, but not its end.
func (k *Lock) Context() context.Context { return k.ctx }

// Attach returns a context with the values and the end of ctx that also ends
// with the lock, with the cause ErrReleased or ErrLost. [FromContext] finds the
// lock in it.
func (k *Lock) Attach(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, lockKey{}, k))
	stop := context.AfterFunc(k.ctx, func() { cancel(context.Cause(k.ctx)) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

// Token returns the fencing token: each grant of a name has a larger one than
// those before it. It is 0 with Redlock, which has no order of grants.
func (k *Lock) Token() uint64 { return k.token }

// Until returns the time until which the lock certainly is ours if it is not
// extended any more, with the monotonic clock of this process: counted from
// before the last request was sent, less the drift of the clocks. It stays what it
// was when the lock is lost, and is the zero time after Release.
func (k *Lock) Until() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.released {
		return time.Time{}
	}
	return k.until
}

// deadline is when the context has to be cancelled.
func (k *Lock) deadline() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cancelAt
}

// Extend extends the lock now, to a whole TTL from before the request was sent.
// There is mostly no need: it extends itself. Before a step that cannot be
// interrupted it makes room for it. It blocks for one round trip, OpTimeout at
// most, and returns nil, ErrLost, ErrReleased, the end of ctx, or a *NodeError,
// after which the lock still lasts until [Lock.Until].
func (k *Lock) Extend(ctx context.Context) error {
	_, err := k.extend(ctx)
	return err
}

// extend extends the lock, and reports whether all nodes have it now.
func (k *Lock) extend(ctx context.Context) (whole bool, err error) {
	ctx, cancel := context.WithDeadline(ctx, k.deadline())
	defer cancel()
	stop := context.AfterFunc(k.ctx, cancel)
	defer stop()
	select {
	case k.extending <- struct{}{}:
		defer func() { <-k.extending }()
	case <-ctx.Done():
		return false, k.ended(ctx.Err())
	}
	if k.ctx.Err() != nil {
		return false, k.ended(k.ctx.Err())
	}
	sent := time.Now()
	held, whole, err := k.l.engine.extend(ctx, k.name, k.id)
	switch {
	case err != nil:
		if k.ctx.Err() == nil { // else it was released meanwhile
			k.l.n.extendErrors.Add(1)
		}
		return false, k.ended(err)
	case !held:
		k.lose()
		return false, k.ended(ErrLost)
	}
	k.l.n.extensions.Add(1)
	k.count(sent, k.l.cfg.TTL)
	return whole, nil
}

// ended returns why the lock has ended, or err if it has not.
func (k *Lock) ended(err error) error {
	if cause := context.Cause(k.ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("lock: extend %q: %w", k.name, err)
}

// keep extends the lock until it ends: first after a time of its own, if that is
// still worth while.
func (k *Lock) keep(first time.Duration, whole func() bool) {
	defer close(k.over)
	ttl := k.l.cfg.TTL
	if whole != nil {
		if !k.sleep(first) {
			return
		}
		if whole() {
			first = max(0, ttl/3-first)
		} else {
			first = 0
		}
	}
	for wait := first; ; {
		if !k.sleep(min(wait, time.Until(k.deadline()))) {
			return
		}
		if time.Until(k.deadline()) <= 0 {
			k.lose()
			return
		}
		whole, err := k.extend(k.ctx)
		switch {
		case k.ctx.Err() != nil:
			return
		case err != nil || !whole: // the node may be back before the time is over
			wait = min(ttl/20, time.Until(k.deadline())/4)
		default:
			wait = ttl / 3
		}
	}
}

// sleep reports whether the lock still stands after d.
func (k *Lock) sleep(d time.Duration) bool {
	if d <= 0 {
		return k.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-k.ctx.Done():
		return false
	case <-t.C:
		return k.ctx.Err() == nil
	}
}

// lose ends a lock that was not released. What may be left of it in Redis ends
// with its time to live, or with Release.
func (k *Lock) lose() {
	k.mu.Lock()
	lost := !k.released && k.ctx.Err() == nil
	if lost {
		k.end(ErrLost)
	}
	k.mu.Unlock()
	if lost {
		k.l.n.lost.Add(1)
	}
	k.l.forget(k)
}

func (l *Locker) forget(k *Lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, k)
}

// Release gives the lock back, in one round trip that ctx does not end: it is
// sent even if ctx has ended, and limited by OpTimeout. The lock ends in this
// process whatever happens; if Release returns a *NodeError, others may have to
// wait until the TTL is over. It returns ErrLost if the lock was lost before,
// and ErrReleased if it has been released already.
func (k *Lock) Release(ctx context.Context) error {
	_ = ctx // for the values of tracers to come; its end must not keep the key
	k.mu.Lock()
	again := k.released
	k.released = true
	lost := Lost(k.ctx)
	k.end(ErrReleased)
	k.mu.Unlock()
	if again {
		return ErrReleased
	}
	<-k.over                  // so that no extension follows the release
	k.extending <- struct{}{} // nor one of the caller's
	defer func() { <-k.extending }()
	k.l.forget(k)
	held, err := k.l.engine.release(k.name, k.id, false)
	switch {
	case lost:
		return ErrLost
	case err != nil:
		k.l.n.releaseErrors.Add(1)
		return err
	case !held:
		k.l.n.lost.Add(1)
		return ErrLost
	}
	return nil
}

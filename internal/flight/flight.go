// Package flight shares loads: callers that want the same key at the same
// time get the result of one call.
//
// It adds to golang.org/x/sync/singleflight what a cache needs on top: each
// caller waits under its own context, the call has a context that outlives
// its first caller, panics and runtime.Goexit reach all callers instead of
// crashing the process or hanging them, and a call that can no longer speak
// for new callers is left to those it has.
package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/singleflight"
)

// ErrGoexit is the result of a call whose function ended its goroutine with
// runtime.Goexit, as testing.T.FailNow does.
var ErrGoexit = errors.New("the function called runtime.Goexit")

// errAbandoned is the cause with which a call is cancelled that nobody waits
// for any longer.
var errAbandoned = errors.New("nobody waits for it any more")

// ErrClosed is the result of Do after Close, and the cause with which Close
// cancels the calls in progress.
var ErrClosed = errors.New("closed")

// PanicError carries a panic of a shared function to its callers.
type PanicError struct {
	// Value is what the function panicked with.
	Value any
	// Stack is the stack of the goroutine that panicked.
	Stack []byte
}

// Error describes the panic, with its stack.
func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", p.Value, p.Stack) }

// Unwrap returns the panic value if it is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// A Call is one execution of a function and those who wait for it.
type Call struct {
	g      *Group
	key    string
	cancel context.CancelCauseFunc

	// waiters, finishing and detached are protected by g.mu.
	waiters int
	done    chan struct{} // closed when out is set
	out     outcome
	// finishing reports that the call goes on though nobody waits.
	finishing bool
	// detached reports that the call no longer accepts callers.
	detached bool

	joinable func() bool // set by Joinable; protected by g.mu
}

// Joinable sets the question that is asked before a new caller joins the
// call; while it answers no, new callers start a call of their own. It is
// called with a lock held and must only read atomics. Without it a call can
// always be joined.
func (c *Call) Joinable(f func() bool) {
	c.g.mu.Lock()
	c.joinable = f
	c.g.mu.Unlock()
}

// Detached reports whether new callers can no longer join the call: it was
// forgotten, abandoned, or found not joinable.
func (c *Call) Detached() bool {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	return c.detached
}

// Finish makes the call go on to its end even if all its callers leave.
func (c *Call) Finish() {
	c.g.mu.Lock()
	c.finishing = true
	c.g.mu.Unlock()
}

// A Group holds the calls in progress, by key. The zero value is ready.
type Group struct {
	sf singleflight.Group

	mu    sync.Mutex // protects the rest and the fields of each Call; taken before sf's own
	calls map[string]*Call
	// running holds all calls that have not ended, those included that can
	// no longer be joined.
	running map[*Call]struct{}
	closed  bool
	wg      sync.WaitGroup
}

// outcome is what a call ended with.
type outcome struct {
	value any
	err   error
}

// Do returns the result of fn for key, sharing one execution among all who
// call it at the same time. shared reports whether another caller started it.
//
// fn runs in a goroutine of its own, on a context that carries the values of
// the first caller's but not its end; it is cancelled when the last caller
// has left, unless fn called [Call.Finish]. Do itself returns when the result
// is there or ctx ends, whichever is first; a result that is there beats a
// context that ended at the same moment. A panic of fn panics in each caller,
// with a [*PanicError]; runtime.Goexit gives [ErrGoexit].
func (g *Group) Do(ctx context.Context, key string, fn func(context.Context, *Call) (any, error)) (v any, shared bool, err error) {
	c, shared := g.join(ctx, key, fn)
	if c == nil {
		return nil, false, ErrClosed
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		select {
		case <-c.done:
		default:
			g.leave(c)
			return nil, shared, ctx.Err()
		}
	}
	var p *PanicError
	if errors.As(c.out.err, &p) {
		panic(p)
	}
	return c.out.value, shared, c.out.err
}

// Start begins a call for key in the background if there is none, and reports
// whether it did. done is called with the outcome, before Close returns.
func (g *Group) Start(ctx context.Context, key string, fn func(context.Context, *Call) (any, error), done func(any, error)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.currentLocked(key) != nil {
		return false
	}
	g.startLocked(ctx, key, fn, done).finishing = true
	return true
}

// Forget makes later callers of key start a call of their own. Those who wait
// already still get the result of the present one.
func (g *Group) Forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.calls[key]; c != nil {
		g.detachLocked(c)
	}
}

// ForgetAll is [Group.Forget] of every key.
func (g *Group) ForgetAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.calls {
		g.detachLocked(c)
	}
}

// Close cancels all calls and waits until they have ended. No call begins
// later.
func (g *Group) Close() {
	g.mu.Lock()
	g.closed = true
	for c := range g.running {
		c.cancel(ErrClosed)
	}
	g.mu.Unlock()
	g.wg.Wait()
}

// Len returns the number of calls that can be joined at the moment.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

func (g *Group) join(ctx context.Context, key string, fn func(context.Context, *Call) (any, error)) (c *Call, shared bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, false
	}
	if c = g.currentLocked(key); c == nil {
		c = g.startLocked(ctx, key, fn, nil)
	} else {
		shared = true
	}
	c.waiters++
	return c, shared
}

// currentLocked returns the call that a new caller of key may join.
func (g *Group) currentLocked(key string) *Call {
	c := g.calls[key]
	if c == nil {
		return nil
	}
	if c.joinable != nil && !c.joinable() {
		g.detachLocked(c)
		return nil
	}
	return c
}

// startLocked begins a call. singleflight runs it, on a goroutine of its own,
// and not a second time for the key until it has ended or is forgotten; calls
// and singleflight forget a key in the same critical section. Its results are
// not used: it has none for a function that calls runtime.Goexit, and crashes
// the process for one that panics.
func (g *Group) startLocked(ctx context.Context, key string, fn func(context.Context, *Call) (any, error), done func(any, error)) *Call {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c := &Call{g: g, key: key, cancel: cancel, done: make(chan struct{})}
	if g.calls == nil {
		g.calls = make(map[string]*Call)
		g.running = make(map[*Call]struct{})
	}
	g.calls[key] = c
	g.running[c] = struct{}{}
	g.wg.Add(1) // under g.mu, and not after Close has set closed: Wait comes later
	g.sf.DoChan(key, func() (any, error) {
		defer g.wg.Done()
		c.run(ctx, fn, done)
		return nil, nil
	})
	return c
}

// run calls the function and delivers its outcome, however it ends.
func (c *Call) run(ctx context.Context, fn func(context.Context, *Call) (any, error), done func(any, error)) {
	c.out = outcome{err: ErrGoexit}
	defer func() {
		if r := recover(); r != nil {
			c.out = outcome{err: newPanicError(r)}
		}
		c.cancel(nil)
		c.g.mu.Lock()
		c.g.detachLocked(c)
		delete(c.g.running, c)
		c.g.mu.Unlock()
		close(c.done)
		if done != nil {
			done(c.out.value, c.out.err)
		}
	}()
	v, err := fn(ctx, c)
	c.out = outcome{v, err}
}

// detachLocked stops c from being joined.
func (g *Group) detachLocked(c *Call) {
	if c.detached {
		return
	}
	c.detached = true
	delete(g.calls, c.key)
	g.sf.Forget(c.key)
}

func (g *Group) leave(c *Call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.waiters--
	if c.waiters == 0 && !c.finishing {
		g.detachLocked(c)
		c.cancel(errAbandoned)
	}
}

func newPanicError(r any) error {
	if p, ok := r.(*PanicError); ok {
		return p // of a nested flight: keep the innermost stack
	}
	return &PanicError{Value: r, Stack: debug.Stack()}
}

package lock

import (
	"context"
	"errors"
	"fmt"
)

// The errors to match with errors.Is.
var (
	// ErrNotAcquired means that somebody else holds the lock, or is next.
	ErrNotAcquired = errors.New("lock: not acquired")
	// ErrLost means that the lock was, or may have been, somebody else's before
	// it was released. It is the cause of the context of a lost lock.
	ErrLost = errors.New("lock: lost")
	// ErrReleased means that the lock has been released. It is the cause of the
	// context of a released lock.
	ErrReleased = errors.New("lock: released")
	// ErrClosed means that the Locker has been closed.
	ErrClosed = errors.New("lock: closed")
)

// What was being done in a NodeError.
const (
	opOpen    = "open"
	opAcquire = "acquire"
	opExtend  = "extend"
	opRelease = "release"
)

// A NodeError says that a node failed, as opposed to a lock being held. With
// Redlock there may be several, joined.
type NodeError struct {
	// Op is "open", "acquire", "extend" or "release".
	Op string
	// Node is the addresses of the deployment as the options have them, and for
	// [OpenShards] the hash tag of the name that was asked for.
	Node string
	// Err is what went wrong.
	Err error
}

// Error returns the operation, the node and the cause.
func (e *NodeError) Error() string { return fmt.Sprintf("lock: %s on %s: %v", e.Op, e.Node, e.Err) }

// Unwrap returns the cause.
func (e *NodeError) Unwrap() error { return e.Err }

// ranError marks an error that came after the function of a Do was called.
type ranError struct{ err error }

func (e *ranError) Error() string { return e.err.Error() }
func (e *ranError) Unwrap() error { return e.err }

// SafeToRetry reports whether the error of a TryAcquire, Acquire or Do means
// that nothing was done under the lock, so that the same call may be made again.
// It is false for nil, and for the end of the caller's context.
func SafeToRetry(err error) bool {
	var ran *ranError
	if err == nil || errors.As(err, &ran) {
		return false
	}
	if errors.Is(err, ErrLost) || errors.Is(err, ErrReleased) || errors.Is(err, ErrClosed) {
		return false
	}
	if errors.Is(err, ErrNotAcquired) {
		return true
	}
	var node *NodeError
	return errors.As(err, &node) && node.Op == opAcquire
}

// Lost reports whether ctx, a context of a [Lock] or of [Locker.Do], was
// cancelled because the lock was lost.
func Lost(ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrLost) }

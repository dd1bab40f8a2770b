package rc

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"
)

var (
	// ErrNotFound is what a loader returns when the source has no such
	// value. It is remembered for Config.NegativeTTL, and returned by
	// GetOrSet to every caller meanwhile.
	ErrNotFound = errors.New("rc: not found")
	// ErrClosed is returned by every method after Manager.Close.
	ErrClosed = errors.New("rc: manager is closed")
	// ErrUnavailable is returned when Redis does not answer for the key and
	// there is no loader, or no stale value, to do without it.
	ErrUnavailable = errors.New("rc: redis is unavailable")
	// ErrBackoff is returned when a load of the key failed a moment ago,
	// here or in another process, and no stale value may be served. The error
	// has the text of that failure. See Config.ErrorBackoff.
	ErrBackoff = errors.New("rc: load failed a moment ago")
	// ErrOverloaded is returned when a load without Redis would have to
	// wait for one of Config.FallbackLoads for longer than LoadTimeout.
	ErrOverloaded = errors.New("rc: too many loads without redis")
	// ErrLoadTimeout is returned when a loader ran for longer than
	// Config.LoadTimeout.
	ErrLoadTimeout = errors.New("rc: load timed out")
	// ErrRefreshLock is returned when Config.RefreshLock could not be had, or
	// was lost while the loader ran, and no stale value may be served. It wraps
	// the error of package lock.
	ErrRefreshLock = errors.New("rc: refresh lock")
	// ErrGoexit is returned when a loader ended its goroutine with
	// runtime.Goexit.
	ErrGoexit = errors.New("rc: loader called runtime.Goexit")
)

// NodeError says on which node an operation failed.
type NodeError struct {
	// Node is the address of the node, empty if none is known for the key.
	Node string
	// Err is the failure.
	Err error
}

func (e *NodeError) Error() string {
	if e.Node == "" {
		return e.Err.Error()
	}
	return "node " + e.Node + ": " + e.Err.Error()
}

// Unwrap returns the failure.
func (e *NodeError) Unwrap() error { return e.Err }

// InvalidationError is returned by a write that could not be delivered to
// Redis. The process that made it no longer serves the old value; others may,
// until the invalidation is delivered or the value's time ends.
type InvalidationError struct {
	// Key is the Redis key.
	Key string
	// Queued reports whether the invalidation is kept, to be delivered when
	// the node answers again. It is not if the queue was full.
	Queued bool
	// Err is why it could not be delivered.
	Err error
}

func (e *InvalidationError) Error() string {
	then := "kept, will be sent when the node answers"
	if !e.Queued {
		then = "not kept, the queue is full (Options.RecoveryQueue)"
	}
	return fmt.Sprintf("rc: invalidate %q: %v (%s)", e.Key, e.Err, then)
}

// Unwrap returns why it could not be delivered.
func (e *InvalidationError) Unwrap() error { return e.Err }

// BackoffError is the [ErrBackoff] of a key.
type BackoffError struct {
	// Key is the Redis key.
	Key string
	// Text is what the failed load said.
	Text string
	// RetryAfter is how long loads are held back still.
	RetryAfter time.Duration
}

func (e *BackoffError) Error() string {
	return fmt.Sprintf("rc: load of %q failed a moment ago, next try in %v: %s", e.Key, e.RetryAfter.Round(time.Millisecond), e.Text)
}

// Is reports whether target is [ErrBackoff].
func (e *BackoffError) Is(target error) bool { return target == ErrBackoff }

// ManyError has the failures of a batch, by identifier. Identifiers that are
// not in it succeeded.
type ManyError struct {
	Errs map[string]error
}

func (e *ManyError) Error() string {
	ids := make([]string, 0, len(e.Errs))
	for id := range e.Errs {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	var b strings.Builder
	fmt.Fprintf(&b, "rc: %d identifiers failed", len(ids))
	for i, id := range ids {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more", len(ids)-i)
			break
		}
		fmt.Fprintf(&b, "; %q: %v", id, e.Errs[id])
	}
	return b.String()
}

// Unwrap returns the failures.
func (e *ManyError) Unwrap() []error {
	out := make([]error, 0, len(e.Errs))
	for _, err := range e.Errs {
		out = append(out, err)
	}
	return out
}

func (e *ManyError) orNil() error {
	if len(e.Errs) == 0 {
		return nil
	}
	return e
}

package redisnode

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	defaultTimeout = 30 * time.Second      // see "Contexts" in the package doc
	commandTimeout = 5 * time.Second       // likewise, for Do
	probeTimeout   = time.Second           // one question within a poll
	pollInterval   = 10 * time.Millisecond // between two questions
)

// permanentError wraps an error that asking again cannot cure.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// permanent makes poll give up with err. A nil err stays nil.
func permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// withTimeout returns ctx itself if it has a deadline, otherwise one that ends
// after d.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// poll calls check until it returns nil or a permanent error, or ctx ends. Each
// call gets a context of probeTimeout, so a server that hangs costs one probe
// and not the whole wait. The error of a wait that ended wraps both the
// context's error and what check last said.
func poll(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		err := probe(ctx, check)
		if err == nil {
			return nil
		}
		if p := (*permanentError)(nil); errors.As(err, &p) {
			return fmt.Errorf("redisnode: %s: %w", what, p.err)
		}
		// A check cut short by the end of ctx says only that; what it said
		// before is the reason to report.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redisnode: %s: %w: %w", what, ctx.Err(), last)
		case <-ticker.C:
		}
	}
}

func probe(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return check(ctx)
}

// Package testclock hands the clock of a test to a Manager that is opened with
// the test's context. It keeps that seam out of the public API.
package testclock

import (
	"context"

	"github.com/fleetcache/fleetcache/internal/near"
)

type key struct{}

// With returns a context that carries the clock.
func With(ctx context.Context, c *near.Clock) context.Context {
	return context.WithValue(ctx, key{}, c)
}

// From returns the clock of the context, nil if it has none.
func From(ctx context.Context) *near.Clock {
	c, _ := ctx.Value(key{}).(*near.Clock)
	return c
}

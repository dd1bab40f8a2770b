// Package nap waits, for no longer than a context lasts.
package nap

import (
	"context"
	"time"
)

// For returns after d, or with the error of ctx as soon as that has ended.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

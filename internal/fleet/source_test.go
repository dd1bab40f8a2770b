//go:build unix

package fleet

import (
	"context"

	"github.com/fleetcache/fleetcache/rc"
)

// sources is an observer that leaves the tier a hit came from in the context
// of its caller, if that one wants to know.
type sources struct{ rc.NopObserver }

type sourceKey struct{}

// withSource returns a context for calls by one goroutine, one at a time. After
// a call that was a hit, the source has its tier.
func withSource(ctx context.Context) (context.Context, *rc.Source) {
	s := new(rc.Source)
	return context.WithValue(ctx, sourceKey{}, s), s
}

func (sources) Hit(ctx context.Context, e rc.HitEvent) {
	if s, ok := ctx.Value(sourceKey{}).(*rc.Source); ok {
		*s = e.Source
	}
}

package rc

import (
	"context"
	"sync"

	"github.com/maypok86/otter/v2"

	"github.com/fleetcache/fleetcache/internal/near"
)

// A reaper takes entries that were killed out of the indexes of their
// services. Without it they would stay until their identifiers are read again,
// and take the place of live ones. It has a goroutine of its own, because the
// one that learns of changes must not wait for an index.
type reaper struct {
	wake chan struct{}

	mu   sync.Mutex // protects dead
	dead []*near.Entry
}

// add hands over a killed entry. It does not block.
func (r *reaper) add(e *near.Entry) {
	r.mu.Lock()
	r.dead = append(r.dead, e)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends.
func (r *reaper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		r.mu.Lock()
		dead := r.dead
		r.dead = nil
		r.mu.Unlock()
		for _, e := range dead {
			if t, ok := e.Meta.(*token); ok {
				t.tokens.drop(t)
				continue
			}
			d := e.Meta.(*cand)
			d.home.index.ComputeIfPresent(d.ik, func(old *near.Entry) (*near.Entry, otter.ComputeOp) {
				if old == e {
					return nil, otter.InvalidateOp
				}
				return old, otter.CancelOp
			})
		}
	}
}

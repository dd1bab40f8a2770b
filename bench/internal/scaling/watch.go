package scaling

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

const (
	// spin is how long a watcher reads without a pause after something has
	// arrived: the push is handled meanwhile.
	spin = 100 * time.Microsecond
	// glance is how long a watcher sleeps if nothing arrives.
	glance = 2 * time.Millisecond
	// patience ends a watch: who has not noticed by then never will.
	patience = 10 * time.Second
)

// watch begins to look whether values are gone from memory. The goroutine ends
// with the values, or after patience, and the answer of opGone is its last.
func (in *instance) watch(a valueArgs) error {
	if len(in.watched) > 0 {
		return fmt.Errorf("watch: the last one was not asked for")
	}
	arrived := in.ear.listen()
	go func() {
		defer in.ear.armed.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var w watched
		for _, id := range a.IDs {
			if w.seen, w.err = in.vanish(ctx, id, a.N, arrived); w.err != nil {
				break
			}
		}
		in.watched <- w
	}()
	return nil
}

// vanish returns when the first read began that did not get the value.
func (in *instance) vanish(ctx context.Context, id string, n int64, arrived <-chan struct{}) (seen, error) {
	for until := time.Now(); ; {
		at := workers.Now()
		v, found, err := in.service.Get(ctx, id)
		switch {
		case err != nil:
			return seen{}, err
		case !found:
			return seen{at}, nil
		case v.ID != n:
			return seen{}, fmt.Errorf("%s is product %d, want %d or none", id, v.ID, n)
		}
		if time.Now().Before(until) {
			runtime.Gosched()
			continue
		}
		select {
		case <-arrived:
			until = time.Now().Add(spin)
		case <-time.After(glance):
		case <-ctx.Done():
			return seen{}, fmt.Errorf("%s is still in memory: %w", id, ctx.Err())
		}
	}
}

//go:build unix

package instance

import (
	"context"
	"sync"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/rc"
)

// trace learns from which tier the values of one call come. The call may be
// over while a part of it goes on in the background, hence the lock.
type trace struct {
	mu     sync.Mutex // protects source
	source map[string]string
}

type traceKey struct{}

// withTrace returns a context for one call.
func withTrace(ctx context.Context) (context.Context, *trace) {
	t := &trace{}
	return context.WithValue(ctx, traceKey{}, t), t
}

// of returns the tier of the value of an identifier: that of a hit in this very
// call, else the loader's, which is also said of a value that was shared.
func (t *trace) of(id string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.source[id]; ok {
		return s
	}
	return history.FromLoader
}

func (t *trace) hit(id, source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.source == nil {
		t.source = map[string]string{}
	}
	t.source[id] = source
}

// loading is one load, from the observer's LoadStart to what became of its
// values. It is in the context of the loader.
type loading struct {
	began history.Time

	mu       sync.Mutex // protects the rest
	ended    history.Time
	versions map[string]uint64 // what the loader returned
}

type loadingKey struct{}

// returned notes what a loader is about to return. ctx is the loader's.
func returned(ctx context.Context, id string, version uint64) {
	l, ok := ctx.Value(loadingKey{}).(*loading)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.versions[id] = version
}

// observer tells the instance what happens in its Manager.
type observer struct {
	rc.NopObserver
	in *phase
}

func (observer) Hit(ctx context.Context, e rc.HitEvent) {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		t.hit(e.ID, e.Source.String())
	}
}

func (observer) LoadStart(ctx context.Context, e rc.LoadStartEvent) context.Context {
	l := &loading{began: history.Now(), versions: make(map[string]uint64, len(e.IDs))}
	return context.WithValue(ctx, loadingKey{}, l)
}

// LoadEnd dates the end of the load: no fill of its values is sent before.
func (observer) LoadEnd(ctx context.Context, _ rc.LoadEndEvent) {
	l, ok := ctx.Value(loadingKey{}).(*loading)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = history.Now()
}

func (o observer) Fill(ctx context.Context, e rc.FillEvent) { o.filled(ctx, e.ID, "") }

func (o observer) FillRefused(ctx context.Context, e rc.FillRefusedEvent) {
	o.filled(ctx, e.ID, e.Reason.String())
}

// filled records what became of the value of an identifier that was offered to
// Redis; an empty reason is that it was stored.
func (o observer) filled(ctx context.Context, id, reason string) {
	l, ok := ctx.Value(loadingKey{}).(*loading)
	key, known := o.in.number[id]
	if !ok || !known {
		return
	}
	l.mu.Lock()
	f := history.Fill{
		Key: key, Version: l.versions[id], By: o.in.args.Instance, LoadBegan: l.began,
		Began: l.ended, Ended: history.Now(), Stored: reason == "", Reason: reason,
	}
	l.mu.Unlock()
	if f.Version != 0 {
		o.in.rec.fill(f)
	}
}

// Invalidation hears of what the recovery queue delivers.
func (o observer) Invalidation(_ context.Context, e rc.InvalidationEvent) {
	if !e.Replay || e.Err != nil {
		return
	}
	now := history.Now()
	if group := o.in.groupOf(e); group > 0 {
		for _, key := range o.in.args.Groups[group-1].Keys {
			o.in.replayed(key, group, now)
		}
		return
	}
	if key, known := o.in.number[e.ID]; known {
		o.in.replayed(key, 0, now)
	}
}

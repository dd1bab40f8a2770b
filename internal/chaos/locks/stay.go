//go:build unix

package locks

import (
	"context"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/lock"
)

// visit is a stay under way.
type visit struct {
	Stay
	lock *lock.Lock
	// until ends a stay of opHold, nil for others.
	until context.Context

	mu   sync.Mutex // protects exit
	exit history.Time
}

// leave records the end of the stay, unless it is over already.
func (v *visit) leave(at history.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.exit == 0 {
		v.exit = at
	}
}

// prompt is how soon after the entry Until has to be read to be that of the
// grant. An extension comes a third of the TTL after it.
const prompt = 5 * time.Millisecond

// enter records that a lock was granted, and tells the parent.
func (w *work) enter(k *lock.Lock, t target, held bool) *visit {
	v := &visit{lock: k}
	entry := history.Now()
	until := w.clock.at(k.Until())
	v.Stay = Stay{ID: w.last.Add(1), Process: w.o.Process, Kind: t.kind, Name: t.name, Token: k.Token(), Entry: entry, Held: held}
	if history.Now().Sub(entry) < prompt {
		v.Since = until.Add(-w.o.Limits.TTL)
	}
	// A parent that does not answer is gone, and this process ends with it.
	_ = w.link.Call(context.Background(), opEnter, v.Stay, nil)
	return v
}

// stay works under a lock for d, and releases it.
func (w *work) stay(k *lock.Lock, v *visit, d time.Duration) {
	w.during(k.Context(), v, d)
	_ = k.Release(context.Background()) // Lost has been recorded; a node may be down
}

// during works under a lock for d, or until it is lost, and reports the stay.
// The lock is then to be released.
func (w *work) during(ctx context.Context, v *visit, d time.Duration) {
	stop := context.AfterFunc(v.lock.Context(), func() { v.leave(history.Now()) })
	w.section(ctx, v, d)
	v.leave(history.Now())
	stop()
	v.mu.Lock()
	s := v.Stay
	s.Exit = v.exit
	v.mu.Unlock()
	s.Lost = lock.Lost(v.lock.Context())
	if until := v.lock.Until(); !until.IsZero() {
		s.Until = w.clock.at(until)
	}
	_ = w.link.Call(context.Background(), opExit, s, nil)
	// Who lost the lock is reckless, and some of the others.
	if s.Kind == Lease && (s.Lost || s.ID%16 == 0) {
		w.running.Go(func() { w.write(v, true, true) }) // ends by the patience of the resource
	}
}

// section does what the lock is for: with a lease, it writes all the time. It
// does not ask whether a write was accepted, and one that a fault is to hit not
// even for its context, as a program that should not be trusted: the longer it
// goes on, the more there is to refuse. The end of the stay is recorded apart.
func (w *work) section(ctx context.Context, v *visit, d time.Duration) {
	const shortest, pause = 2 * time.Millisecond, 50 * time.Millisecond
	end := time.Now().Add(d)
	minded, cancel := context.WithCancel(ctx)
	defer cancel()
	if v.Held {
		defer context.AfterFunc(v.until, cancel)()
	}
	if v.Held && v.Kind == Lease {
		minded = v.until
	}
	for {
		if v.Kind == Lease {
			w.write(v, ctx.Err() != nil, false)
		}
		rest := time.Until(end)
		if rest <= 0 || !w.sleep(minded, min(rest, max(shortest, min(d/3, pause)))) {
			return
		}
	}
}

func (w *work) write(v *visit, late, wait bool) {
	_ = w.link.Call(context.Background(), opWrite, writeTo{Stay: v.ID, Name: v.Name, Token: v.Token, Late: late, Wait: wait}, nil)
}

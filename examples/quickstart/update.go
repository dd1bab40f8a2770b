package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// updated is what one update showed.
type updated struct {
	lags  []time.Duration // of each other instance
	late  int64           // reads that began after the bound and got the old name
	own   bool            // the renaming instance had the old name afterwards
	again int             // instances that got the old name after they had lost it
}

// updateRound renames a product on one instance, and measures for how long
// each of the others has the old name. All have it in memory at the beginning,
// and the new one at the end.
func (s *show) updateRound(ctx context.Context, writer *instance, old, next string) (u updated, err error) {
	var deletedAt atomic.Int64 // Unix nanoseconds, 0 until Delete has returned
	var watchers []*watcher
	for _, in := range s.instances {
		if in != writer {
			watchers = append(watchers, &watcher{in: in, old: old, ready: make(chan struct{}), deletedAt: &deletedAt})
		}
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range watchers {
		wg.Go(func() { w.run(watching) })
	}
	for _, w := range watchers {
		<-w.ready
	}
	if err = writer.products.Rename(ctx, updateProduct, next); err != nil {
		cancel()
		wg.Wait()
		return u, err
	}
	deleted := time.Now()
	deletedAt.Store(deleted.UnixNano())
	p, found, err := writer.products.Cached(ctx, updateProduct)
	u.own = err == nil && found && p.Name != next
	wg.Wait()
	for _, w := range watchers {
		u.lags = append(u.lags, max(0, w.gone.Sub(deleted)))
		u.late += w.late
		err = errors.Join(err, w.err)
	}
	names, warmErr := s.warm(ctx, products(updateProduct))
	for _, name := range names {
		if name != next {
			u.again++
		}
	}
	return u, errors.Join(err, warmErr)
}

// A watcher reads a cached product on one instance until its name is not the
// old one any more. It does not pause in between, to measure to the
// microsecond.
type watcher struct {
	in        *instance
	old       string
	ready     chan struct{} // closed when it reads
	deletedAt *atomic.Int64

	gone time.Time // when the first read began that did not get the old name
	late int64
	err  error
}

func (w *watcher) run(ctx context.Context) {
	close(w.ready)
	for ctx.Err() == nil {
		began := time.Now()
		p, found, err := w.in.products.Cached(ctx, updateProduct)
		if err != nil || !found || p.Name != w.old {
			w.gone, w.err = began, err
			return
		}
		if d := w.deletedAt.Load(); d != 0 && began.UnixNano()-d > int64(maxStaleness) {
			w.late++
			if w.late == 1000 { // it will not go away
				w.gone = began
				return
			}
		}
		runtime.Gosched() // lets go first what it watches
	}
	w.gone = time.Now()
}

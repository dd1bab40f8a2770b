package clustertest

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// live are the deployments of this process that have something to give back.
// While there are any, SIGINT and SIGTERM give it back before they end the
// process: the runtime's default would leave containers and directories.
var live = registry{stops: make(map[*liveEntry]func())}

// liveEntry is a key of its own for each registration; it needs a size for that.
type liveEntry struct{ _ byte }

type registry struct {
	mu      sync.Mutex // protects the fields below
	stops   map[*liveEntry]func()
	signals chan os.Signal // nil while there is nothing to stop
}

// add registers stop, which must be safe to call at any time and any number of
// times, until remove is called.
func (r *registry) add(stop func()) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := new(liveEntry)
	r.stops[e] = stop
	if r.signals == nil {
		r.signals = make(chan os.Signal, 1)
		signal.Notify(r.signals, os.Interrupt, syscall.SIGTERM)
		// Ends when remove closes the channel, or with the process.
		go r.watch(r.signals)
	}
	return func() { r.remove(e) }
}

func (r *registry) remove(e *liveEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.stops, e)
	if len(r.stops) == 0 && r.signals != nil {
		signal.Stop(r.signals)
		close(r.signals)
		r.signals = nil
	}
}

func (r *registry) watch(signals chan os.Signal) {
	sig, ok := <-signals
	if !ok {
		return
	}
	r.stopAll()
	signal.Stop(signals)
	raise(sig)
}

// stopAll calls every stop once, also those that are added while it runs: a
// start that is interrupted may still succeed.
func (r *registry) stopAll() {
	called := make(map[*liveEntry]bool)
	for {
		var wg sync.WaitGroup
		fresh := false
		r.mu.Lock()
		for e, stop := range r.stops {
			if !called[e] {
				called[e], fresh = true, true
				wg.Go(stop)
			}
		}
		r.mu.Unlock()
		if !fresh {
			return
		}
		wg.Wait()
	}
}

// raise sends the signal again, so that the process ends as it would have
// without us, with the right status. A program that handles the signal itself
// sees it twice. Where a process cannot signal itself it exits.
func raise(sig os.Signal) {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(sig)
	}
	if err != nil {
		os.Exit(1)
	}
}

// guardStart makes a signal during a start end it and wait until it has given
// back everything. The returned context is for the start; done must be called
// when the start is over and its result registered or given up.
func guardStart(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	remove := live.add(func() {
		cancel()
		<-over
	})
	return ctx, func() {
		cancel()
		close(over)
		remove()
	}
}

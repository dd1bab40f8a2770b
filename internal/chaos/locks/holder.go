//go:build unix

package locks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/lock"
)

// holder is this process.
type holder struct {
	link  *workers.Link
	clock known

	mu   sync.Mutex // protects work
	work *work      // nil between phases
}

// Main serves the parent until the standard input ends, and returns the exit
// code.
func Main() int {
	h := &holder{clock: knownClock()}
	h.link = workers.NewLink(os.Stdout, h.serve)
	h.link.Read(os.Stdin)
	if w := h.take(); w != nil {
		_ = w.close() // the parent is gone: nobody wants to know
	}
	return 0
}

// take ends the phase as far as calls are concerned.
func (h *holder) take() *work {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.work
	h.work = nil
	return w
}

func (h *holder) current() *work {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.work
}

func (h *holder) serve(op string, body json.RawMessage) (any, error) {
	if op == opOpen {
		o, err := workers.Decode[open](body)
		if err != nil {
			return nil, err
		}
		return nil, h.open(o)
	}
	w := h.current()
	if w == nil && op == opReach {
		return nil, nil // it is told when its phase begins
	}
	if w == nil {
		return nil, fmt.Errorf("holder: %s before %s", op, opOpen)
	}
	switch op {
	case opStart:
		w.start()
		return nil, nil
	case opHold:
		a, err := workers.Decode[hold](body)
		if err != nil {
			return nil, err
		}
		return w.hold(a)
	case opReach:
		a, err := workers.Decode[reach](body)
		if err != nil {
			return nil, err
		}
		e, err := workers.Decode[clustertest.Exported](a.Exported)
		if err != nil {
			return nil, err
		}
		return nil, w.way.Update(e)
	case opLetGo:
		w.letGo()
		return nil, nil
	case opClose:
		h.take()
		return nil, w.close()
	}
	return nil, fmt.Errorf("holder: no such call %q", op)
}

func (h *holder) open(o open) error {
	if h.current() != nil {
		return fmt.Errorf("holder %d: the phase before has not been closed", o.Process)
	}
	w, err := openWork(h, o)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.work = w
	return nil
}

// work is what a holder does in one phase.
type work struct {
	link    *workers.Link
	clock   known
	o       open
	way     *clustertest.Link
	lockers map[string]*lock.Locker // by kind
	ctx     context.Context         // ends with the phase
	stop    context.CancelFunc
	running sync.WaitGroup // contenders, stays of opHold, and late writes; end with ctx
	last    atomic.Int64   // number of the last stay

	mu      sync.Mutex      // protects the rest
	holding context.Context // of the stays of opHold
	release context.CancelFunc
}

func openWork(h *holder, o open) (*work, error) {
	e, err := workers.Decode[clustertest.Exported](o.Exported)
	if err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	way, err := clustertest.NewLinkFrom(e)
	if err != nil {
		return nil, err
	}
	w := &work{link: h.link, clock: h.clock, o: o, way: way, lockers: map[string]*lock.Locker{}}
	w.last.Store(o.First)
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.letGo()
	// Releases fail while nodes are down: that is what the phase is about.
	cfg := lock.Config{
		Prefix: o.Prefix, TTL: o.Limits.TTL, OpTimeout: o.Limits.OpTimeout,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	var errs [2]error
	w.lockers[Lease], errs[0] = lock.Open(w.ctx, way.ClientOption(), cfg)
	w.lockers[Redlock], errs[1] = lock.OpenShards(w.ctx, way.ClientOption(), o.Limits.Votes, cfg)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// close ends all stays, waits for their reports, and closes the Lockers.
func (w *work) close() error {
	w.stop()
	w.running.Wait()
	var errs []error
	for _, l := range w.lockers {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(append(errs, w.way.Close())...)
}

func (w *work) targets() (out []target) {
	for _, n := range w.o.Leases {
		out = append(out, target{Lease, n})
	}
	for _, n := range w.o.Redlocks {
		out = append(out, target{Redlock, n})
	}
	return out
}

// start makes those who wait for each name, and one who looks at all of them
// without waiting: it is the first to see a lock that has been forgotten.
func (w *work) start() {
	rng := func(n int) *rand.Rand { return rand.New(rand.NewPCG(w.o.Seed, uint64(n))) }
	n := 0
	for _, t := range w.targets() {
		for range w.o.Each {
			n++
			r := rng(n)
			w.running.Go(func() { w.contend(t, r) })
		}
	}
	w.running.Go(func() { w.look(rng(0)) })
}

// Pauses after a node has failed, and between two looks.
const (
	afterError   = 20 * time.Millisecond
	betweenLooks = 20 * time.Millisecond
)

// contend waits for a lock, stays, and begins again.
func (w *work) contend(t target, r *rand.Rand) {
	l := w.lockers[t.kind]
	for w.ctx.Err() == nil {
		d := w.length(r)
		if r.IntN(8) == 0 {
			err := l.Do(w.ctx, t.name, func(ctx context.Context) error {
				w.during(ctx, w.enter(lock.FromContext(ctx), t, false), d)
				return nil
			})
			if lock.SafeToRetry(err) {
				w.sleep(w.ctx, afterError)
			}
			continue
		}
		k, err := l.Acquire(w.ctx, t.name)
		if err != nil {
			w.sleep(w.ctx, afterError)
			continue
		}
		w.stay(k, w.enter(k, t, false), d)
	}
}

// look tries one name after the other.
func (w *work) look(r *rand.Rand) {
	all := w.targets()
	for w.sleep(w.ctx, betweenLooks) {
		t := all[r.IntN(len(all))]
		k, err := w.lockers[t.kind].TryAcquire(w.ctx, t.name)
		if err == nil {
			w.stay(k, w.enter(k, t, false), time.Duration(1+r.IntN(5))*time.Millisecond)
		}
	}
}

// length draws how long to stay: some milliseconds, at times so long that the
// lock has to be extended.
func (w *work) length(r *rand.Rand) time.Duration {
	switch n := r.IntN(100); {
	case n < 2:
		return w.o.Limits.TTL/3 + rand.N(w.o.Limits.TTL/2)
	case n < 10:
		return time.Duration(20+r.IntN(80)) * time.Millisecond
	default:
		return time.Duration(1+r.IntN(12)) * time.Millisecond
	}
}

// hold takes a lock for a fault to hit, and stays in the background.
func (w *work) hold(a hold) (Stay, error) {
	l := w.lockers[a.Kind]
	if l == nil {
		return Stay{}, fmt.Errorf("holder: no locks of kind %q", a.Kind)
	}
	ctx, cancel := context.WithTimeout(w.ctx, 6*w.o.Limits.TTL)
	defer cancel()
	for {
		k, err := l.Acquire(ctx, a.Name)
		if err == nil {
			v := w.enter(k, target{a.Kind, a.Name}, true)
			v.until = w.held()
			s := v.Stay
			w.running.Go(func() { w.stay(k, v, longest) }) // ends with letGo
			return s, nil
		}
		if !lock.SafeToRetry(err) || !w.sleep(ctx, afterError) {
			return Stay{}, err
		}
	}
}

// longest is how long a lock is held at most.
const longest = time.Minute

// letGo ends the stays of opHold.
func (w *work) letGo() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.release != nil {
		w.release()
	}
	w.holding, w.release = context.WithCancel(w.ctx)
}

// held is the context of stays of opHold that begin now.
func (w *work) held() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holding
}

// sleep reports whether ctx still stands after d.
func (w *work) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-w.ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

//go:build unix

package locks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// errOver answers calls that come when the phase is over.
var errOver = errors.New("chaos: the phase is over")

// fleet is the processes that hold locks. They outlive phases.
type fleet struct {
	exe string // of holders; empty for this program

	mu       sync.Mutex // protects the rest
	procs    []*workers.Process
	ledger   *ledger // nil between phases
	failures []string
	started  int64 // processes so far
}

// serve answers the calls of a holder.
func (f *fleet) serve(op string, body json.RawMessage) (any, error) {
	f.mu.Lock()
	l := f.ledger
	f.mu.Unlock()
	if l == nil {
		return nil, errOver
	}
	switch op {
	case opEnter, opExit:
		s, err := workers.Decode[Stay](body)
		if err != nil {
			return nil, err
		}
		if op == opEnter {
			l.enter(s)
		} else {
			l.exit(s)
		}
		return nil, nil
	case opWrite:
		w, err := workers.Decode[writeTo](body)
		if err != nil {
			return nil, err
		}
		return l.write(w), nil
	}
	return nil, fmt.Errorf("chaos: unexpected call %q of a holder", op)
}

// use makes a ledger the one that holders talk to, nil for none.
func (f *fleet) use(l *ledger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ledger = l
}

func (f *fleet) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, err.Error())
}

// takeFailures returns what went wrong since the last call.
func (f *fleet) takeFailures() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, f.failures = f.failures, nil
	return out
}

// ensure starts processes up to n.
func (f *fleet) ensure(n int) error {
	f.mu.Lock()
	for len(f.procs) < n {
		f.procs = append(f.procs, nil)
	}
	f.mu.Unlock()
	for i := range n {
		if f.proc(i) == nil {
			if err := f.spawn(i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fleet) spawn(i int) error {
	p, err := workers.Start(workers.Config{
		Name: fmt.Sprint("holder ", i), Exe: f.exe, Env: []string{Env + "=1"},
		Serve: f.serve, OnExit: f.fail,
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.procs[i] = p
	f.started++
	return nil
}

// number returns the number above which process i numbers its stays: in a phase
// no other process uses them.
func (f *fleet) number(i int) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.numberLocked(f.started, i)
}

func (f *fleet) numberLocked(started int64, i int) int64 {
	const stays = 1e9 // more than a process has
	return (started*int64(len(f.procs)) + int64(i)) * stays
}

func (f *fleet) proc(i int) *workers.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.procs[i]
}

// kill ends a process at once, and its stays: not later than it can have ended
// itself.
func (f *fleet) kill(i int) error {
	at := history.Now()
	err := f.proc(i).Kill()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.procs[i] = nil
	if f.ledger != nil {
		f.ledger.killed(death{process: i, next: f.numberLocked(f.started+1, 0), at: at})
	}
	return err
}

// close ends all processes.
func (f *fleet) close() error {
	f.mu.Lock()
	procs := f.procs
	f.procs = nil
	f.mu.Unlock()
	var errs []error
	for _, p := range procs {
		if p != nil {
			errs = append(errs, p.Close(10*time.Second))
		}
	}
	return errors.Join(errs...)
}

// call asks one process.
func (f *fleet) call(ctx context.Context, i int, op string, in, out any) error {
	return layout.Call(ctx, f.proc(i), fmt.Sprintf("holder %d", i), op, in, out)
}

//go:build unix

package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// errOver answers calls that come when the phase is over.
var errOver = errors.New("chaos: the phase is over")

// fleet is the instances. They outlive phases.
type fleet struct {
	cluster *clustertest.Cluster
	exe     string // of instances; empty for this program

	mu       sync.Mutex // protects the rest
	procs    []*workers.Process
	db       *database
	failures []string // of instances that ended by themselves
}

// serve answers the calls of instance n.
func (f *fleet) serve(n int, op string, body json.RawMessage) (any, error) {
	f.mu.Lock()
	db := f.db
	f.mu.Unlock()
	if db == nil {
		return nil, errOver
	}
	switch op {
	case instance.OpCommit:
		c, err := workers.Decode[instance.Commit](body)
		if err != nil {
			return nil, err
		}
		return db.commit(n, c)
	case instance.OpLoad:
		l, err := workers.Decode[instance.Load](body)
		if err != nil {
			return nil, err
		}
		return db.load(n, l)
	case instance.OpReport:
		r, err := workers.Decode[instance.Report](body)
		if err != nil {
			return nil, err
		}
		db.report(n, r)
		return nil, nil
	}
	return nil, fmt.Errorf("chaos: unexpected call %q of instance %d", op, n)
}

// use makes a database the one that instances talk to, nil for none.
func (f *fleet) use(db *database) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.db = db
}

func (f *fleet) fail(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

// takeFailures returns what went wrong since the last call.
func (f *fleet) takeFailures() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, f.failures = f.failures, nil
	return out
}

// ensure starts instances up to n of those that do not run.
func (f *fleet) ensure(n int) error {
	for len(f.procs) < n {
		f.procs = append(f.procs, nil)
	}
	for i := range n {
		if f.procs[i] == nil {
			if err := f.spawn(i, f.exe); err != nil {
				return err
			}
		}
	}
	return nil
}

// spawn runs instance i, from another program than this one if exe is given.
func (f *fleet) spawn(i int, exe string) error {
	p, err := workers.Start(workers.Config{
		Name: fmt.Sprint("instance ", i), Exe: exe, Env: []string{instance.Env + "=1"},
		Serve:  func(op string, body json.RawMessage) (any, error) { return f.serve(i, op, body) },
		OnExit: func(err error) { f.fail("%v", err) },
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.procs[i] = p
	return nil
}

func (f *fleet) proc(i int) *workers.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.procs[i]
}

// kill ends an instance at once.
func (f *fleet) kill(i int) error {
	err := f.proc(i).Kill()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.procs[i] = nil
	return err
}

// stop ends one instance in order; it has no phase open.
func (f *fleet) stop(i int) error {
	p := f.proc(i)
	if p == nil {
		return nil
	}
	err := p.Close(10 * time.Second)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.procs[i] = nil
	return err
}

// close ends all instances.
func (f *fleet) close() error {
	var errs []error
	for i := range f.procs {
		errs = append(errs, f.stop(i))
	}
	return errors.Join(errs...)
}

// call asks one instance.
func (f *fleet) call(ctx context.Context, i int, op string, in, out any) error {
	return layout.Call(ctx, f.proc(i), fmt.Sprintf("instance %d", i), op, in, out)
}

// exported is the cluster's addresses as instances take them.
func (f *fleet) exported() (json.RawMessage, error) { return json.Marshal(f.cluster.Export()) }

// update tells instances where nodes are reached now: that may have changed.
// Those that do not run, or have no phase, will be told when they begin.
func (f *fleet) update(ctx context.Context, n int) error {
	e, err := f.exported()
	if err != nil {
		return err
	}
	return layout.Each(n, func(i int) error {
		if f.proc(i) == nil {
			return nil
		}
		return f.call(ctx, i, instance.OpLink, instance.LinkFault{Do: "update", Exported: e}, nil)
	})
}

// watchStalls notices when the process of the database does not run, until ctx
// ends.
func watchStalls(ctx context.Context, d *database) {
	const every, least = 5 * time.Millisecond, 40 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := history.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := history.Now()
		if now.Sub(last) > least {
			d.stalled(history.Stall{Instance: history.Parent, Began: last, Ended: now})
		}
		last = now
	}
}

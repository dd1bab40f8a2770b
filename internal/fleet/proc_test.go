//go:build unix

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/rc"
)

// errGone is returned by calls of a worker that has ended.
var errGone = workers.ErrGone

// monotonic returns the machine's monotonic clock in nanoseconds, the same in
// all processes.
func monotonic() int64 { return workers.Now() }

func decode[T any](body json.RawMessage) (T, error) { return workers.Decode[T](body) }

// proc is a worker as the test sees it.
type proc struct {
	t    *testing.T
	name string
	*workers.Process
}

// startProc runs a worker until the test ends. onLoad answers its loads.
func startProc(t *testing.T, name string, onLoad func(p *proc, id string) (row, error)) *proc {
	t.Helper()
	p := &proc{t: t, name: name}
	var err error
	p.Process, err = workers.Start(workers.Config{
		Name: name,
		Env:  []string{workerEnv + "=1"},
		Serve: func(op string, body json.RawMessage) (any, error) {
			id, err := decode[string](body)
			if err != nil || op != "load" || onLoad == nil {
				return nil, fmt.Errorf("unexpected %s of %s", op, body)
			}
			return onLoad(p, id)
		},
		OnExit: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *proc) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *proc) freeze() { p.t.Helper(); p.must(p.Freeze()) }
func (p *proc) thaw()   { p.t.Helper(); p.must(p.Thaw()) }

// kill ends the worker with SIGKILL and waits until it is gone.
func (p *proc) kill() { p.t.Helper(); p.must(p.Kill()) }

// call asks the worker, and fails the test if it does not answer well.
func (p *proc) call(op string, in, out any) {
	p.t.Helper()
	if err := p.try(op, in, out); err != nil {
		p.t.Fatalf("%s of worker %s: %v", op, p.name, err)
	}
}

func (p *proc) try(op string, in, out any) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	return p.Link.Call(ctx, op, in, out)
}

func (p *proc) stats() (s rc.Stats) {
	p.t.Helper()
	p.call("stats", nil, &s)
	return s
}

// do makes one call of the cache.
func (p *proc) do(a callArgs) (res callResult) {
	p.t.Helper()
	p.call("call", a, &res)
	return res
}

// outcome is the result of a call that runs beside the test.
type outcome struct {
	callResult
	err error
	at  int64 // when it was known
}

// begin makes one call of the cache without waiting for it.
func (p *proc) begin(a callArgs) <-chan outcome {
	ch := make(chan outcome, 1)
	go func() { // ends with the call, which ends with the test
		var o outcome
		o.err = p.try("call", a, &o.callResult)
		o.at = monotonic()
		ch <- o
	}()
	return ch
}

// await returns the outcome of a call that must succeed.
func (p *proc) await(ch <-chan outcome) outcome {
	p.t.Helper()
	o := <-ch
	if o.err != nil {
		p.t.Fatalf("call of worker %s: %v", p.name, o.err)
	}
	return o
}

// until waits for a condition that is near.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

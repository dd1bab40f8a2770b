//go:build unix

package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// proc is a worker as the test sees it.
type proc struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	link   *link
	exited chan struct{} // closed when cmd has been waited for
	killed atomic.Bool   // by kill: how it ended is no surprise
}

// startProc runs a worker until the test ends, as an argument of the wrapper if
// there is one. onLoad answers its loads.
func startProc(t *testing.T, name string, onLoad func(p *proc, id string) (row, error), wrapper ...string) *proc {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append(wrapper, exe)
	cmd := exec.Command(line[0], line[1:]...)
	// A program with the race detector sleeps a second before it ends.
	cmd.Env = append(os.Environ(), workerEnv+"=1", "GORACE=atexit_sleep_ms=10 "+os.Getenv("GORACE"))
	cmd.Stderr = os.Stderr // race reports and panics of the worker
	dieWithParent(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &proc{t: t, name: name, cmd: cmd, exited: make(chan struct{})}
	p.link = newLink(in, func(op string, body json.RawMessage) (any, error) {
		id, err := decode[string](body)
		if err != nil || op != "load" || onLoad == nil {
			return nil, fmt.Errorf("unexpected %s of %s", op, body)
		}
		return onLoad(p, id)
	})
	go func() { // ends with the worker's output, and so with the worker
		p.link.read(out)
		err := cmd.Wait()
		if err != nil && !p.killed.Load() {
			t.Errorf("worker %s ended: %v", name, err)
		}
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = in.Close() // asks it to end
		p.signal(syscall.SIGCONT)
		select {
		case <-p.exited:
		case <-time.After(10 * time.Second):
			t.Errorf("worker %s does not end", name)
			p.kill()
		}
	})
	return p
}

func (p *proc) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%v to worker %s: %v", s, p.name, err)
	}
}

func (p *proc) freeze() { p.signal(syscall.SIGSTOP) }
func (p *proc) thaw()   { p.signal(syscall.SIGCONT) }

// kill ends the worker with SIGKILL and waits until it is gone.
func (p *proc) kill() {
	p.killed.Store(true)
	p.signal(syscall.SIGKILL)
	<-p.exited
}

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
	return p.link.call(ctx, op, in, out)
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
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

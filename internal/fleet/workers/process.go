//go:build unix

package workers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// Config says what a worker is. Env is required.
type Config struct {
	// Name is for messages.
	Name string
	// Exe is the program. Defaults to the running one.
	Exe string
	// Env is added to the environment, as "NAME=value": what tells the
	// program that it is a worker.
	Env []string
	// Serve answers the calls of the worker. Defaults to refusing all.
	Serve Serve
	// OnExit is called with the error of a worker that ended by itself and
	// not well. Defaults to nothing.
	OnExit func(error)
}

// A Process is a worker as its parent sees it. Make it with [Start]. Its methods
// are safe for concurrent use.
type Process struct {
	// Link calls the worker.
	Link *Link

	name   string
	cmd    *exec.Cmd
	in     io.Closer
	exited chan struct{} // closed when cmd has been waited for
	killed atomic.Bool   // by Kill: how it ended is no surprise
}

// Start runs a worker. What it writes to its standard error goes to that of
// this process.
func Start(c Config) (*Process, error) {
	if c.Exe == "" {
		var err error
		if c.Exe, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("start worker %s: %w", c.Name, err)
		}
	}
	if c.Serve == nil {
		c.Serve = refuse
	}
	cmd := exec.Command(c.Exe)
	// A program with the race detector sleeps a second before it ends.
	cmd.Env = append(os.Environ(), append([]string{"GORACE=atexit_sleep_ms=10 " + os.Getenv("GORACE")}, c.Env...)...)
	cmd.Stderr = os.Stderr // race reports and panics of the worker
	dieWithParent(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start worker %s: %w", c.Name, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start worker %s: %w", c.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker %s: %w", c.Name, err)
	}
	p := &Process{Link: NewLink(in, c.Serve), name: c.Name, cmd: cmd, in: in, exited: make(chan struct{})}
	go func() { // ends with the worker's output, and so with the worker
		p.Link.Read(out)
		err := cmd.Wait()
		if err != nil && !p.killed.Load() && c.OnExit != nil {
			c.OnExit(fmt.Errorf("worker %s ended: %w", c.Name, err))
		}
		close(p.exited)
	}()
	return p, nil
}

func refuse(op string, _ json.RawMessage) (any, error) {
	return nil, fmt.Errorf("workers: unexpected call %q", op)
}

// Name returns the name of the worker.
func (p *Process) Name() string { return p.name }

// Exited is closed when the worker has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

func (p *Process) signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%v to worker %s: %w", s, p.name, err)
	}
	return nil
}

// Freeze stops the worker where it is. It does nothing to one that has ended.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen worker go on.
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

// Kill ends the worker with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	p.killed.Store(true)
	err := p.signal(syscall.SIGKILL)
	if err == nil {
		<-p.exited
	}
	return err
}

// Close asks the worker to end, by ending its input, and waits. One that has
// not ended after patience is killed, and that is an error.
func (p *Process) Close(patience time.Duration) error {
	_ = p.in.Close() // closed already if the worker is gone
	err := p.Thaw()
	select {
	case <-p.exited:
		return err
	case <-time.After(patience):
		return errors.Join(err, fmt.Errorf("worker %s does not end within %v", p.name, patience), p.Kill())
	}
}

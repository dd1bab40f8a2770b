package localredis

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// drainTimeout bounds the wait for output after a server has exited. A child it
// forked to write a snapshot holds the pipe open for as long as it runs.
const drainTimeout = 200 * time.Millisecond

// process is a running child and the goroutine that waits for it.
type process struct {
	os   *os.Process
	done chan struct{} // closed when the child has exited and been reaped
	err  error         // how it exited; readable after done
}

// startProcess starts name with args and sends its output to out.
//
// One goroutine per child starts it, waits for it and ends with it. It stays
// locked to its thread all that time: on Linux the kernel kills the child when
// the thread that created it exits (see setDeathSignal), and the Go runtime
// does end threads, for example when a goroutine returns while locked to one.
func startProcess(name string, args []string, out io.Writer) (*process, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = drainTimeout
	setDeathSignal(cmd)

	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		p.os = cmd.Process // published by the send
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// exited reports whether the child has ended.
func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the child, frozen or not, and waits until it has been reaped.
func (p *process) kill() error {
	// A child that has just ended by itself is already being waited for.
	if err := p.os.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

package localredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kill ends the process with SIGKILL, frozen or not, and waits until it is
// gone. A server that does not run is left as it is, with a nil error.
func (s *Server) Kill() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.kill()
}

// Start runs a server again that was killed or has exited: same port, same
// directory, and so the same data and cluster node id. It blocks until the
// server answers, for at most 30 s, and fails if the server runs already.
func (s *Server) Start() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.run(context.Background())
}

// Restart is [Server.Kill] followed by [Server.Start].
func (s *Server) Restart() error {
	s.life.Lock()
	defer s.life.Unlock()
	if err := s.kill(); err != nil {
		return err
	}
	return s.run(context.Background())
}

// Freeze stops the process with SIGSTOP: connections stay open and are accepted
// by the kernel, and nothing is answered. On Linux the process has stopped when
// Freeze returns. Freezing a frozen server does nothing; one that does not run
// is an error.
func (s *Server) Freeze() error {
	return s.signal("freeze", true, func(p *process) error {
		if err := p.freeze(); err != nil {
			return err
		}
		return awaitFrozen(context.Background(), p.os.Pid)
	})
}

// Thaw lets a frozen process continue. Thawing one that is not frozen does
// nothing; one that does not run is an error.
func (s *Server) Thaw() error {
	return s.signal("thaw", false, (*process).thaw)
}

func (s *Server) signal(what string, frozen bool, send func(*process) error) error {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	proc, alive := s.proc, s.aliveLocked()
	s.mu.Unlock()
	if !alive {
		return fmt.Errorf("localredis: %s %s: server does not run", what, s.Addr())
	}
	if err := send(proc); err != nil {
		return fmt.Errorf("localredis: %s %s: %w", what, s.Addr(), err)
	}
	s.mu.Lock()
	s.frozen = frozen
	s.mu.Unlock()
	return nil
}

// Stop kills the process, gives up the ports, and removes the directory unless
// [Config.Dir] named it. The server cannot be started again; its log stays
// readable. Stop is idempotent.
func (s *Server) Stop() {
	s.life.Lock()
	defer s.life.Unlock()
	// An error means that the process cannot be signalled, which for a child of
	// ours means that it is gone.
	_ = s.kill()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	for _, r := range s.held {
		r.free()
	}
	s.temp.remove()
}

// kill needs life to be held.
func (s *Server) kill() error {
	s.mu.Lock()
	proc, alive := s.proc, s.aliveLocked()
	s.mu.Unlock()
	if !alive {
		return nil
	}
	if err := proc.kill(); err != nil {
		return fmt.Errorf("localredis: kill %s: %w", s.Addr(), err)
	}
	return nil
}

// run starts the process and waits until it answers. It needs life to be held.
func (s *Server) run(ctx context.Context) error {
	s.mu.Lock()
	stopped, alive := s.stopped, s.aliveLocked()
	s.mu.Unlock()
	if stopped {
		return ErrStopped
	}
	if alive {
		return fmt.Errorf("localredis: start %s: server runs already", s.Addr())
	}
	proc, err := startProcess(string(s.flavor), s.args, s.out)
	if err != nil {
		return fmt.Errorf("localredis: start %s: %w", s.flavor, err)
	}
	s.mu.Lock()
	s.proc, s.frozen = proc, false
	s.mu.Unlock()
	err = s.awaitReady(ctx, proc)
	if err == nil && s.setup != nil {
		_, err = s.Do(ctx, s.setup...)
	}
	if err != nil {
		_ = proc.kill()
		return fmt.Errorf("%w\nlast lines of its log:\n%s", err, s.out.last(logQuoted))
	}
	return nil
}

// awaitReady waits until proc itself, and no other server that got hold of the
// port, answers PING and has loaded its data.
func (s *Server) awaitReady(ctx context.Context, proc *process) error {
	what := fmt.Sprintf("start %s on %s", s.flavor, s.Addr())
	return poll(ctx, what, func(ctx context.Context) error {
		if proc.exited() {
			if proc.err == nil {
				return permanent(errors.New("it exited at once"))
			}
			return permanent(fmt.Errorf("it exited: %w", proc.err))
		}
		replies, err := s.doAll(ctx, []string{"PING"}, []string{"INFO", "server"})
		if err != nil {
			return err
		}
		switch pong := replies[0].(type) {
		case RedisError:
			// A server that wants a password is up, and cannot be asked more.
			if strings.HasPrefix(string(pong), "NOAUTH") {
				return nil
			}
			return pong
		case string:
			info, _ := replies[1].(string)
			if pid := infoField(info, "process_id"); pid != strconv.Itoa(proc.os.Pid) {
				return fmt.Errorf("process %q answers instead of %d", pid, proc.os.Pid)
			}
			return nil
		}
		return errProtocol
	})
}

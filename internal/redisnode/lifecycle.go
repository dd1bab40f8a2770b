package redisnode

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kill ends the program as SIGKILL does, frozen or not, and waits until it is
// gone. A server that does not run is left as it is, with a nil error.
func (s *Server) Kill() error {
	ctx, cancel := withTimeout(context.WithoutCancel(s.lifetime), defaultTimeout)
	defer cancel()
	s.life.Lock()
	defer s.life.Unlock()
	return s.kill(ctx)
}

// Start runs a server again that was killed or has exited: same announced
// address, same data, and so the same cluster node id. It blocks until the
// server answers, for at most 30 s, and fails if the server runs already.
func (s *Server) Start() error {
	ctx, cancel := withTimeout(s.lifetime, defaultTimeout)
	defer cancel()
	s.life.Lock()
	defer s.life.Unlock()
	return s.run(ctx)
}

// Restart is [Server.Kill] followed by [Server.Start].
func (s *Server) Restart() error {
	ctx, cancel := withTimeout(s.lifetime, defaultTimeout)
	defer cancel()
	s.life.Lock()
	defer s.life.Unlock()
	if err := s.kill(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}

// Freeze stops the program as SIGSTOP does: connections stay open and are
// accepted by the kernel, and nothing is answered. It has stopped when Freeze
// returns. Freezing a frozen server does nothing; one that does not run is an
// error.
func (s *Server) Freeze() error { return s.freeze(true) }

// Thaw lets a frozen program continue. Thawing one that is not frozen does
// nothing; one that does not run is an error.
func (s *Server) Thaw() error { return s.freeze(false) }

func (s *Server) freeze(freeze bool) error {
	ctx, cancel := withTimeout(s.lifetime, defaultTimeout)
	defer cancel()
	s.life.Lock()
	defer s.life.Unlock()
	what, do := "thaw", s.machine.Thaw
	if freeze {
		what, do = "freeze", s.machine.Freeze
	}
	if !s.Running() {
		return fmt.Errorf("redisnode: %s %s: server does not run", what, s)
	}
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	if frozen == freeze {
		return nil
	}
	if err := do(ctx); err != nil {
		return fmt.Errorf("redisnode: %s %s: %w", what, s, err)
	}
	s.mu.Lock()
	s.frozen = freeze
	s.mu.Unlock()
	// A server that was isolated while it was frozen could not be told.
	if !freeze {
		return s.settleCut(ctx)
	}
	return nil
}

// Stop kills the program and gives back everything it took. The server cannot be
// started again; its log stays readable. A Start that is under way fails. Stop is
// idempotent.
func (s *Server) Stop() {
	s.end()
	s.life.Lock()
	defer s.life.Unlock()
	s.machine.Remove()
	s.mu.Lock()
	s.stopped, s.ran = true, false
	s.mu.Unlock()
}

// kill needs life to be held.
func (s *Server) kill(ctx context.Context) error {
	if !s.Running() {
		return nil
	}
	if err := s.machine.Kill(ctx); err != nil {
		return fmt.Errorf("redisnode: kill %s: %w", s, err)
	}
	s.mu.Lock()
	s.ran, s.frozen = false, false
	s.mu.Unlock()
	return nil
}

// run starts the program and waits until it answers. It needs life to be held.
func (s *Server) run(ctx context.Context) error {
	s.mu.Lock()
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		return ErrStopped
	}
	if s.Running() {
		return fmt.Errorf("redisnode: start %s: server runs already", s)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("redisnode: start %s: %w", s, err)
	}
	if err := s.machine.Run(ctx); err != nil {
		return fmt.Errorf("redisnode: start %s: %w%s", s.machine.Name(), err, s.quotedLog())
	}
	s.mu.Lock()
	s.ran, s.frozen = true, false
	s.cutDone, s.changed = false, nil // the program has read its configuration again
	s.mu.Unlock()
	err := s.awaitReady(ctx)
	if err == nil && s.setup != nil {
		_, err = s.Do(ctx, s.setup...)
	}
	if err == nil {
		err = s.settleCut(ctx)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%w%s", err, s.quotedLog())
	// The context may be what has ended, and the program has to end anyway.
	ctx, cancel := withTimeout(context.WithoutCancel(ctx), defaultTimeout)
	defer cancel()
	return errors.Join(err, s.kill(ctx))
}

// quotedLog returns the end of the log for the end of an error message.
func (s *Server) quotedLog() string {
	if log := s.machine.Log(logQuoted); log != "" {
		return "\nlast lines of its log:\n" + log
	}
	return ""
}

// awaitReady waits until the program itself, and no other server that got hold
// of the port, answers PING and has loaded its data.
func (s *Server) awaitReady(ctx context.Context) error {
	what := fmt.Sprintf("start %s on %s", s.machine.Name(), s)
	return poll(ctx, what, func(ctx context.Context) error {
		if exited, err := s.machine.Exited(); exited {
			if err == nil {
				return permanent(errors.New("it exited at once"))
			}
			return permanent(fmt.Errorf("it exited: %w", err))
		}
		replies, err := s.Pipeline(ctx, []string{"PING"}, []string{"INFO", "server"})
		if err != nil {
			return err
		}
		switch pong := replies[0].(type) {
		case RedisError:
			// A server that wants a password which Access does not know is up,
			// and cannot be asked more.
			if strings.HasPrefix(string(pong), "NOAUTH") {
				return nil
			}
			return pong
		case string:
			return s.checkPid(replies[1])
		}
		return errProtocol
	})
}

func (s *Server) checkPid(info any) error {
	want := s.machine.Pid()
	if want == 0 {
		return nil
	}
	text, _ := info.(string)
	if pid := infoField(text, "process_id"); pid != strconv.Itoa(want) {
		return fmt.Errorf("process %q answers instead of %d", pid, want)
	}
	return nil
}

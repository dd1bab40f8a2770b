package redisnode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// ErrStopped is returned by methods of a server that [Server.Stop] has ended
// for good.
var ErrStopped = errors.New("redisnode: server is stopped")

// Bounds of what is kept of, and quoted from, a server's output, in bytes.
const (
	logKept   = 128 << 10
	logQuoted = 4 << 10
)

// Server is one server on its machine. [Start] makes one that runs; the zero
// value is of no use.
type Server struct {
	machine   Machine
	access    Access
	announced Address
	setup     []string // command to send after every start; nil for none

	// lifetime ends with Stop, so that nobody has to wait for a start that has
	// become pointless.
	lifetime context.Context
	end      context.CancelFunc

	// life is held while the program is started, killed, frozen, thawed or
	// stopped. It is taken before mu.
	life sync.Mutex

	mu      sync.Mutex        // protects the fields below
	ran     bool              // Run has succeeded since the last Kill
	frozen  bool              // by Freeze
	stopped bool              // by Stop
	cut     bool              // replication is to be cut, also after a restart
	cutDone bool              // the running program has been told so
	changed map[string]string // values before SetConfig, by name
}

func newServer(m Machine, access Access, setup []string) *Server {
	s := &Server{machine: m, access: access, announced: m.Announced(), setup: setup}
	s.lifetime, s.end = context.WithCancel(context.Background())
	return s
}

// Addr returns "host:port" at which this process reaches the server. It may
// change when the server is started again.
func (s *Server) Addr() string { return s.machine.Addr() }

// Announced returns how the other servers reach this one. It never changes.
func (s *Server) Announced() Address { return s.announced }

// Port returns the announced client port. It never changes.
func (s *Server) Port() int { return s.announced.Port }

// String returns the announced "ip:port", which names the server in messages.
func (s *Server) String() string { return s.announced.String() }

// Machine returns what the server runs on.
func (s *Server) Machine() Machine { return s.machine }

// Pid returns the process id that INFO shows, 1 in most containers, or 0 while
// no process runs.
func (s *Server) Pid() int {
	if !s.Running() {
		return 0
	}
	return s.machine.Pid()
}

// Log returns the last 64 KiB or more of what the server printed, over all its
// starts. It works after Stop.
func (s *Server) Log() string { return s.machine.Log(logKept) }

// Do sends one command on a connection of its own and returns the reply: a
// string, an int64, nil, or []any of these. It authenticates as the server's
// [Access] says, speaks RESP2, follows no redirect and retries nothing. What
// belongs to a connection ends with the call: MULTI, ASKING, and the writes that
// WAIT looks at. An error reply is returned as a [RedisError]; within an array
// it is an element. Do blocks until ctx ends when the server is frozen, for 5 s
// if ctx has no deadline.
func (s *Server) Do(ctx context.Context, args ...string) (any, error) {
	replies, err := s.Pipeline(ctx, args)
	if err != nil {
		return nil, err
	}
	if e, ok := replies[0].(RedisError); ok {
		return nil, e
	}
	return replies[0], nil
}

// Pipeline sends several commands in one write on one connection and returns one
// reply for each. Error replies are values of type [RedisError] among them; the
// error is for the connection. Apart from that it is as [Server.Do].
func (s *Server) Pipeline(ctx context.Context, cmds ...[]string) ([]any, error) {
	if len(cmds) == 0 {
		return nil, nil
	}
	ctx, cancel := withTimeout(ctx, commandTimeout)
	defer cancel()
	replies, err := roundTrip(ctx, s.Addr(), s.access, cmds...)
	if err != nil {
		return nil, fmt.Errorf("redisnode: %s to %s: %w", commandName(cmds[0]), s, err)
	}
	return replies, nil
}

// doAll is Pipeline that fails with the first error reply.
func (s *Server) doAll(ctx context.Context, cmds ...[]string) ([]any, error) {
	replies, err := s.Pipeline(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	for i, reply := range replies {
		if e, failed := reply.(RedisError); failed {
			return nil, fmt.Errorf("redisnode: %s at %s: %w", commandName(cmds[i]), s, e)
		}
	}
	return replies, nil
}

// doString is Do for commands that answer with text.
func (s *Server) doString(ctx context.Context, args ...string) (string, error) {
	reply, err := s.Do(ctx, args...)
	if err != nil {
		return "", err
	}
	text, ok := reply.(string)
	if !ok {
		return "", fmt.Errorf("redisnode: %s to %s: unexpected reply %v", commandName(args), s, reply)
	}
	return text, nil
}

// commandName returns the words of a command that are not its data.
func commandName(args []string) string {
	return strings.Join(args[:min(2, len(args))], " ")
}

// Running reports whether the program runs, frozen or not.
func (s *Server) Running() bool {
	s.mu.Lock()
	ran := s.ran
	s.mu.Unlock()
	if !ran {
		return false
	}
	exited, _ := s.machine.Exited()
	return !exited
}

// Responsive reports whether the server can be expected to answer: it runs and
// [Server.Freeze] has not stopped it.
func (s *Server) Responsive() bool {
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	return !frozen && s.Running()
}

// Describe returns what a reader of a failed test wants to know of the server:
// its state and at most n bytes from the end of its log.
func (s *Server) Describe(n int) string {
	state := "running"
	if !s.Responsive() {
		state = "killed or frozen"
	}
	return fmt.Sprintf("%s %s (%s), end of its log:\n%s", s.machine.Name(), s, state, s.machine.Log(n))
}

// infoField returns the value of a "name:value" line of INFO or CLUSTER INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimRight(value, "\r\n")
		}
	}
	return ""
}

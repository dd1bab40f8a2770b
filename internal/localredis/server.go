package localredis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

// ErrStopped is returned by methods of a server that [Server.Stop] has ended
// for good.
var ErrStopped = errors.New("localredis: server is stopped")

// Server is one server process and what outlives it: its ports, directory,
// configuration and log. [Start] makes one that runs; the zero value is of no
// use.
type Server struct {
	flavor Flavor
	args   []string // complete command line
	dir    string
	temp   *dataDir // dir, if it is ours to remove; else nil
	port   int
	held   []*reservation
	out    *tail
	bus    int      // cluster bus port, 0 without cluster mode
	setup  []string // command to send after every start; nil for none

	// life is held while the process is started, killed, frozen, thawed or
	// stopped. It is taken before mu.
	life sync.Mutex

	mu      sync.Mutex // protects the fields below
	proc    *process   // the last one; nil before the first start
	frozen  bool       // by Freeze
	stopped bool       // by Stop
}

// Addr returns "127.0.0.1:port". It never changes.
func (s *Server) Addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Port returns the client port. It never changes.
func (s *Server) Port() int { return s.port }

// Pid returns the process id, or 0 while no process runs.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.aliveLocked() {
		return 0
	}
	return s.proc.os.Pid
}

// Log returns the last 64 KiB or more of what the server printed, over all its
// starts.
func (s *Server) Log() string { return s.out.last(2 * logKept) }

// Do sends one command on a connection of its own and returns the reply: a
// string, an int64, nil, or []any of these. It speaks RESP2, follows no
// redirect and retries nothing. What belongs to a connection ends with the
// call: MULTI, ASKING, and the writes that WAIT looks at. An error reply is returned as a [RedisError];
// within an array it is an element. Do blocks until ctx ends when the server is
// frozen, for 5 s if ctx has no deadline.
func (s *Server) Do(ctx context.Context, args ...string) (any, error) {
	replies, err := s.doAll(ctx, args)
	if err != nil {
		return nil, err
	}
	if e, ok := replies[0].(RedisError); ok {
		return nil, e
	}
	return replies[0], nil
}

// doAll sends several commands on one connection; see roundTrip.
func (s *Server) doAll(ctx context.Context, cmds ...[]string) ([]any, error) {
	ctx, cancel := withTimeout(ctx, commandTimeout)
	defer cancel()
	replies, err := roundTrip(ctx, s.Addr(), cmds...)
	if err != nil {
		return nil, fmt.Errorf("localredis: %s to %s: %w", commandName(cmds[0]), s.Addr(), err)
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
		return "", fmt.Errorf("localredis: %s to %s: unexpected reply %v", commandName(args), s.Addr(), reply)
	}
	return text, nil
}

// commandName returns the words of a command that are not its data.
func commandName(args []string) string {
	return strings.Join(args[:min(2, len(args))], " ")
}

// aliveLocked reports whether a process runs, frozen or not.
func (s *Server) aliveLocked() bool { return s.proc != nil && !s.proc.exited() }

// responsive reports whether the server can be expected to answer: it runs and
// [Server.Freeze] has not stopped it.
func (s *Server) responsive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aliveLocked() && !s.frozen
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

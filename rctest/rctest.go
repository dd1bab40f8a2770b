// Package rctest is an in-process Redis for unit tests of code that uses
// package rc, with client tracking working, so that the whole library runs on
// it unchanged: no server, no port, no docker. Time can be moved, and faults
// can be injected.
//
//	func TestUsers(t *testing.T) {
//		m, srv := rctest.New(t)
//		users, _ := rc.New(m, "users", rc.Config[User]{TTL: time.Minute})
//		…
//		srv.FastForward(2 * time.Minute)
//	}
//
// It knows the commands of Redis that a cache and its users need, hashes, sets
// and scripts among them, on one standalone node. What it does is held against
// real Redis and Valkey servers by this module's contract tests. It has no
// persistence, no replication, no cluster and no eviction; tests of those want
// a real server.
//
// In a testing/synctest bubble everything runs on the bubble's time, if server
// and Managers are made and closed inside it. rueidis leaves sleepers behind for
// some seconds after Close, so let the bubble sleep for ten seconds at its end.
package rctest

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/fakeredis"
	"github.com/fleetcache/fleetcache/internal/near"
	"github.com/fleetcache/fleetcache/internal/testclock"
	"github.com/fleetcache/fleetcache/rc"
)

// TB is the part of testing.TB that this package uses.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Context() context.Context
}

// New starts a server and opens a Manager on it, both closed when the test
// ends. Options are the defaults, but for an OpTimeout of 2s and a MaxStaleness
// of 10s: that a machine is busy with tests is no outage. More Managers on the
// same server, as other instances of a service would have, come from
// [Server.Open], with Options as they are given.
func New(tb TB) (*rc.Manager, *Server) {
	tb.Helper()
	s := Start()
	tb.Cleanup(s.Close)
	m, err := s.Open(tb.Context(), rc.Options{OpTimeout: 2 * time.Second, MaxStaleness: 10 * time.Second})
	if err != nil {
		tb.Fatalf("rctest: %v", err)
	}
	return m, s
}

// A Server is an in-process Redis. Make it with [Start] or [New]. All methods
// are safe for concurrent use.
type Server struct {
	fake *fakeredis.Server

	mu       sync.Mutex // protects managers, clocks
	managers []*rc.Manager
	clocks   []*near.Clock
}

// Start starts a server. Close it when done.
func Start() *Server { return &Server{fake: fakeredis.New()} }

// Close closes the Managers opened with [Server.Open], and the server.
func (s *Server) Close() {
	s.mu.Lock()
	managers := s.managers
	s.managers = nil
	s.mu.Unlock()
	s.fake.Thaw()
	for _, m := range managers {
		_ = m.Close() // what it leaves undelivered dies with the server
	}
	s.fake.Close()
}

// Open opens a Manager on the server: one instance of a service. It is closed
// with the server, at the latest.
func (s *Server) Open(ctx context.Context, opts rc.Options) (*rc.Manager, error) {
	return s.OpenDial(ctx, opts, s.fake.Dial)
}

// OpenDial is [Server.Open] over connections that dial makes, which can wrap
// those of [Server.Dial] to break the link of one instance.
func (s *Server) OpenDial(ctx context.Context, opts rc.Options, dial func(context.Context) (net.Conn, error)) (*rc.Manager, error) {
	clock := near.NewClock()
	opt := s.fake.ClientOption()
	opt.DialCtxFn = func(ctx context.Context, _ string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) { return dial(ctx) }
	m, err := rc.OpenClient(testclock.With(ctx, clock), opt, opts)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.managers = append(s.managers, m)
	s.clocks = append(s.clocks, clock)
	return m, nil
}

// Dial connects to the server. Nothing listens; connections live in memory.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) { return s.fake.Dial(ctx) }

// ClientOption returns what a rueidis client of one's own needs to connect.
func (s *Server) ClientOption() rueidis.ClientOption { return s.fake.ClientOption() }

// FastForward moves the time of the server, and of the memory tier of its
// Managers, forward by d. Values whose time has come are gone when it returns.
// Timers of the Managers, such as those of leases and load timeouts, are not
// moved; use a synctest bubble for those.
func (s *Server) FastForward(d time.Duration) {
	s.fake.FastForward(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clocks {
		c.Advance(d)
	}
}

// DropConnections closes every connection and returns how many there were.
// Clients connect again.
func (s *Server) DropConnections() int { return s.fake.DropConnections() }

// Refuse makes the server unreachable: connections are dropped and refused
// until it is called with false.
func (s *Server) Refuse(on bool) { s.fake.Refuse(on) }

// Delay makes each reply come later by d. 0 ends it.
func (s *Server) Delay(d time.Duration) { s.fake.Delay(d) }

// Freeze makes the server silent, its connections open, until [Server.Thaw].
// Requests queue, and are answered then.
func (s *Server) Freeze() { s.fake.Freeze() }

// Thaw ends [Server.Freeze].
func (s *Server) Thaw() { s.fake.Thaw() }

// FailNext makes the next n calls of a command, from clients or scripts' own
// clients, answer with an error, such as "OOM command not allowed" or "LOADING
// Redis is loading the dataset in memory".
func (s *Server) FailNext(command, errText string, n int) { s.fake.FailNext(command, errText, n) }

// Hold makes the next call of a command wait, before it is executed, until
// release is called. arrived is closed when it is there. The connection it
// came over waits with it; others go on.
func (s *Server) Hold(command string) (arrived <-chan struct{}, release func()) {
	return s.fake.Hold(command)
}

// Commands returns how often each command was executed for clients since the
// start, or since [Server.ResetCommands]. Calls from within scripts are not
// counted.
func (s *Server) Commands() map[string]int64 { return s.fake.Commands() }

// ResetCommands sets the counts of [Server.Commands] to zero.
func (s *Server) ResetCommands() { s.fake.ResetCommands() }

// Do executes a command as another client would: the Managers are told of what
// it changes.
func (s *Server) Do(args ...string) (any, error) { return s.fake.Do(args...) }

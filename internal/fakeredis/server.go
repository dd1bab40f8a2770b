package fakeredis

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/rueidis"
)

// address is what clients believe to be connected to. Nothing listens there.
const address = "fake:6379"

// Server is a Redis server inside this process. Its clients connect with
// [Server.Dial]; there is no listener. In a testing/synctest bubble the server,
// its clients and all their goroutines must be created inside the bubble.
//
// All methods are safe for concurrent use. The zero value is not usable, see
// [New].
type Server struct {
	mini *miniredis.Miniredis
	srv  *server.Server
	done chan struct{}  // closed by Close
	wg   sync.WaitGroup // one per session goroutine, one per armed expiry timer

	mu sync.Mutex // protects everything below, all sessions, and all use of srv

	closed   bool
	sessions map[*session]struct{} // connected clients
	lastID   int
	counts   map[string]int64

	caller    *session       // whose command runs now; nil between commands
	passing   *server.Peer   // the peer that miniredis runs a command for; see intercept
	scratch   *peer          // for our own questions to miniredis
	nested    *peer          // runs the calls of scripts
	scriptErr string         // last error reply inside the running script
	changed   chan struct{}  // closed and replaced when a key changes while waiters > 0
	waiters   int            // sessions in a blocking command
	watchers  sessionsByName // key -> sessions that WATCH it

	table  trackingTable
	subs   [pubsubKinds]sessionsByName
	expiry expiry

	refuse   bool
	delay    time.Duration
	frozen   chan struct{} // closed by Thaw; nil when not frozen
	failures map[string][]failure
	holds    map[string][]*hold
}

// peer is a connection in the eyes of miniredis, answering into a buffer.
type peer struct {
	*server.Peer
	buf bytes.Buffer
}

func newPeer() *peer {
	p := &peer{}
	p.Peer = server.NewPeer(bufio.NewWriterSize(&p.buf, 512))
	return p
}

// New returns a running, empty server. Close it when done.
func New() *Server {
	s := &Server{
		mini:     miniredis.NewMiniRedis(),
		done:     make(chan struct{}),
		sessions: map[*session]struct{}{},
		counts:   map[string]int64{},
		scratch:  newPeer(),
		nested:   newPeer(),
		changed:  make(chan struct{}),
		watchers: sessionsByName{},
		table:    trackingTable{keys: sessionsByName{}},
		failures: map[string][]failure{},
		holds:    map[string][]*hold{},
	}
	for i := range s.subs {
		s.subs[i] = sessionsByName{}
	}
	// Dial is miniredis' only way to start without a listener. Its connection
	// is not needed: requests are dispatched directly.
	c, err := s.mini.Dial()
	if err != nil {
		panic(fmt.Sprintf("fakeredis: start miniredis: %v", err)) // it cannot fail without a listener
	}
	c.Close()
	s.srv = s.mini.Server()
	s.srv.SetPreHook(s.intercept)
	s.expiry.init(s)
	return s
}

// Close disconnects all clients and stops the server. It waits for every
// goroutine of the server to end. Later dials are refused.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.done)
	s.dropLocked(func(*session) bool { return true })
	s.expiry.stop()
	s.mu.Unlock()
	s.wg.Wait()
	s.mini.Close()
}

// Dial connects a new client. It never blocks. It fails as an operating system
// does (errors.Is ECONNREFUSED) after Close and while [Server.Refuse] is on.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.refuse {
		err := os.NewSyscallError("connect", syscall.ECONNREFUSED)
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: err}
	}
	s.lastID++
	sess := newSession(s.lastID, newConn(fmt.Sprintf("client:%d", s.lastID)))
	sess.conn.in.hold(s.frozen != nil)
	s.sessions[sess] = struct{}{}
	s.wg.Go(func() { s.serve(sess) }) // ends when the connection does; joined by Close
	return sess.conn, nil
}

// DialCtxFn returns Dial in the form that rueidis.ClientOption.DialCtxFn wants.
// The address and the dialer are ignored.
func (s *Server) DialCtxFn() func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, _ string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
		return s.Dial(ctx)
	}
}

// ClientOption returns the options with which a rueidis client reaches this
// server, everything else at its default.
func (s *Server) ClientOption() rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress:       []string{address},
		DialCtxFn:         s.DialCtxFn(),
		ForceSingleClient: true,
	}
}

// FastForward moves the server's clock forward by d: lifetimes shrink, keys
// whose time has come vanish, and their trackers are told, before FastForward
// returns. A d of zero or less does nothing.
func (s *Server) FastForward(d time.Duration) {
	if d <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expiry.offset += d
	s.expireLocked()
}

// Commands returns how many commands clients have executed, by name in
// capitals. A transaction counts its commands when they run. Not counted are
// calls made by scripts, [Server.Do], unknown commands, and calls that
// [Server.FailNext] answered.
func (s *Server) Commands() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]int64, len(s.counts))
	for name, n := range s.counts {
		m[name] = n
	}
	return m
}

// ResetCommands sets all counts of [Server.Commands] to zero.
func (s *Server) ResetCommands() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.counts)
}

// Connections returns the number of connected clients.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Do runs one command as an outside client would, on a connection of its own
// that speaks RESP2 and lasts for this call (so MULTI, SELECT or SUBSCRIBE have
// no lasting effect). It changes keys and causes pushes like any command, but is
// beyond all faults: it works while the server is frozen and refuses. It never
// blocks, blocking commands answer as if timed out.
//
// Strings come as string, integers as int64, null as nil, arrays as []any. An
// error reply is returned as an [Error].
func (s *Server) Do(args ...string) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("fakeredis: Do without a command")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	sess := newSession(0, nil)
	defer s.forget(sess)
	reply := s.process(sess, args)
	s.settle(sess, reply)
	if len(reply) == 0 {
		return nil, nil
	}
	v, _, err := parseReply(reply)
	if e, ok := v.(Error); ok {
		return nil, e
	}
	return v, err
}

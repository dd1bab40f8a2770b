package fakeredis

import (
	"strings"
	"sync"
	"time"
)

// failure answers the next n calls of a command with an error.
type failure struct {
	text string
	n    int
}

// hold stops one call of a command until it is released.
type hold struct {
	arrived  chan struct{}
	released chan struct{}
}

// DropConnections closes every client connection now and returns how many. A
// client loses what it has not received yet; a command that waits in a
// [Server.Hold] or a frozen server is not executed.
func (s *Server) DropConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropLocked(func(*session) bool { return true })
}

// Refuse, when on, drops all connections and lets new ones fail with
// "connection refused" until it is turned off.
func (s *Server) Refuse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = on
	if on {
		s.dropLocked(func(*session) bool { return true })
	}
}

// Delay lets everything the server sends from now on, replies and pushes, take d
// to arrive. Order is kept, also when d shrinks. Zero turns it off.
func (s *Server) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Freeze stops all traffic with clients, as a partition or a stopped process
// does: connections stay open (and new ones open), requests queue, nothing is
// executed for them, no reply or push arrives. The server's clock goes on, and
// [Server.Do] works: its pushes arrive after [Server.Thaw].
func (s *Server) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil {
		return
	}
	s.frozen = make(chan struct{})
	for sess := range s.sessions {
		sess.conn.in.hold(true)
	}
}

// Thaw ends [Server.Freeze]: what was held back is delivered, queued requests
// are executed.
func (s *Server) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen == nil {
		return
	}
	close(s.frozen)
	s.frozen = nil
	for sess := range s.sessions {
		sess.conn.in.hold(false)
	}
}

// FailNext lets the next n calls of command by clients answer -errText, for
// example "OOM command not allowed when used memory > 'maxmemory'.", without
// executing them. Inside MULTI the call fails when it is queued, so the
// transaction is discarded, as Redis does with such errors. Calls made by
// scripts are not affected: fail EVALSHA instead. Several calls of FailNext for
// one command add up in order; n of zero or less forgets them.
func (s *Server) FailNext(command, errText string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToUpper(command)
	if n <= 0 {
		delete(s.failures, name)
		return
	}
	s.failures[name] = append(s.failures[name], failure{errText, n})
}

// takeFailure uses up one failure of a command and returns its reply, or nil.
func (s *Server) takeFailure(name string) []byte {
	list := s.failures[name]
	if len(list) == 0 {
		return nil
	}
	reply := replyErrorf("%s", list[0].text)
	if list[0].n--; list[0].n == 0 {
		s.failures[name] = list[1:]
	}
	return reply
}

// Hold lets the next call of command wait before it is executed, until release.
// Only its connection waits, others go on. arrived is closed when the call has
// come. A command in a MULTI is held at its EXEC. Calls made by scripts are not
// held: hold EVALSHA instead. Several Holds of one command stop one call each.
//
// release may be called more than once; before the call has come it cancels the
// hold. If the client closes its connection meanwhile, the call is still
// executed on release, as a request that has reached a real server is; if the
// server drops the connection it is not.
func (s *Server) Hold(command string) (arrived <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToUpper(command)
	h := &hold{arrived: make(chan struct{}), released: make(chan struct{})}
	s.holds[name] = append(s.holds[name], h)
	return h.arrived, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		list := s.holds[name]
		for i := range list {
			if list[i] == h {
				s.holds[name] = append(list[:i:i], list[i+1:]...)
				break
			}
		}
		close(h.released)
	})
}

// takeHolds removes and returns the holds that stop this request.
func (s *Server) takeHolds(sess *session, name string) []*hold {
	var names []string
	switch {
	case sess.queue == nil:
		names = []string{name}
	case name == "EXEC":
		for _, args := range sess.queue {
			names = append(names, strings.ToUpper(args[0]))
		}
		names = append(names, name)
	}
	var taken []*hold
	for _, n := range names {
		if list := s.holds[n]; len(list) > 0 {
			taken = append(taken, list[0])
			s.holds[n] = list[1:]
		}
	}
	return taken
}

package fakeredis

import (
	"bufio"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// session is the server's side of one client. All fields but conn, gone and r
// are protected by Server.mu.
type session struct {
	id   int
	conn *conn // nil for Server.Do
	r    *bufio.Reader
	gone chan struct{} // closed when the server drops the client

	peer    *peer
	name    string // CLIENT SETNAME
	dead    bool   // dropped by the server
	quit    bool   // close after the reply
	pending []byte // pushes to send behind the reply of the running command

	tracking tracking

	queue      [][]string // commands since MULTI; nil outside
	dirty      bool       // a command could not be queued: EXEC must fail
	watching   map[string]struct{}
	watchDirty bool // a watched key has changed

	subs [pubsubKinds]map[string]struct{}

	block *block // set while in a blocking command
}

func newSession(id int, c *conn) *session {
	sess := &session{id: id, conn: c, gone: make(chan struct{}), peer: newPeer()}
	if c != nil {
		sess.r = bufio.NewReader(reader{c.out})
	}
	return sess
}

// reader makes a stream an io.Reader.
type reader struct{ s *stream }

func (r reader) Read(p []byte) (int, error) { return r.s.read(p) }

func (sess *session) resp3() bool { return sess.peer.Resp3 }

// sessionsByName maps keys or channels to those who wait to hear of them.
type sessionsByName map[string]map[*session]struct{}

func (m sessionsByName) add(name string, sess *session) {
	set := m[name]
	if set == nil {
		set = map[*session]struct{}{}
		m[name] = set
	}
	set[sess] = struct{}{}
}

func (m sessionsByName) remove(name string, sess *session) {
	delete(m[name], sess)
	if len(m[name]) == 0 {
		delete(m, name)
	}
}

// sorted returns the sessions of name in the order they connected, so that what
// happens on several connections happens in the same order in every run.
func (m sessionsByName) sorted(name string) []*session { return sortSessions(m[name]) }

func sortSessions(set map[*session]struct{}) []*session {
	return slices.SortedFunc(maps.Keys(set), func(a, b *session) int { return a.id - b.id })
}

// serve reads and runs the requests of one client until either side closes.
func (s *Server) serve(sess *session) {
	for {
		args, err := readRequest(sess.r)
		if err != nil {
			s.mu.Lock()
			if errors.Is(err, errProtocol) && !sess.dead {
				s.send(sess, replyErrorf("%v", err))
			}
			break
		}
		if len(args) == 0 {
			continue
		}
		if !s.admit(sess, args) {
			break
		}
		reply := s.process(sess, args)
		if sess.block != nil {
			reply = s.waitLocked(sess)
		}
		s.settle(sess, reply)
		if sess.quit || sess.dead {
			break
		}
		s.mu.Unlock()
	}
	delete(s.sessions, sess)
	s.forget(sess)
	sess.conn.in.closeWrite()
	sess.conn.out.closeRead()
	s.mu.Unlock()
}

// admit waits until faults let a request pass and takes the lock. It reports
// whether the client is still there to have it run; the lock is held either way.
func (s *Server) admit(sess *session, args []string) bool {
	held := false
	for {
		s.mu.Lock()
		if sess.dead {
			return false
		}
		if s.frozen != nil {
			thawed := s.frozen
			s.mu.Unlock()
			select {
			case <-thawed:
			case <-sess.gone:
			}
			continue
		}
		var holds []*hold
		if !held {
			holds = s.takeHolds(sess, strings.ToUpper(args[0]))
		}
		if len(holds) == 0 {
			return true
		}
		held = true // and then look again: the server may be frozen by then
		s.mu.Unlock()
		for _, h := range holds {
			close(h.arrived)
			select {
			case <-h.released:
			case <-sess.gone:
			}
		}
	}
}

// send writes to a client at once.
func (s *Server) send(sess *session, b []byte) {
	if sess.conn == nil || sess.dead {
		return
	}
	// The only error is that the client has closed: it does not want this.
	_ = sess.conn.in.write(b, s.delay)
}

// push sends an out-of-band message. The client whose command is running gets
// it behind the reply, so that a reply is never split.
func (s *Server) push(sess *session, b []byte) {
	if sess == s.caller {
		sess.pending = append(sess.pending, b...)
		return
	}
	s.send(sess, b)
}

// settle ends a command: its reply is sent, then what it pushes to its own
// client, then the broadcasts.
func (s *Server) settle(sess *session, reply []byte) {
	s.caller = nil
	s.send(sess, append(reply, sess.pending...))
	sess.pending = nil
	s.broadcast()
	s.expiry.arm()
}

// forget removes every trace of a client that is gone.
func (s *Server) forget(sess *session) {
	s.table.forget(sess)
	s.unwatch(sess)
	for kind := range sess.subs {
		for name := range sess.subs[kind] {
			s.subs[kind].remove(name, sess)
		}
	}
}

// drop disconnects a client: what it has not received yet is lost.
func (s *Server) drop(sess *session) {
	if sess.dead {
		return
	}
	sess.dead = true
	close(sess.gone)
	delete(s.sessions, sess)
	s.forget(sess)
	sess.conn.in.cut()
	sess.conn.out.closeRead()
}

// dropLocked disconnects the clients that which selects and returns how many.
func (s *Server) dropLocked(which func(*session) bool) int {
	n := 0
	for _, sess := range sortSessions(s.sessions) {
		if which(sess) {
			s.drop(sess)
			n++
		}
	}
	return n
}

// block is a command that waits for a key to get something.
type block struct {
	args     []string
	deadline time.Time // zero means none
}

// waitLocked repeats a blocking command until it has a result or its time is
// up, and returns the reply. The lock is free while it waits.
func (s *Server) waitLocked(sess *session) []byte {
	b := sess.block
	defer func() { sess.block = nil }()
	for {
		s.settle(sess, nil)
		var timeout <-chan time.Time
		var timer *time.Timer
		if !b.deadline.IsZero() {
			timer = time.NewTimer(time.Until(b.deadline))
			timeout = timer.C
		}
		changed, late := s.changed, false
		s.waiters++
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			late = true
		case <-sess.gone:
		case <-sess.conn.hup:
		}
		if timer != nil {
			timer.Stop()
		}
		s.mu.Lock()
		s.waiters--
		select {
		case <-sess.conn.hup:
			sess.quit = true
		default:
		}
		if sess.dead || sess.quit || late {
			return nothing(b.args[0], sess.resp3())
		}
		s.expireLocked()
		s.caller = sess
		if reply := s.attempt(sess, b.args); !isNull(reply) {
			return reply
		}
	}
}

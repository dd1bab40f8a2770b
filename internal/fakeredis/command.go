package fakeredis

import (
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// handler runs a command that miniredis does not have or has otherwise. args is
// without the name. The result is the complete reply.
type handler struct {
	run      func(s *Server, sess *session, args []string) []byte
	min, max int // number of args; max < 0 means any
}

// handlerOf returns our own implementation of a command. A switch and not a
// map, because several handlers lead back here.
func handlerOf(name string) (handler, bool) {
	if h, ok := connectionHandlers[name]; ok {
		return h, true
	}
	switch name {
	case "MULTI":
		return handler{(*Server).multi, 0, 0}, true
	case "EXEC":
		return handler{(*Server).exec, 0, 0}, true
	case "DISCARD":
		return handler{(*Server).discard, 0, 0}, true
	case "WATCH":
		return handler{(*Server).watch, 1, -1}, true
	case "UNWATCH":
		return handler{func(s *Server, sess *session, _ []string) []byte {
			s.unwatch(sess)
			return simple("OK")
		}, 0, 0}, true
	case "EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO":
		return handler{func(s *Server, sess *session, args []string) []byte {
			return s.eval(sess, name, args)
		}, 2, -1}, true
	}
	return handler{}, false
}

// refused are commands of miniredis that a Redis 7 has not, or whose miniredis
// version depends on a clock that stands still here.
func refused(name string) bool {
	switch name {
	case "HEXPIRE", "HPEXPIRE", "HPERSIST", "HTTL", "HPTTL", "HSETEX", "HGETEX", "DELEX":
		return true
	}
	return false
}

func (s *Server) known(name string) bool {
	if _, ok := handlerOf(name); ok {
		return true
	}
	return s.srv.IsRegisteredCommand(name) && !refused(name)
}

func unknownCommand(args []string) []byte {
	text := "ERR unknown command '" + clip(args[0]) + "', with args beginning with: "
	for _, a := range args[1:] {
		if len(text) > 128 {
			break
		}
		text += "'" + clip(a) + "' "
	}
	return replyErrorf("%s", text)
}

func clip(s string) string {
	if len(s) > 128 {
		return s[:128]
	}
	return s
}

// process runs a request as it came from a client and returns its reply, nil if
// the command is now waiting (sess.block).
func (s *Server) process(sess *session, args []string) []byte {
	s.expireLocked()
	s.caller = sess
	name := strings.ToUpper(args[0])
	// CLIENT CACHING is about the next command only, or the next transaction.
	defer func() {
		if sess.queue == nil && name != "CLIENT" {
			sess.tracking.caching = cachingUnset
		}
	}()
	reply := s.reject(sess, name, args)
	if reply != nil {
		sess.dirty = sess.queue != nil
		return reply
	}
	if sess.queue != nil && !immediate(name) {
		sess.queue = append(sess.queue, args)
		return simple("QUEUED")
	}
	return s.call(sess, name, args[1:])
}

// immediate reports whether a command runs at once even inside MULTI.
func immediate(name string) bool {
	switch name {
	case "MULTI", "EXEC", "DISCARD", "WATCH", "QUIT":
		return true
	}
	return false
}

// reject returns the error that keeps a request from being run, or nil.
func (s *Server) reject(sess *session, name string, args []string) []byte {
	if sess.conn != nil {
		if reply := s.takeFailure(name); reply != nil {
			if name == "EXEC" || name == "DISCARD" {
				s.leaveMulti(sess) // Redis never stays in a transaction after these
			}
			return reply
		}
	}
	if !s.known(name) {
		return unknownCommand(args)
	}
	if h, ok := handlerOf(name); ok {
		if n := len(args) - 1; n < h.min || h.max >= 0 && n > h.max {
			return wrongArity(name)
		}
	} else if sess.queue != nil {
		if reply := s.tryQueue(args); reply != nil {
			return reply
		}
	}
	if !sess.resp3() && sess.subscriptions() > 0 && !allowedSubscribed(name) {
		return replyErrorf("ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "+
			"RESET are allowed in this context", strings.ToLower(name))
	}
	return nil
}

// tryQueue finds the arity errors of a miniredis command without running it, by
// queueing it in a transaction that is thrown away. Other errors are those of
// running it: miniredis finds some of them while queueing, Redis does not.
func (s *Server) tryQueue(args []string) []byte {
	s.ask(nil, "MULTI")
	reply := s.ask(nil, args...)
	s.ask(nil, "DISCARD")
	if strings.HasPrefix(string(reply), "-ERR wrong number of arguments") {
		return wrongArity(args[0])
	}
	return nil
}

// call runs a command for a client, directly or within EXEC.
func (s *Server) call(sess *session, name string, args []string) []byte {
	if sess.conn != nil {
		s.counts[name]++
	}
	if h, ok := handlerOf(name); ok {
		return h.run(s, sess, args)
	}
	if timeout, ok := blocking(name, args); ok {
		full := append([]string{name}, s.resolveLast(name, args)...)
		reply := s.attempt(sess, full)
		if isNull(reply) && sess.queue == nil && sess.conn != nil {
			sess.block = &block{args: full}
			if timeout > 0 {
				sess.block.deadline = time.Now().Add(timeout)
			}
			return nil
		}
		return reply
	}
	return s.run(sess, sess.peer, name, args)
}

// run lets miniredis execute a command on p and does what miniredis leaves
// undone: lifetimes, tracking of what was read, pushes for what was changed.
// It serves clients and scripts; sess is the client in both cases.
func (s *Server) run(sess *session, p *peer, name string, args []string) []byte {
	keys := keysOf(name, args)
	if s.reads(name) {
		if readsLifetime(name) {
			s.expiry.refresh(p.Ctx, keys)
		}
		reply := s.execute(p, name, args)
		s.track(sess, keys)
		return reply
	}
	s.expiry.refresh(p.Ctx, keys)
	before := s.observe(p.Ctx, name, keys)
	reply := s.execute(p, name, args)
	if isError(reply) {
		return reply
	}
	s.expiry.learn(p.Ctx, keys)
	s.announce(name, args, keys, before, reply)
	return reply
}

// execute runs a command as miniredis has it, but for the few that it answers
// otherwise than Redis.
func (s *Server) execute(p *peer, name string, args []string) []byte {
	switch name {
	case "TTL": // miniredis cuts, Redis rounds
		if ms := intReply(s.dispatch(p, append([]string{"PTTL"}, args...))); len(args) == 1 && ms >= 0 {
			return integer((ms + 500) / 1000)
		}
	case "SETRANGE":
		if len(args) == 3 && args[2] == "" { // miniredis would create the key
			return s.dispatch(p, []string{"STRLEN", args[0]})
		}
	case "FLUSHALL", "FLUSHDB":
		return s.flush(p, name, args)
	case "SCAN":
		return s.scan(p, args)
	case "KEYS":
		return s.keys(p, args)
	case "HSCAN", "SSCAN", "ZSCAN":
		return s.scanInside(p, name, args)
	case "SELECT":
		if len(args) != 1 {
			break
		}
		if n, err := strconv.Atoi(args[0]); err == nil && n != 0 {
			return replyErrorf("ERR DB index is out of range")
		}
	case "SWAPDB", "MOVE":
		return replyErrorf("ERR DB index is out of range")
	case "COPY":
		for i, a := range args {
			if i >= 2 && strings.EqualFold(a, "DB") {
				return replyErrorf("ERR DB index is out of range")
			}
		}
	}
	return likeRedis(name, s.dispatch(p, append([]string{name}, args...)))
}

// likeRedis gives an error of miniredis the words of Redis.
func likeRedis(name string, reply []byte) []byte {
	if !isError(reply) {
		return reply
	}
	text := string(reply)
	switch {
	case strings.HasPrefix(text, "-ERR wrong number of arguments for "):
		if !strings.HasPrefix(text, "-ERR wrong number of arguments for '") {
			return wrongArity(name)
		}
	case strings.HasPrefix(text, "-ERR invalid expire time in "):
		return replyErrorf("ERR invalid expire time in '%s' command", strings.ToLower(name))
	}
	return reply
}

// dispatch lets miniredis run a command on p and returns the reply.
func (s *Server) dispatch(p *peer, args []string) []byte {
	outer := s.passing
	s.passing = p.Peer
	s.srv.Dispatch(p.Peer, args)
	s.passing = outer
	p.Flush()
	reply := append([]byte(nil), p.buf.Bytes()...)
	p.buf.Reset()
	return reply
}

// ask puts a question of our own to miniredis. ctx is the miniredis state of the
// connection it is asked for: inside a script that must be the script's, because
// miniredis' lock is taken already. nil outside. The reply is RESP2.
func (s *Server) ask(ctx any, args ...string) []byte {
	if ctx != nil {
		own := s.scratch.Ctx
		s.scratch.Ctx = ctx
		defer func() { s.scratch.Ctx = own }()
	}
	return s.dispatch(s.scratch, args)
}

// intercept is miniredis' pre-command hook. Commands that dispatch runs go on to
// miniredis; all others are calls from a script, whose connections miniredis
// makes up for each call.
func (s *Server) intercept(c *server.Peer, name string, args ...string) bool {
	if c == s.passing {
		return false
	}
	reply := s.callFromScript(c, name, args)
	if isError(reply) {
		s.scriptErr = strings.TrimSuffix(string(reply[1:]), "\r\n")
	}
	c.WriteRaw(string(reply))
	return true
}

// flush empties the database and tells everybody.
func (s *Server) flush(p *peer, name string, args []string) []byte {
	var present []string
	for key := range s.watchers {
		if intReply(s.ask(p.Ctx, "EXISTS", key)) > 0 {
			present = append(present, key)
		}
	}
	reply := s.dispatch(p, append([]string{name}, args...))
	if isError(reply) {
		return reply
	}
	for _, key := range present {
		s.touchWatchers(key)
	}
	s.expiry.clear()
	s.flushed()
	return reply
}

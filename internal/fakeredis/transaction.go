package fakeredis

import "strings"

func (s *Server) multi(sess *session, _ []string) []byte {
	if sess.queue != nil {
		return replyErrorf("ERR MULTI calls can not be nested")
	}
	sess.queue = [][]string{}
	return simple("OK")
}

// exec runs the queued commands one by one, each with its own pushes. Those for
// this client stay behind the whole reply.
func (s *Server) exec(sess *session, _ []string) []byte {
	queue := sess.queue
	switch {
	case queue == nil:
		return replyErrorf("ERR EXEC without MULTI")
	case sess.dirty:
		s.leaveMulti(sess)
		return replyErrorf("EXECABORT Transaction discarded because of previous errors.")
	case sess.watchDirty:
		s.leaveMulti(sess)
		if sess.resp3() {
			return appendNull(nil, true)
		}
		return []byte("*-1\r\n")
	}
	reply := appendHead(nil, '*', len(queue))
	for _, args := range queue {
		reply = append(reply, s.call(sess, strings.ToUpper(args[0]), args[1:])...)
	}
	s.leaveMulti(sess)
	return reply
}

func (s *Server) discard(sess *session, _ []string) []byte {
	if sess.queue == nil {
		return replyErrorf("ERR DISCARD without MULTI")
	}
	s.leaveMulti(sess)
	return simple("OK")
}

func (s *Server) leaveMulti(sess *session) {
	sess.queue, sess.dirty = nil, false
	s.unwatch(sess)
}

func (s *Server) watch(sess *session, keys []string) []byte {
	if sess.queue != nil {
		return replyErrorf("ERR WATCH inside MULTI is not allowed")
	}
	if sess.watching == nil {
		sess.watching = map[string]struct{}{}
	}
	for _, key := range keys {
		sess.watching[key] = struct{}{}
		s.watchers.add(key, sess)
	}
	return simple("OK")
}

func (s *Server) unwatch(sess *session) {
	for key := range sess.watching {
		s.watchers.remove(key, sess)
	}
	sess.watching, sess.watchDirty = nil, false
}

// touchWatchers makes the next EXEC of everybody who watches key fail.
func (s *Server) touchWatchers(key string) {
	for sess := range s.watchers[key] {
		sess.watchDirty = true
	}
}

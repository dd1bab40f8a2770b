package fakeredis

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// caching is what CLIENT CACHING said about the next command.
type caching uint8

const (
	cachingUnset caching = iota
	cachingYes
	cachingNo
)

// tracking is the CLIENT TRACKING state of one client.
type tracking struct {
	on, bcast, optin, optout, noloop bool
	prefixes                         []string // of bcast
	caching                          caching
}

// trackingTable knows whom to tell about which key. Keys need not exist.
type trackingTable struct {
	keys  sessionsByName        // read by these since their last push
	bcast map[*session]struct{} // clients in broadcast mode

	// changed are the keys that the running command changed, for broadcasts,
	// with the client that did so last (nil: they expired).
	changed map[string]*session
}

func (t *trackingTable) forget(sess *session) {
	for key, set := range t.keys {
		if _, ok := set[sess]; ok {
			t.keys.remove(key, sess)
		}
	}
	delete(t.bcast, sess)
}

// track remembers keys that a client has read, if it asked for that.
func (s *Server) track(sess *session, keys []string) {
	if sess == nil {
		return
	}
	t := &sess.tracking
	if !t.on || t.bcast || t.optin && t.caching != cachingYes || t.optout && t.caching == cachingNo {
		return
	}
	for _, key := range keys {
		s.table.keys.add(key, sess)
	}
}

// modified tells everybody who has read key, or watches it, that it has changed.
// Registration is for one push.
func (s *Server) modified(key string) {
	s.touchWatchers(key)
	if s.waiters > 0 {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	if len(s.table.bcast) > 0 {
		if s.table.changed == nil {
			s.table.changed = map[string]*session{}
		}
		s.table.changed[key] = s.caller
	}
	if len(s.table.keys[key]) == 0 {
		return
	}
	targets := s.table.keys.sorted(key)
	delete(s.table.keys, key)
	for _, sess := range targets {
		t := &sess.tracking
		if !t.on || t.bcast || t.noloop && sess == s.caller {
			continue
		}
		s.invalidate(sess, []string{key})
	}
}

// invalidate pushes keys. A connection that speaks RESP2 cannot be told.
func (s *Server) invalidate(sess *session, keys []string) {
	if !sess.resp3() {
		return
	}
	b := appendPush(nil, 2, true)
	b = appendBulk(b, "invalidate")
	b = appendHead(b, '*', len(keys))
	for _, key := range keys {
		b = appendBulk(b, key)
	}
	s.push(sess, b)
}

// broadcast tells the clients in broadcast mode what has changed since the last
// call: one push per prefix, keys in order.
func (s *Server) broadcast() {
	if len(s.table.changed) == 0 {
		return
	}
	changed := s.table.changed
	s.table.changed = nil
	names := slices.Sorted(maps.Keys(changed))
	for _, sess := range sortSessions(s.table.bcast) {
		for _, prefix := range sess.tracking.prefixes {
			var keys []string
			for _, key := range names {
				own := sess.tracking.noloop && changed[key] == sess
				if strings.HasPrefix(key, prefix) && !own {
					keys = append(keys, key)
				}
			}
			if len(keys) > 0 {
				s.invalidate(sess, keys)
			}
		}
	}
}

// flushed tells every tracking client that all keys are gone.
func (s *Server) flushed() {
	clear(s.table.keys)
	s.table.changed = nil
	for _, sess := range sortSessions(s.sessions) {
		if sess.tracking.on && sess.resp3() {
			b := appendPush(nil, 2, true)
			b = appendBulk(b, "invalidate")
			s.push(sess, appendNull(b, true))
		}
	}
}

// clientTracking is CLIENT TRACKING ON|OFF with its options.
func (s *Server) clientTracking(sess *session, args []string) []byte {
	if len(args) == 0 {
		return wrongArity("client|tracking")
	}
	next := tracking{on: true}
	for i := 1; i < len(args); i++ {
		switch strings.ToUpper(args[i]) {
		case "BCAST":
			next.bcast = true
		case "OPTIN":
			next.optin = true
		case "OPTOUT":
			next.optout = true
		case "NOLOOP":
			next.noloop = true
		case "PREFIX":
			if i++; i == len(args) {
				return replyErrorf("ERR syntax error")
			}
			next.prefixes = append(next.prefixes, args[i])
		case "REDIRECT":
			return replyErrorf("ERR fakeredis has no CLIENT TRACKING REDIRECT")
		default:
			return replyErrorf("ERR syntax error")
		}
	}
	switch strings.ToUpper(args[0]) {
	case "OFF":
		sess.tracking = tracking{}
		delete(s.table.bcast, sess)
		return simple("OK")
	case "ON":
		return s.startTracking(sess, next)
	}
	return replyErrorf("ERR syntax error")
}

func (s *Server) startTracking(sess *session, next tracking) []byte {
	old := sess.tracking
	const reenable = " before disabling tracking for this client, and then re-enabling it with a different mode."
	switch {
	case !next.bcast && len(next.prefixes) > 0:
		return replyErrorf("ERR PREFIX option requires BCAST mode to be enabled")
	case old.on && old.bcast != next.bcast:
		return replyErrorf("ERR You can't switch BCAST mode on/off%s", reenable)
	case next.bcast && (next.optin || next.optout):
		return replyErrorf("ERR OPTIN and OPTOUT are not compatible with BCAST")
	case next.optin && next.optout:
		return replyErrorf("ERR You can't specify both OPTIN mode and OPTOUT mode")
	case next.optin && old.optout || next.optout && old.optin:
		return replyErrorf("ERR You can't switch OPTIN/OPTOUT mode%s", reenable)
	}
	if text := overlap(old.prefixes, next.prefixes); text != "" {
		return replyErrorf("ERR %s. Prefixes for a single client must not overlap.", text)
	}
	if next.bcast && len(next.prefixes) == 0 && len(old.prefixes) == 0 {
		next.prefixes = []string{""}
	}
	next.prefixes = append(old.prefixes, next.prefixes...)
	next.caching = old.caching
	sess.tracking = next
	if next.bcast {
		if s.table.bcast == nil {
			s.table.bcast = map[*session]struct{}{}
		}
		s.table.bcast[sess] = struct{}{}
	}
	return simple("OK")
}

// overlap describes a new prefix that is a prefix of another one, or the
// reverse. The result is empty if there is none.
func overlap(old, next []string) string {
	overlaps := func(p, q string) bool { return strings.HasPrefix(p, q) || strings.HasPrefix(q, p) }
	for i, p := range next {
		for _, q := range old {
			if overlaps(p, q) {
				return fmt.Sprintf("Prefix '%s' overlaps with an existing prefix '%s'", p, q)
			}
		}
		for _, q := range next[i+1:] {
			if overlaps(p, q) {
				return fmt.Sprintf("Prefix '%s' overlaps with another provided prefix '%s'", p, q)
			}
		}
	}
	return ""
}

// clientCaching is CLIENT CACHING YES|NO.
func (s *Server) clientCaching(sess *session, args []string) []byte {
	t := &sess.tracking
	if len(args) != 1 {
		return wrongArity("client|caching")
	}
	if !t.on {
		return replyErrorf("ERR CLIENT CACHING can be called only when the client is in tracking mode " +
			"with OPTIN or OPTOUT mode enabled")
	}
	switch strings.ToUpper(args[0]) {
	case "YES":
		if !t.optin {
			return replyErrorf("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
		}
		t.caching = cachingYes
	case "NO":
		if !t.optout {
			return replyErrorf("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
		}
		t.caching = cachingNo
	default:
		return replyErrorf("ERR syntax error")
	}
	return simple("OK")
}

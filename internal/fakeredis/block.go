package fakeredis

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
)

// blocking reports whether a command may wait, and for how long: zero is for
// ever. A timeout that does not parse is left to miniredis to complain about.
func blocking(name string, args []string) (timeout time.Duration, ok bool) {
	switch name {
	case "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX":
		if len(args) > 0 {
			return seconds(args[len(args)-1]), true
		}
	case "BZMPOP":
		if len(args) > 0 {
			return seconds(args[0]), true
		}
	case "XREAD", "XREADGROUP":
		for i, a := range args {
			if strings.EqualFold(a, "STREAMS") {
				break
			}
			if strings.EqualFold(a, "BLOCK") && i+1 < len(args) {
				ms, _ := strconv.Atoi(args[i+1])
				return time.Duration(ms) * time.Millisecond, true
			}
		}
	}
	return 0, false
}

func seconds(s string) time.Duration {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1e9 {
		return 0
	}
	return time.Duration(f * float64(time.Second))
}

// resolveLast replaces the ID $ of XREAD, which means "what is last now", so
// that later attempts do not skip what came in between.
func (s *Server) resolveLast(name string, args []string) []string {
	if name != "XREAD" {
		return args
	}
	keys := streams(args)
	out := append([]string(nil), args...)
	for i, key := range keys {
		id := &out[len(out)-len(keys)+i]
		if *id != "$" {
			continue
		}
		*id = "0-0"
		v, _, _ := parseReply(s.ask(nil, "XREVRANGE", key, "+", "-", "COUNT", "1"))
		if list, _ := v.([]any); len(list) == 1 {
			if entry, _ := list[0].([]any); len(entry) > 0 {
				*id, _ = entry[0].(string)
			}
		}
	}
	return out
}

// nothing is the reply of a blocking command that got none in time.
func nothing(name string, resp3 bool) []byte {
	if !resp3 && name != "BRPOPLPUSH" && name != "BLMOVE" {
		return []byte("*-1\r\n")
	}
	return appendNull(nil, resp3)
}

// attempt runs a blocking command once without waiting, as Redis does inside a
// transaction: miniredis gets it in a transaction of one. The reply is null when
// there is nothing yet.
func (s *Server) attempt(sess *session, args []string) []byte {
	name, rest := strings.ToUpper(args[0]), args[1:]
	keys := keysOf(name, rest)
	s.expiry.refresh(nil, keys)
	was := s.observe(nil, name, keys)
	s.dispatch(sess.peer, []string{"MULTI"})
	if reply := s.dispatch(sess.peer, args); isError(reply) {
		s.dispatch(sess.peer, []string{"DISCARD"})
		return reply
	}
	reply := bytes.TrimPrefix(s.dispatch(sess.peer, []string{"EXEC"}), []byte("*1\r\n"))
	if isNull(reply) {
		return nothing(name, sess.resp3())
	}
	if isError(reply) {
		return reply
	}
	if s.reads(name) {
		s.track(sess, keys)
		return reply
	}
	s.expiry.learn(nil, keys)
	s.announce(name, rest, keys, was, reply)
	return reply
}

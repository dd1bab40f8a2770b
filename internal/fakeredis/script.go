package fakeredis

import (
	"crypto/sha1"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
)

// What miniredis puts around every error of a script, and what gopher-lua puts
// behind those that happened while it ran.
const (
	scriptErrPrefix = "-ERR Error compiling script (new function): "
	stackTrace      = " stack traceback:"
)

// scriptPosition is what gopher-lua puts in front: chunk, line.
var scriptPosition = regexp.MustCompile(`^(?:<string>)?:(\d+): `)

// eval runs EVAL and its relatives. Keys that the script reads are tracked for
// the client, as if it had read them itself.
func (s *Server) eval(sess *session, name string, args []string) []byte {
	bySHA := strings.HasPrefix(name, "EVALSHA")
	sha := strings.ToLower(args[0])
	if bySHA {
		args = append([]string{sha}, args[1:]...)
	} else {
		sum := sha1.Sum([]byte(args[0]))
		sha = hex.EncodeToString(sum[:])
	}
	s.scriptErr = ""
	reply := s.dispatch(sess.peer, append([]string{name}, args...))
	if !isError(reply) {
		return reply
	}
	if !bySHA {
		// Redis keeps a script that compiles; miniredis only one that succeeds.
		s.ask(nil, "SCRIPT", "LOAD", args[0])
	}
	return scriptError(string(reply), s.scriptErr, sha)
}

// scriptError gives the error reply of a script the form Redis gives it: the
// code of a failed call stays in front, where clients look for it.
func scriptError(reply, callErr, sha string) []byte {
	text, ok := strings.CutPrefix(strings.TrimSuffix(reply, "\r\n"), scriptErrPrefix)
	if !ok {
		return []byte(reply) // the script returned an error, or was never started
	}
	text, _, ran := strings.Cut(text, stackTrace)
	if !ran {
		return replyErrorf("ERR Error compiling script (new function): user_script: %s", text)
	}
	line, msg := "1", text
	if m := scriptPosition.FindStringSubmatch(text); m != nil {
		line, msg = m[1], text[len(m[0]):]
	}
	where := " script: " + sha + ", on @user_script:" + line + "."
	switch {
	case callErr != "" && msg == callErr:
		return replyErrorf("%s%s", msg, where)
	case strings.HasPrefix(msg, "Write commands are not allowed"):
		return replyErrorf("ERR Write commands are not allowed from read-only scripts.%s", where)
	}
	return replyErrorf("ERR user_script:%s: %s%s", line, msg, where)
}

// callFromScript runs one redis.call or redis.pcall. c is the connection that
// miniredis made for it; its lock is held.
func (s *Server) callFromScript(c *server.Peer, name string, args []string) []byte {
	s.nested.Ctx = c.Ctx
	h, own := handlerOf(name)
	_, waits := blocking(name, args)
	var reply []byte
	switch {
	case !s.known(name):
		return replyErrorf("ERR Unknown Redis command called from script")
	case (name == "PUBLISH" || name == "SPUBLISH") && len(args) == 2:
		return h.run(s, s.caller, args)
	case name == "PUBLISH" || name == "SPUBLISH":
		reply = wrongArity(name)
	case name == "PING":
		return s.ping(s.caller, args)
	case name == "PUBSUB" && len(args) > 0:
		return s.pubsub(s.caller, args)
	case name == "INFO":
		return s.info(s.caller, args)
	case own, waits, name == "SCRIPT":
		return replyErrorf("ERR This Redis command is not allowed from script")
	default:
		reply = s.run(s.caller, s.nested, name, args)
	}
	if strings.HasPrefix(string(reply), "-ERR wrong number of arguments for ") {
		return replyErrorf("ERR Wrong number of args calling Redis command from script")
	}
	return reply
}

package fakeredis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// version is what the server says it is: the first that has all of the CLIENT
// subcommands offered here.
const version = "7.2.0"

// connectionHandlers are the commands about the connection, the server and its
// channels rather than about keys.
var connectionHandlers = map[string]handler{
	"HELLO":  {(*Server).hello, 0, -1},
	"AUTH":   {(*Server).auth, 1, 2},
	"CLIENT": {(*Server).client, 1, -1},
	"QUIT":   {(*Server).quitClient, 0, -1},
	"ROLE": {func(*Server, *session, []string) []byte {
		return appendHead(append(appendBulk(appendHead(nil, '*', 3), "master"), integer(0)...), '*', 0)
	}, 0, 0},
	"INFO":      {(*Server).info, 0, -1},
	"PING":      {(*Server).ping, 0, 1},
	"CLUSTER":   {noCluster, 1, -1},
	"READONLY":  {noCluster, 0, 0},
	"READWRITE": {noCluster, 0, 0},
	"ASKING":    {noCluster, 0, 0},

	"SUBSCRIBE":    {subscribe(channels), 1, -1},
	"PSUBSCRIBE":   {subscribe(patterns), 1, -1},
	"SSUBSCRIBE":   {subscribe(shardChannels), 1, -1},
	"UNSUBSCRIBE":  {unsubscribe(channels), 0, -1},
	"PUNSUBSCRIBE": {unsubscribe(patterns), 0, -1},
	"SUNSUBSCRIBE": {unsubscribe(shardChannels), 0, -1},
	"PUBLISH":      {publish(channels), 2, 2},
	"SPUBLISH":     {publish(shardChannels), 2, 2},
	"PUBSUB":       {(*Server).pubsub, 1, -1},
}

func noCluster(*Server, *session, []string) []byte {
	return replyErrorf("ERR This instance has cluster support disabled")
}

func (s *Server) quitClient(sess *session, _ []string) []byte {
	sess.quit = true
	return simple("OK")
}

func (s *Server) ping(sess *session, args []string) []byte {
	if !sess.resp3() && sess.subscriptions() > 0 {
		return appendBulk(appendBulk(appendHead(nil, '*', 2), "pong"), strings.Join(args, ""))
	}
	if len(args) == 1 {
		return bulk(args[0])
	}
	return simple("PONG")
}

// hello negotiates the protocol. No user has a password here, so AUTH succeeds
// for the default user, as it does on a server whose default user has none.
func (s *Server) hello(sess *session, args []string) []byte {
	resp3, name := sess.resp3(), sess.name
	if len(args) > 0 {
		proto, err := strconv.Atoi(args[0])
		if err != nil {
			return replyErrorf("ERR Protocol version is not an integer or out of range")
		}
		if proto != 2 && proto != 3 {
			return replyErrorf("NOPROTO unsupported protocol version")
		}
		resp3 = proto == 3
		args = args[1:]
	}
	for len(args) > 0 {
		switch {
		case strings.EqualFold(args[0], "AUTH") && len(args) >= 3:
			if args[1] != "default" {
				return replyErrorf("WRONGPASS invalid username-password pair or user is disabled.")
			}
			args = args[3:]
		case strings.EqualFold(args[0], "SETNAME") && len(args) >= 2:
			if !validName(args[1]) {
				return invalidName()
			}
			name, args = args[1], args[2:]
		default:
			return replyErrorf("ERR Syntax error in HELLO option '%s'", args[0])
		}
	}
	sess.peer.Resp3, sess.name = resp3, name
	proto := 2
	if resp3 {
		proto = 3
	}
	b := appendMap(nil, 7, resp3)
	b = appendBulk(appendBulk(b, "server"), "redis")
	b = appendBulk(appendBulk(b, "version"), version)
	b = append(appendBulk(b, "proto"), integer(proto)...)
	b = append(appendBulk(b, "id"), integer(sess.id)...)
	b = appendBulk(appendBulk(b, "mode"), "standalone")
	b = appendBulk(appendBulk(b, "role"), "master")
	return appendHead(appendBulk(b, "modules"), '*', 0)
}

func (s *Server) auth(_ *session, args []string) []byte {
	if len(args) == 1 {
		return replyErrorf("ERR AUTH <password> called without any password configured for the default user. " +
			"Are you sure your configuration is correct?")
	}
	if args[0] != "default" {
		return replyErrorf("WRONGPASS invalid username-password pair or user is disabled.")
	}
	return simple("OK")
}

// info answers the same few sections whatever was asked for.
// info is INFO with what clients and locks ask for. The server is one that has
// been up for a day: it need not abstain from anything for being new.
func (s *Server) info(*session, []string) []byte {
	return bulk(fmt.Sprintf("# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\ntcp_port:0\r\nuptime_in_seconds:86400\r\n\r\n"+
		"# Clients\r\nconnected_clients:%d\r\n\r\n"+
		"# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_replid:%040d\r\n\r\n"+
		"# Cluster\r\ncluster_enabled:0\r\n", version, len(s.sessions), 1))
}

func validName(name string) bool {
	for i := range len(name) {
		if name[i] < '!' || name[i] > '~' {
			return false
		}
	}
	return true
}

func invalidName() []byte {
	return replyErrorf("ERR Client names cannot contain spaces, newlines or special characters.")
}

// client is CLIENT and its subcommands.
func (s *Server) client(sess *session, args []string) []byte {
	sub, args := strings.ToUpper(args[0]), args[1:]
	switch {
	case sub == "TRACKING":
		return s.clientTracking(sess, args)
	case sub == "CACHING":
		return s.clientCaching(sess, args)
	case sub == "KILL":
		return s.clientKill(sess, args)
	case sub == "ID" && len(args) == 0:
		return integer(sess.id)
	case sub == "SETNAME" && len(args) == 1:
		if !validName(args[0]) {
			return invalidName()
		}
		sess.name = args[0]
		return simple("OK")
	case sub == "GETNAME" && len(args) == 0:
		if sess.name == "" {
			return appendNull(nil, sess.resp3())
		}
		return bulk(sess.name)
	case sub == "SETINFO" && len(args) == 2:
		if a := strings.ToLower(args[0]); a != "lib-name" && a != "lib-ver" {
			return replyErrorf("ERR Unrecognized option '%s'", args[0])
		}
		return simple("OK")
	case (sub == "NO-TOUCH" || sub == "NO-EVICT") && len(args) == 1:
		if a := strings.ToUpper(args[0]); a != "ON" && a != "OFF" {
			return replyErrorf("ERR syntax error")
		}
		return simple("OK")
	case sub == "INFO" && len(args) == 0:
		return bulk(sess.describe())
	case sub == "LIST" && len(args) == 0:
		var b strings.Builder
		for _, other := range sortSessions(s.sessions) {
			b.WriteString(other.describe())
		}
		return bulk(b.String())
	case slices.Contains([]string{"ID", "SETNAME", "GETNAME", "SETINFO", "NO-TOUCH", "NO-EVICT", "INFO"}, sub):
		return wrongArity("client|" + sub)
	}
	return replyErrorf("ERR unknown subcommand '%s'. Try CLIENT HELP.", clip(sub))
}

func (sess *session) describe() string {
	flags := "N"
	if sess.subscriptions() > 0 {
		flags = "P"
	}
	if sess.tracking.on {
		flags += "t"
	}
	return fmt.Sprintf("id=%d addr=%s name=%s flags=%s db=0 sub=%d psub=%d ssub=%d\n", sess.id, address,
		sess.name, flags, len(sess.subs[channels]), len(sess.subs[patterns]), len(sess.subs[shardChannels]))
}

// clientKill is CLIENT KILL with the filters ID, TYPE and SKIPME.
func (s *Server) clientKill(sess *session, args []string) []byte {
	id, kind, skipMe := 0, "", true
	if len(args) == 1 { // by address; no client here has one of its own
		return replyErrorf("ERR No such client")
	}
	if len(args) < 2 || len(args)%2 != 0 {
		return replyErrorf("ERR syntax error")
	}
	for ; len(args) > 0; args = args[2:] {
		value := strings.ToLower(args[1])
		switch strings.ToUpper(args[0]) {
		case "ID":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return replyErrorf("ERR client-id should be greater than 0")
			}
			id = n
		case "TYPE":
			if !slices.Contains([]string{"normal", "pubsub", "master", "replica", "slave"}, value) {
				return replyErrorf("ERR Unknown client type '%s'", args[1])
			}
			kind = value
		case "SKIPME":
			if value != "yes" && value != "no" {
				return replyErrorf("ERR syntax error")
			}
			skipMe = value == "yes"
		default:
			return replyErrorf("ERR syntax error")
		}
	}
	self := false
	n := s.dropLocked(func(other *session) bool {
		typ := "normal"
		if other.subscriptions() > 0 {
			typ = "pubsub"
		}
		if id != 0 && other.id != id || kind != "" && kind != typ || other == sess && skipMe {
			return false
		}
		self = self || other == sess
		return other != sess
	})
	if self { // it still gets its reply
		sess.quit = true
		n++
	}
	return integer(n)
}

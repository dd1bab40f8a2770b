package fakeredis

import (
	"maps"
	"slices"
	"strings"
)

// pubsubKind is a name space of subscriptions.
type pubsubKind int

const (
	channels pubsubKind = iota
	patterns
	shardChannels
	pubsubKinds
)

// prefix is what the names of the kind's messages and commands begin with.
func (k pubsubKind) prefix() string { return [...]string{"", "p", "s"}[k] }

// subscriptions counts all of a client's subscriptions.
func (sess *session) subscriptions() int {
	return len(sess.subs[channels]) + len(sess.subs[patterns]) + len(sess.subs[shardChannels])
}

// count is the number that Redis reports when a subscription of kind changes.
func (sess *session) count(kind pubsubKind) int {
	if kind == shardChannels {
		return len(sess.subs[shardChannels])
	}
	return len(sess.subs[channels]) + len(sess.subs[patterns])
}

func allowedSubscribed(name string) bool {
	return name == "PING" || name == "QUIT" || strings.HasSuffix(name, "SUBSCRIBE")
}

func subscribe(kind pubsubKind) func(*Server, *session, []string) []byte {
	return func(s *Server, sess *session, names []string) []byte {
		if sess.subs[kind] == nil {
			sess.subs[kind] = map[string]struct{}{}
		}
		var b []byte
		for _, name := range names {
			sess.subs[kind][name] = struct{}{}
			s.subs[kind].add(name, sess)
			b = appendPush(b, 3, sess.resp3())
			b = appendBulk(appendBulk(b, kind.prefix()+"subscribe"), name)
			b = append(b, integer(sess.count(kind))...)
		}
		return b
	}
}

// unsubscribe without names means all of the kind. The answer is never empty.
func unsubscribe(kind pubsubKind) func(*Server, *session, []string) []byte {
	return func(s *Server, sess *session, names []string) []byte {
		if len(names) == 0 {
			names = slices.Sorted(maps.Keys(sess.subs[kind]))
		}
		what := kind.prefix() + "unsubscribe"
		var b []byte
		for _, name := range names {
			delete(sess.subs[kind], name)
			s.subs[kind].remove(name, sess)
			b = appendPush(b, 3, sess.resp3())
			b = append(appendBulk(appendBulk(b, what), name), integer(sess.count(kind))...)
		}
		if b == nil {
			b = appendPush(b, 3, sess.resp3())
			b = append(appendNull(appendBulk(b, what), sess.resp3()), integer(sess.count(kind))...)
		}
		return b
	}
}

// publish delivers a message and returns the number of receivers. A publisher
// that is subscribed itself gets the message behind its reply, as on Redis 7.2
// and later.
func publish(kind pubsubKind) func(*Server, *session, []string) []byte {
	return func(s *Server, _ *session, args []string) []byte {
		channel, message := args[0], args[1]
		n := 0
		for _, sess := range s.subs[kind].sorted(channel) {
			b := appendPush(nil, 3, sess.resp3())
			b = appendBulk(b, kind.prefix()+"message")
			s.push(sess, appendBulk(appendBulk(b, channel), message))
			n++
		}
		if kind == shardChannels {
			return integer(n)
		}
		for _, pattern := range slices.Sorted(maps.Keys(s.subs[patterns])) {
			if !match(pattern, channel) {
				continue
			}
			for _, sess := range s.subs[patterns].sorted(pattern) {
				b := appendPush(nil, 4, sess.resp3())
				b = appendBulk(appendBulk(b, "pmessage"), pattern)
				s.push(sess, appendBulk(appendBulk(b, channel), message))
				n++
			}
		}
		return integer(n)
	}
}

// pubsub is PUBSUB and its subcommands.
func (s *Server) pubsub(_ *session, args []string) []byte {
	sub, args := strings.ToUpper(args[0]), args[1:]
	kind := channels
	if strings.HasPrefix(sub, "SHARD") {
		kind, sub = shardChannels, strings.TrimPrefix(sub, "SHARD")
	}
	switch sub {
	case "CHANNELS":
		var names []string
		for _, name := range slices.Sorted(maps.Keys(s.subs[kind])) {
			if len(args) == 0 || match(args[0], name) {
				names = append(names, name)
			}
		}
		b := appendHead(nil, '*', len(names))
		for _, name := range names {
			b = appendBulk(b, name)
		}
		return b
	case "NUMSUB":
		b := appendHead(nil, '*', 2*len(args))
		for _, name := range args {
			b = append(appendBulk(b, name), integer(len(s.subs[kind][name]))...)
		}
		return b
	case "NUMPAT":
		return integer(len(s.subs[patterns]))
	}
	return replyErrorf("ERR unknown subcommand '%s'. Try PUBSUB HELP.", clip(sub))
}

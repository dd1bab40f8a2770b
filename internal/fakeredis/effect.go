package fakeredis

import (
	"bytes"
	"strings"
)

// before is what is known of a key before a command runs.
type before struct {
	existed  bool
	volatile bool // had a lifetime
}

// observe looks at keys as far as changes will need it.
func (s *Server) observe(ctx any, name string, keys []string) []before {
	b := make([]before, len(keys))
	for i, key := range keys {
		_, b[i].volatile = s.expiry.at[key]
		if dependsOnExistence(name) {
			b[i].existed = intReply(s.ask(ctx, "EXISTS", key)) > 0
		}
	}
	return b
}

func dependsOnExistence(name string) bool {
	switch name {
	case "DEL", "UNLINK", "LTRIM", "XGROUP", "SDIFFSTORE", "SINTERSTORE", "SUNIONSTORE", "ZINTERSTORE",
		"ZUNIONSTORE", "BITOP":
		return true
	}
	return false
}

// announce tells of the keys that a command has changed, in the order of Redis:
// a list moves into its destination before it is gone from its source.
func (s *Server) announce(name string, args, keys []string, was []before, reply []byte) {
	for n := range keys {
		i := n
		switch name {
		case "LMOVE", "BLMOVE", "RPOPLPUSH", "BRPOPLPUSH":
			i = len(keys) - 1 - n
		}
		if changes(name, args, keys, i, was[i], reply) {
			s.modified(keys[i])
		}
	}
}

// changes reports whether a writing command that answered reply (which is no
// error) has changed keys[i], in the sense of Redis: whether it signals the key
// as modified. A SET of the same value does; a SET NX that found the key does
// not. An unknown command counts as having changed its first key: one push too
// many is harmless, one too few is a stale cache.
func changes(name string, args, keys []string, i int, was before, reply []byte) bool {
	switch name {
	case "SET":
		return setChanges(args, reply)
	case "GETEX":
		return getexChanges(args, was, reply)
	case "SETRANGE":
		return args[2] != ""
	case "DEL", "UNLINK":
		return was.existed
	case "LTRIM":
		return was.existed
	case "XGROUP":
		return !was.existed
	case "XACK", "XCLAIM", "XAUTOCLAIM", "XREADGROUP", "GEORADIUS", "GEORADIUSBYMEMBER":
		return false
	case "MSET", "RENAME":
		return true
	case "MSETNX", "RENAMENX", "SMOVE":
		return intReply(reply) > 0
	case "COPY":
		return i == 1 && intReply(reply) > 0
	case "LMOVE", "BLMOVE", "RPOPLPUSH", "BRPOPLPUSH":
		return !isNull(reply)
	case "BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX", "LMPOP", "ZMPOP", "BZMPOP":
		return firstOf(reply) == keys[i]
	}
	if i > 0 { // sources of a STORE, and the like
		return false
	}
	switch name {
	case "SDIFFSTORE", "SINTERSTORE", "SUNIONSTORE", "ZINTERSTORE", "ZUNIONSTORE", "BITOP":
		return was.existed || intReply(reply) > 0
	case "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "PERSIST", "SETNX", "HDEL", "HSETNX", "SADD", "SREM",
		"ZREM", "ZREMRANGEBYLEX", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "LREM", "LINSERT", "LPUSHX", "RPUSHX",
		"PFADD", "XDEL", "XTRIM":
		return intReply(reply) > 0
	case "GETDEL", "LPOP", "RPOP", "SPOP", "XADD", "ZPOPMIN", "ZPOPMAX", "ZADD":
		// Null, or an empty list where a count was given.
		return !isNull(reply) && !bytes.Equal(reply, []byte("*0\r\n")) && !bytes.Equal(reply, []byte("~0\r\n"))
	}
	return true
}

// firstOf returns the first element of an array reply.
func firstOf(reply []byte) string {
	v, _, err := parseReply(reply)
	if list, ok := v.([]any); err == nil && ok && len(list) > 0 {
		s, _ := list[0].(string)
		return s
	}
	return ""
}

// setChanges is changes for SET: with GET the reply is the old value and says
// only together with NX or XX whether there is a new one.
func setChanges(args []string, reply []byte) bool {
	var nx, xx, get bool
	for _, a := range args[2:] {
		switch strings.ToUpper(a) {
		case "NX":
			nx = true
		case "XX":
			xx = true
		case "GET":
			get = true
		}
	}
	switch {
	case !get:
		return !isNull(reply)
	case nx:
		return isNull(reply)
	case xx:
		return !isNull(reply)
	}
	return true
}

// getexChanges is changes for GETEX: it changes a lifetime or nothing.
func getexChanges(args []string, was before, reply []byte) bool {
	switch {
	case isNull(reply) || len(args) == 1:
		return false
	case strings.EqualFold(args[1], "PERSIST"):
		return was.volatile
	}
	return true
}

package fakeredis

import (
	"strconv"
	"strings"
)

// keysOf returns the keys that a command names. Most name one, first. Scripts
// name theirs one by one in the calls they make, so EVAL has none here.
func keysOf(name string, args []string) []string {
	if len(args) == 0 {
		return nil
	}
	switch name {
	case "ECHO", "PING", "SELECT", "SWAPDB", "RANDOMKEY", "SCAN", "KEYS", "WAIT", "SCRIPT", "COMMAND",
		"DBSIZE", "FLUSHALL", "FLUSHDB", "TIME":
		return nil
	case "DEL", "UNLINK", "EXISTS", "TOUCH", "MGET", "PFCOUNT", "PFMERGE",
		"SDIFF", "SINTER", "SUNION", "SDIFFSTORE", "SINTERSTORE", "SUNIONSTORE":
		return args
	case "MSET", "MSETNX":
		var keys []string
		for i := 0; i < len(args); i += 2 {
			keys = append(keys, args[i])
		}
		return keys
	case "RENAME", "RENAMENX", "COPY", "SMOVE", "LMOVE", "BLMOVE", "RPOPLPUSH", "BRPOPLPUSH":
		return args[:min(2, len(args))]
	case "BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX":
		return args[:len(args)-1]
	case "SINTERCARD", "ZINTER", "ZUNION", "LMPOP", "ZMPOP":
		return numbered(args)
	case "BZMPOP":
		return numbered(args[1:])
	case "ZINTERSTORE", "ZUNIONSTORE":
		return append([]string{args[0]}, numbered(args[1:])...)
	case "BITOP":
		return args[1:]
	case "OBJECT", "MEMORY", "XGROUP", "XINFO":
		return args[min(1, len(args)):min(2, len(args))]
	case "XREAD", "XREADGROUP":
		return streams(args)
	}
	return args[:1]
}

// numbered returns the keys of a list that begins with their number.
func numbered(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 || n >= len(args) {
		return nil
	}
	return args[1 : n+1]
}

// streams returns the keys behind STREAMS, the first half of what follows.
func streams(args []string) []string {
	for i, a := range args {
		if strings.EqualFold(a, "STREAMS") {
			rest := args[i+1:]
			return rest[:len(rest)/2]
		}
	}
	return nil
}

// reads reports whether a command only reads, so that its keys can be tracked.
func (s *Server) reads(name string) bool {
	switch name {
	case "OBJECT", "MEMORY", "XINFO": // miniredis does not mark these
		return true
	}
	return s.srv.IsReadOnlyCommand(name)
}

// readsLifetime reports whether the reply of a reading command depends on when
// its key expires.
func readsLifetime(name string) bool {
	switch name {
	case "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME":
		return true
	}
	return false
}

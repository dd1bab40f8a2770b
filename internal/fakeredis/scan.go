package fakeredis

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// scanOptions are what follows the cursor of SCAN and its relatives.
type scanOptions struct {
	pattern string
	match   bool
	count   int
	typ     string
}

// parseScan takes MATCH, COUNT and TYPE. The error is a complete reply.
func parseScan(args []string) (scanOptions, []byte) {
	o := scanOptions{count: 10}
	for ; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			return o, replyErrorf("ERR syntax error")
		}
		switch strings.ToUpper(args[0]) {
		case "MATCH":
			o.match, o.pattern = true, args[1]
		case "COUNT":
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return o, replyErrorf("ERR value is not an integer or out of range")
			}
			if n < 1 {
				return o, replyErrorf("ERR syntax error")
			}
			o.count = n
		case "TYPE":
			o.typ = args[1]
		default:
			return o, replyErrorf("ERR syntax error")
		}
	}
	return o, nil
}

// scan is SCAN. miniredis has no cursors: it answers everything at once, so that
// a loop over pages is never tried, and its patterns are for UTF-8 only.
//
// Keys come in the order of a hash, and the cursor is the next hash to look at.
// So a key that is there during the whole iteration is seen, whatever is
// deleted or added meanwhile. Pages grow with the database, so that a complete
// iteration takes at most about ten of them.
func (s *Server) scan(p *peer, args []string) []byte {
	if len(args) == 0 {
		return wrongArity("scan")
	}
	cursor, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return replyErrorf("ERR invalid cursor")
	}
	o, fail := parseScan(args[1:])
	if fail != nil {
		return fail
	}
	type entry struct {
		hash uint64
		key  string
	}
	var rest []entry
	all := s.allKeys(p.Ctx)
	for _, key := range all {
		h := fnv.New64a()
		h.Write([]byte(key))
		if sum := h.Sum64()>>1 + 1; sum >= cursor { // 0 ends an iteration, so no hash is 0
			rest = append(rest, entry{sum, key})
		}
	}
	slices.SortFunc(rest, func(a, b entry) int { return cmp.Compare(a.hash, b.hash) })
	page, next := max(o.count, len(all)/8), uint64(0)
	for page < len(rest) && rest[page].hash == rest[page-1].hash {
		page++ // keys of one hash share a page
	}
	if page < len(rest) {
		next = rest[page].hash
		rest = rest[:page]
	}
	var found []string
	for _, e := range rest {
		if o.match && !match(o.pattern, e.key) {
			continue
		}
		if o.typ != "" && string(s.ask(p.Ctx, "TYPE", e.key)) != "+"+strings.ToLower(o.typ)+"\r\n" {
			continue
		}
		found = append(found, e.key)
	}
	b := appendHead(nil, '*', 2)
	b = appendBulk(b, strconv.FormatUint(next, 10))
	return appendStrings(b, found)
}

// keys is KEYS.
func (s *Server) keys(p *peer, args []string) []byte {
	if len(args) != 1 {
		return wrongArity("keys")
	}
	found := slices.DeleteFunc(s.allKeys(p.Ctx), func(key string) bool { return !match(args[0], key) })
	return appendStrings(nil, found)
}

func (s *Server) allKeys(ctx any) []string {
	v, _, _ := parseReply(s.ask(ctx, "KEYS", "*"))
	list, _ := v.([]any)
	keys := make([]string, 0, len(list))
	for _, k := range list {
		keys = append(keys, k.(string))
	}
	return keys
}

// scanInside is HSCAN, SSCAN and ZSCAN: miniredis lists, we match.
func (s *Server) scanInside(p *peer, name string, args []string) []byte {
	if len(args) < 2 {
		return wrongArity(name)
	}
	o, fail := parseScan(args[2:])
	if fail != nil {
		return fail
	}
	reply := s.dispatch(p, append([]string{name}, args[:2]...))
	v, _, err := parseReply(reply)
	pair, ok := v.([]any)
	if err != nil || !ok || len(pair) != 2 || !o.match {
		return reply
	}
	step := 2
	if name == "SSCAN" {
		step = 1
	}
	var found []string
	list, _ := pair[1].([]any)
	for i := 0; i+step <= len(list); i += step {
		if key, _ := list[i].(string); match(o.pattern, key) {
			for _, x := range list[i : i+step] {
				text, _ := x.(string)
				found = append(found, text)
			}
		}
	}
	cursor, _ := pair[0].(string)
	return appendStrings(appendBulk(appendHead(nil, '*', 2), cursor), found)
}

func appendStrings(b []byte, list []string) []byte {
	b = appendHead(b, '*', len(list))
	for _, x := range list {
		b = appendBulk(b, x)
	}
	return b
}

// match reports whether text matches a glob pattern of Redis, byte by byte.
func match(pattern, text string) bool {
	for len(pattern) > 0 {
		switch pattern[0] {
		case '*':
			for len(pattern) > 0 && pattern[0] == '*' {
				pattern = pattern[1:]
			}
			for i := 0; i <= len(text); i++ {
				if match(pattern, text[i:]) {
					return true
				}
			}
			return false
		case '[':
			if text == "" {
				return false
			}
			ok, rest := matchClass(pattern[1:], text[0])
			if !ok {
				return false
			}
			pattern, text = rest, text[1:]
			continue
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
		case '?':
			if text == "" {
				return false
			}
			pattern, text = pattern[1:], text[1:]
			continue
		}
		if text == "" || pattern[0] != text[0] {
			return false
		}
		pattern, text = pattern[1:], text[1:]
	}
	return text == ""
}

// matchClass matches c with a class, whose opening bracket is already gone, and
// returns the pattern behind it.
func matchClass(class string, c byte) (ok bool, rest string) {
	not := strings.HasPrefix(class, "^")
	if not {
		class = class[1:]
	}
	for len(class) > 0 && class[0] != ']' {
		switch {
		case class[0] == '\\' && len(class) >= 2:
			ok = ok || class[1] == c
			class = class[2:]
		case len(class) >= 3 && class[1] == '-':
			lo, hi := min(class[0], class[2]), max(class[0], class[2])
			ok = ok || lo <= c && c <= hi
			class = class[3:]
		default:
			ok = ok || class[0] == c
			class = class[1:]
		}
	}
	return ok != not, strings.TrimPrefix(class, "]")
}

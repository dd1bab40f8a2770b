package key

import "strings"

// globSpecial are the bytes that mean something in a Redis glob pattern. The
// closing bracket does only behind an opening one, but is escaped too: it reads
// better.
const globSpecial = `*?[]\`

// EscapeGlob returns the glob pattern that matches s only.
func EscapeGlob(s string) string {
	if !strings.ContainsAny(s, globSpecial) {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		b = appendGlobLiteral(b, s[i])
	}
	return string(b)
}

func appendGlobLiteral(b []byte, c byte) []byte {
	if strings.IndexByte(globSpecial, c) >= 0 {
		b = append(b, '\\')
	}
	return append(b, c)
}

// MatchGlob reports whether pattern matches all of s by the rules of the Redis
// commands KEYS, SCAN and PSUBSCRIBE, byte for byte and also where a pattern is
// malformed: a class without an end ends with the pattern, a backslash at the
// end is a backslash. Its time is bounded by the product of the lengths.
func MatchGlob(pattern, s string) bool {
	// Where to go on when the rest does not match: the last star takes one byte
	// more. Earlier stars need not be tried again, all they could do is to find
	// the part between them and the last star further to the right.
	var star string
	var retry string
	found := false
	for {
		switch {
		case pattern != "" && pattern[0] == '*':
			star, retry, found = pattern[1:], s, true
			pattern = star
			continue
		case pattern == "" && s == "":
			return true
		case pattern != "" && s != "":
			if rest, ok := matchByte(pattern, s[0]); ok {
				pattern, s = rest, s[1:]
				continue
			}
		}
		if !found || retry == "" {
			return false
		}
		retry = retry[1:]
		pattern, s = star, retry
	}
}

// matchByte matches c with the first element of pattern, which is not a star,
// and returns the rest of the pattern.
func matchByte(pattern string, c byte) (rest string, ok bool) {
	switch {
	case pattern[0] == '?':
		return pattern[1:], true
	case pattern[0] == '\\' && len(pattern) >= 2:
		return pattern[2:], pattern[1] == c
	case pattern[0] == '[':
		cl := parseClass(pattern, c)
		return pattern[cl.size:], cl.match
	}
	return pattern[1:], pattern[0] == c
}

// class is what parseClass found.
type class struct {
	size  int  // bytes of pattern up to and with the closing bracket
	ended bool // there was a closing bracket
	match bool // the class matches the byte asked for
	names bool // a byte of escapes is a member, or an end of a range
}

// parseClass parses the class that pattern begins with, exactly as Redis does:
// a range may end in a bracket, so "[a-]" has no end.
func parseClass(pattern string, c byte) class {
	var cl class
	p := pattern[1:]
	not := p != "" && p[0] == '^'
	if not {
		p = p[1:]
	}
	for p != "" && !cl.ended {
		low, high, n := p[0], p[0], 1
		switch {
		case p[0] == '\\' && len(p) >= 2:
			low, high, n = p[1], p[1], 2
		case p[0] == ']':
			cl.ended = true
			p = p[1:]
			continue
		case len(p) >= 3 && p[1] == '-':
			low, high, n = p[0], p[2], 3
		}
		if strings.IndexByte(escapes, low) >= 0 || strings.IndexByte(escapes, high) >= 0 {
			cl.names = true
		}
		if min(low, high) <= c && c <= max(low, high) {
			cl.match = true
		}
		p = p[n:]
	}
	cl.size = len(pattern) - len(p)
	cl.match = cl.match != not
	return cl
}

package key

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Pattern returns a glob pattern, as SCAN takes it, for the keys of k. All parts
// of k are literal but the ID, which is a glob pattern of the caller: use
// [EscapeGlob] for an identifier that is meant literally. An empty ID means "*".
// A key of a lease never matches.
//
// With Params, only keys with exactly these parameters match. Without, the ID
// is matched against identifiers, and for keys with parameters against the
// identifier followed by a colon and the hash: "*" matches all keys of the
// namespace, and "list:*" also those of the identifier "list" with any
// parameters. An ID without wildcards matches one key, the one that [Build]
// returns for it.
//
// Identifiers are matched in the form in which they are stored. An ID may name
// the bytes "{", "}" and "%" like any others, but a wildcard "?" or "[...]"
// stands for one of the three bytes they are stored as. Identifiers above
// [MaxID] bytes are found by "*" and by an ID without wildcards only. And an
// identifier like "user:0123456789abcdef0123456789abcdef", which is stored with
// another colon, is not found by "user:*": for that, and for every purpose where
// all keys must be found, use [Patterns].
//
// The error wraps [ErrInvalid], also for a class without an end, and for one
// that names a byte that is stored as three.
func Pattern(k Key) (string, error) {
	all, err := Patterns(k)
	if err != nil {
		return "", err
	}
	return all[0], nil
}

// Patterns is like [Pattern], but returns one or two patterns that together
// find all the identifiers the ID matches: the second one finds those that end
// in a colon and 32 hex digits, the colon of which is stored as "%3A". A key may
// match both.
func Patterns(k Key) ([]string, error) {
	s, err := NewSpace(k.Prefix, k.Version, k.Namespace)
	if err != nil {
		return nil, err
	}
	h, err := HashParams(k.Params)
	if err != nil {
		return nil, err
	}
	id := k.ID
	if id == "" {
		id = "*"
	}
	tokens, err := parseGlob(id)
	if err != nil {
		return nil, err
	}
	if lit, ok := literal(tokens); ok {
		return []string{EscapeGlob(s.KeyParams(lit, h))}, nil
	}
	tail := "}"
	if !h.IsZero() {
		tail = ":" + hex.EncodeToString(h[:]) + "}"
	}
	patterns := []string{s.head + join(tokens, -1) + tail}
	if colon := markedColon(tokens); h.IsZero() && colon >= 0 {
		patterns = append(patterns, s.head+join(tokens, colon)+tail)
	}
	return patterns, nil
}

// token is one element of a glob pattern.
type token struct {
	kind byte   // 'c' for a literal byte, else the first byte of the element
	lit  byte   // the byte, if kind is 'c'
	text string // the element as given, if kind is not 'c'
}

// parseGlob splits the caller's pattern as Redis does. What Redis takes as it
// comes because the pattern ends would mean something else with a brace behind
// it: a backslash at the end becomes a literal one, a class without an end is
// an error.
func parseGlob(p string) ([]token, error) {
	tokens := make([]token, 0, len(p))
	for i := 0; i < len(p); {
		n := 1
		t := token{kind: 'c', lit: p[i]}
		switch {
		case p[i] == '\\' && i+1 < len(p):
			t.lit, n = p[i+1], 2
		case p[i] == '*' || p[i] == '?':
			t = token{kind: p[i], text: p[i : i+1]}
		case p[i] == '[':
			cl := parseClass(p[i:], 0)
			n = cl.size
			t = token{kind: '[', text: p[i : i+n]}
			switch {
			case !cl.ended:
				return nil, fmt.Errorf(`%w pattern %s: the class at %d has no end, want "]", or "\[" for a bracket`,
					ErrInvalid, quote(p), i)
			case cl.names:
				return nil, fmt.Errorf("%w pattern %s: the class %s names one of %q, which are stored as three bytes",
					ErrInvalid, quote(p), quote(t.text), escapes)
			}
		}
		tokens = append(tokens, t)
		i += n
	}
	return tokens, nil
}

// literal returns what tokens match if there is no wildcard among them.
func literal(tokens []token) (string, bool) {
	b := make([]byte, len(tokens))
	for i, t := range tokens {
		if t.kind != 'c' {
			return "", false
		}
		b[i] = t.lit
	}
	return string(b), true
}

// join returns the pattern for the stored form. The token at index colon, if
// there is one, is a colon that is stored as colonMark.
func join(tokens []token, colon int) string {
	var b []byte
	for i, t := range tokens {
		switch {
		case i == colon:
			b = append(b, colonMark...)
		case t.kind != 'c':
			b = append(b, t.text...)
		case strings.IndexByte(escapes, t.lit) >= 0:
			b = append(b, escapeOf(t.lit)...)
		default:
			b = appendGlobLiteral(b, t.lit)
		}
	}
	return string(b)
}

// markedColon returns the index of the colon that may be the one in front of 32
// hex digits at the end of an identifier, or -1. It can only be the last one:
// hex digits contain no colon.
func markedColon(tokens []token) int {
	least, star := 0, false
	for i := len(tokens) - 1; i >= 0; i-- {
		switch t := tokens[i]; {
		case t.kind == '*':
			star = true
		case t.kind == 'c' && t.lit == ':':
			if least == hashTail-1 || star && least < hashTail-1 {
				return i
			}
			return -1
		case t.kind == 'c' && !isHex(t.lit):
			return -1
		default:
			least++
		}
	}
	return -1
}

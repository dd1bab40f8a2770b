package key

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"
)

// Pattern returns a glob pattern, as SCAN takes it, for the keys of k. All parts
// of k are literal but the ID, which is a glob pattern of the caller: use
// [EscapeGlob] for an identifier that is meant literally. An empty ID means "*".
// A key of a lease never matches.
//
// With Params, a key matches if it has exactly these parameters and the ID
// matches its identifier.
//
// Without Params, a key without parameters matches if the ID matches its
// identifier. A key with parameters matches if the ID matches its identifier
// followed by the 34 bytes "%P" and hash, of which only a wildcard can match the
// "%". That is:
//
//   - An ID that ends in "*" finds the identifiers it matches with and without
//     parameters: "*" all keys of the namespace, "user:*" those of "user:1" and
//     of "user:1" with any parameters. No pattern finds one identifier with any
//     parameters and nothing else: "list*" finds "lists" too.
//   - An ID without wildcards matches one key, the one that [Build] returns for
//     it.
//   - Any other ID is for keys without parameters. "user:?" matches no others,
//     nor does any ID without "*" of fewer than 35 elements. But a "*" before
//     the end, or as many "?", may reach into a hash: "*b" also matches the keys
//     with parameters whose hash ends in b.
//
// Identifiers are matched in the form in which they are stored. An ID may name
// the bytes "{", "}" and "%" like any others, but a wildcard "?" or "[...]"
// stands for one of the three bytes they are stored as. Identifiers above
// [MaxID] bytes are found by "*" and by an ID without wildcards only.
//
// The error wraps [ErrInvalid], also for a class without an end, and for one
// that names a byte that is stored as three.
func Pattern(k Key) (string, error) {
	s, err := NewSpace(k.Prefix, k.Version, k.Namespace)
	if err != nil {
		return "", err
	}
	h, err := HashParams(k.Params)
	if err != nil {
		return "", err
	}
	tokens, err := parseGlob(cmp.Or(k.ID, "*"))
	if err != nil {
		return "", err
	}
	if lit, ok := literal(tokens); ok {
		return EscapeGlob(s.KeyParams(lit, h)), nil
	}
	tail := "}"
	if !h.IsZero() {
		tail = paramMark + hex.EncodeToString(h[:]) + "}"
	}
	return s.head + join(tokens) + tail, nil
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

// join returns the pattern for the stored form.
func join(tokens []token) string {
	var b []byte
	for _, t := range tokens {
		switch {
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

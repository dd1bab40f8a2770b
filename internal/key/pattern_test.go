package key

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

func mustPattern(t testing.TB, k Key) string {
	t.Helper()
	p, err := Pattern(k)
	if err != nil {
		t.Fatalf("Pattern(%+v) = %v", k, err)
	}
	return p
}

func TestPattern(t *testing.T) {
	t.Parallel()
	const head = "cache:v1:n:{"
	limit := []any{"limit", 10}
	long := strings.Repeat("x", MaxID+1)
	tests := map[string]struct {
		id     string
		params []any
		want   string // without head
	}{
		"whole namespace": {"", nil, "*}"},
		"star":            {"*", nil, "*}"},
		"literal":         {"42", nil, "42}"},
		"wildcards":       {"u?[a-c]*", nil, "u?[a-c]*}"},
		"colon and star":  {"user:*", nil, "user:*}"},
		"escaped glob":    {`\*\?\[\]\\\a`, nil, `\*\?\[\]\\a}`},
		"escaped, star":   {`\*\?\[\]\\\a*`, nil, `\*\?\[\]\\a*}`},
		"braces":          {"{%}", nil, "%7B%25%7D}"},
		"braces and star": {`{\%}*`, nil, "%7B%25%7D*}"},
		"backslash last":  {`*\`, nil, `*\\}`},
		"class and brace": {`[\]a]{*`, nil, `[\]a]%7B*}`},
		"like params":     {"x%P" + hex32, nil, "x%25P" + hex32 + "}"},
		"star, mark":      {"*%P" + hex32, nil, "*%25P" + hex32 + "}"},
		"too long":        {long, nil, "%L" + longHash(long) + "}"},
		"long, escapes":   {strings.Repeat(`\x`, MaxID), nil, long[1:] + "}"},

		"params":              {"list", limit, "list%P" + limit10 + "}"},
		"params, glob":        {"l*", limit, "l*%P" + limit10 + "}"},
		"params, all":         {"", limit, "*%P" + limit10 + "}"},
		"params, too long":    {long, limit, "%L" + longHash(long) + "%P" + limit10 + "}"},
		"params, like params": {"x%P" + hex32, limit, "x%25P" + hex32 + "%P" + limit10 + "}"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Pattern(Key{Namespace: "n", ID: tt.id, Params: tt.params})
			if want := head + tt.want; err != nil || got != want {
				t.Errorf("Pattern = %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestPatternErrors(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"a[b":      `pattern "a[b": the class at 1 has no end`,
		"[a-]":     "the class at 0 has no end",
		`[a\]`:     "the class at 0 has no end",
		"[":        "the class at 0 has no end",
		"x[a{]":    `the class "[a{]" names one of "{}%"`,
		"[^}]":     "names one of",
		`[\%]`:     "names one of",
		"[%-a]":    "names one of",
		"[a-}]":    "names one of",
		"{[a]b[}]": "names one of",
	} {
		if got, err := Pattern(Key{Namespace: "n", ID: id}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Pattern of %q = %q, %v, want an error with %q", id, got, err, want)
		}
	}
	if _, err := Pattern(Key{Namespace: "n", ID: "x", Params: []any{"a"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Pattern with bad params = %v, want ErrInvalid", err)
	}
}

// TestPatternParams asserts what the doc of Pattern says of parameters.
func TestPatternParams(t *testing.T) {
	t.Parallel()
	limit := []any{"limit", 10} // limit10 ends in "c"
	tests := map[string]struct {
		id      string
		params  []any
		yes, no []Key // without the namespace
	}{
		"star at the end": {"user:*", nil,
			[]Key{{ID: "user:1"}, {ID: "user:1", Params: limit}, {ID: "user:"}, {ID: "user:" + hex32}, {ID: "user:{"}},
			[]Key{{ID: "user"}, {ID: "user", Params: limit}, {ID: "users:1"}}},
		"all": {"", nil,
			[]Key{{ID: "a"}, {ID: "a", Params: limit}, {ID: strings.Repeat("x", 600), Params: limit}}, nil},
		"question mark at the end": {"user:?", nil,
			[]Key{{ID: "user:1"}},
			[]Key{{ID: "user:1", Params: limit}, {ID: "user:12"}, {ID: "user:"}}},
		"no wildcard": {"list", nil,
			[]Key{{ID: "list"}},
			[]Key{{ID: "list", Params: limit}, {ID: "lists"}}},
		"no wildcard and params": {"list", limit,
			[]Key{{ID: "list", Params: limit}},
			[]Key{{ID: "list"}, {ID: "list", Params: []any{"limit", 11}}, {ID: "lists", Params: limit}}},
		"star and params": {"list*", limit,
			[]Key{{ID: "list", Params: limit}, {ID: "lists", Params: limit}},
			[]Key{{ID: "list"}, {ID: "list", Params: []any{"limit", 11}}, {ID: "list%P" + limit10}}},
		"star before the end": {"*c", nil,
			[]Key{{ID: "abc"}, {ID: "x", Params: limit}},
			[]Key{{ID: "abc", Params: []any{"limit", 20}}, {ID: "x"}}},
		"35 elements": {"x" + strings.Repeat("?", 34), nil,
			[]Key{{ID: "x", Params: limit}, {ID: "x" + strings.Repeat("y", 34)}},
			[]Key{{ID: "xy", Params: limit}}},
		"34 elements": {strings.Repeat("?", 34), nil,
			[]Key{{ID: strings.Repeat("y", 34)}},
			[]Key{{ID: "x", Params: limit}}},
		"mark in the identifier": {"x%P*", nil,
			[]Key{{ID: "x%P" + limit10}, {ID: "x%P", Params: limit}},
			[]Key{{ID: "x", Params: limit}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustPattern(t, Key{Namespace: "n", ID: tt.id, Params: tt.params})
			for i, k := range slices.Concat(tt.yes, tt.no) {
				k.Namespace = "n"
				built, want := mustBuild(t, k), i < len(tt.yes)
				if got := MatchGlob(p, built); got != want {
					t.Errorf("%q matches %q: %v, want %v", p, built, got, want)
				}
			}
		})
	}
}

// What the caller's glob says of an identifier, and of the mark and hash behind
// it, its pattern says of the key.
func TestPatternFindsKeys(t *testing.T) {
	t.Parallel()
	ids := []string{
		"a", "ab", "a:b", "user:42", "users", "user:" + hex32, "a:b:" + hex32, hex32, ":" + hex32,
		"*", "[x]", `back\slash`, "{a}", "100%", "a\x00\xff", "user%P" + hex32,
	}
	globs := []string{
		"*", "a*", "*b", "*c", "user:*", "user:??", "*:*", "user*", "*" + hex32, "*:" + hex32, `\**`, "{*", "*%", "?", "??*", "*" + limit10,
	}
	for _, glob := range globs {
		pattern := mustPattern(t, Key{Namespace: "n", ID: glob})
		for _, id := range ids {
			for _, p := range [][]any{nil, {"limit", 10}, {"limit", 20}} {
				k := mustBuild(t, Key{Namespace: "n", ID: id, Params: p})
				text := id
				if p != nil {
					h := mustHash(t, p...)
					text += "%P" + hex.EncodeToString(h[:])
				}
				want := MatchGlob(glob, text)
				if got := MatchGlob(pattern, k); got != want {
					t.Errorf("%q finds %q: %v, want %v", pattern, k, got, want)
				}
				other := mustBuild(t, Key{Namespace: "nn", ID: id, Params: p})
				if MatchGlob(pattern, other) || MatchGlob(pattern, k+LeaseSuffix) {
					t.Errorf("%q finds %q or the lease of %q", pattern, other, k)
				}
			}
		}
	}
}

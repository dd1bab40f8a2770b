package key

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	t.Parallel()
	const head = "cache:v1:n:{"
	long := strings.Repeat("x", MaxID+1)
	tests := map[string]struct {
		id     string
		params []any
		want   []string // without head
	}{
		"whole namespace": {"", nil, []string{"*}"}},
		"star":            {"*", nil, []string{"*}"}},
		"literal":         {"42", nil, []string{"42}"}},
		"wildcards":       {"u?[a-c]*", nil, []string{"u?[a-c]*}"}},
		"escaped glob":    {`\*\?\[\]\\\a`, nil, []string{`\*\?\[\]\\a}`}},
		"escaped, star":   {`\*\?\[\]\\\a*`, nil, []string{`\*\?\[\]\\a*}`}},
		"braces":          {"{%}", nil, []string{"%7B%25%7D}"}},
		"braces and star": {`{\%}*`, nil, []string{"%7B%25%7D*}"}},
		"backslash last":  {`*\`, nil, []string{`*\\}`}},
		"class and brace": {`[\]a]{*`, nil, []string{`[\]a]%7B*}`}},
		"like params":     {"x:" + hex32, nil, []string{"x%3A" + hex32 + "}"}},
		"too long":        {long, nil, []string{"%L" + longHash(long) + "}"}},
		"long, escapes":   {strings.Repeat(`\x`, MaxID), nil, []string{long[1:] + "}"}},

		"params":              {"list", []any{"limit", 10}, []string{"list:" + limit10 + "}"}},
		"params, glob":        {"l*", []any{"limit", 10}, []string{"l*:" + limit10 + "}"}},
		"params, all":         {"", []any{"limit", 10}, []string{"*:" + limit10 + "}"}},
		"params, colon":       {"l:*", []any{"limit", 10}, []string{"l:*:" + limit10 + "}"}},
		"params, like params": {"x:" + hex32, []any{"limit", 10}, []string{"x:" + hex32 + ":" + limit10 + "}"}},

		"colon and star":       {"user:*", nil, []string{"user:*}", "user%3A*}"}},
		"last colon":           {"a:b:*", nil, []string{"a:b:*}", "a:b%3A*}"}},
		"star, colon, star":    {"*:*", nil, []string{"*:*}", "*%3A*}"}},
		"escaped colon":        {`a\:*`, nil, []string{"a:*}", "a%3A*}"}},
		"hex behind":           {"a:*09af", nil, []string{"a:*09af}", "a%3A*09af}"}},
		"no hex behind":        {"a:*g", nil, []string{"a:*g}"}},
		"upper case behind":    {"a:A*", nil, []string{"a:A*}"}},
		"32 of any":            {"a:" + strings.Repeat("?", 32), nil, []string{"a:" + strings.Repeat("?", 32) + "}", "a%3A" + strings.Repeat("?", 32) + "}"}},
		"31 of any":            {"a:" + strings.Repeat("?", 31), nil, []string{"a:" + strings.Repeat("?", 31) + "}"}},
		"33 of any":            {"a:" + strings.Repeat("?", 33), nil, []string{"a:" + strings.Repeat("?", 33) + "}"}},
		"33 of any, star":      {"a:*" + strings.Repeat("?", 33), nil, []string{"a:*" + strings.Repeat("?", 33) + "}"}},
		"hash behind wildcard": {"*:" + hex32, nil, []string{"*:" + hex32 + "}", "*%3A" + hex32 + "}"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := slices.Clone(tt.want)
			for i := range want {
				want[i] = head + want[i]
			}
			k := Key{Namespace: "n", ID: tt.id, Params: tt.params}
			if got, err := Patterns(k); err != nil || !slices.Equal(got, want) {
				t.Errorf("Patterns = %q, %v, want %q", got, err, want)
			}
			if got, err := Pattern(k); err != nil || got != want[0] {
				t.Errorf("Pattern = %q, %v, want %q", got, err, want[0])
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

// What a pattern says of an identifier, its patterns say of the key.
func TestPatternsFindKeys(t *testing.T) {
	t.Parallel()
	ids := []string{
		"a", "ab", "a:b", "user:42", "users", "user:" + hex32, "a:b:" + hex32, hex32, ":" + hex32,
		"*", "[x]", `back\slash`, "{a}", "100%", "a\x00\xff", "user:" + hex32[1:],
	}
	params := [][]any{nil, {"limit", 10}, {"limit", 20}}
	for _, pattern := range []string{"*", "a*", "*b", "user:*", "user:??", "*:*", "user*", "*" + hex32, "*:" + hex32, `\**`, "{*", "*%", "?", "??*"} {
		patterns, err := Patterns(Key{Namespace: "n", ID: pattern})
		if err != nil {
			t.Fatalf("Patterns(%q) = %v", pattern, err)
		}
		for _, id := range ids {
			for _, p := range params {
				k := mustBuild(t, Key{Namespace: "n", ID: id, Params: p})
				text := id
				if p != nil {
					text += k[len(k)-hashTail-1 : len(k)-1]
				}
				want := MatchGlob(pattern, text)
				if got := matchAny(patterns, k); got != want {
					t.Errorf("%q finds %q: %v, want %v", pattern, k, got, want)
				}
				other := mustBuild(t, Key{Namespace: "nn", ID: id, Params: p})
				if matchAny(patterns, other) || matchAny(patterns, k+LeaseSuffix) {
					t.Errorf("%q finds %q or the lease of %q", pattern, other, k)
				}
			}
		}
	}
}

func matchAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return MatchGlob(p, s) })
}

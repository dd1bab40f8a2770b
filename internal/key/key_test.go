package key

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

const (
	hex32 = "00112233445566778899aabbccddeeff"
	// limit10 is the hash of ("limit", 10). It is pinned: another value here
	// means that every key with parameters changes.
	limit10 = "abe2ec236367d4272e32f68e27c0c88c"
)

func mustBuild(t testing.TB, k Key) string {
	t.Helper()
	s, err := Build(k)
	if err != nil {
		t.Fatalf("Build(%+v) = %v", k, err)
	}
	return s
}

func longHash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

func TestBuild(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxID+1)
	tests := map[string]struct {
		key  Key
		want string
	}{
		"defaults":  {Key{Namespace: "users", ID: "42"}, "cache:v1:users:{42}"},
		"all parts": {Key{"app:eu", "v2.1", "a/b_c-D.9", "42", nil}, "app:eu:v2.1:a/b_c-D.9:{42}"},
		"params": {
			Key{Namespace: "users", ID: "list", Params: []any{"limit", 10}},
			"cache:v1:users:{list%P" + limit10 + "}",
		},
		"empty params":        {Key{Namespace: "n", ID: "x", Params: []any{}}, "cache:v1:n:{x}"},
		"escapes":             {Key{Namespace: "n", ID: "{a}%7B{{"}, "cache:v1:n:{%7Ba%7D%257B%7B%7B}"},
		"any bytes":           {Key{Namespace: "n", ID: "\x00 \r\n\xff:*?[]\\"}, "cache:v1:n:{\x00 \r\n\xff:*?[]\\}"},
		"like params":         {Key{Namespace: "n", ID: "x%P" + hex32}, "cache:v1:n:{x%25P" + hex32 + "}"},
		"colon and hex":       {Key{Namespace: "n", ID: "x:" + hex32}, "cache:v1:n:{x:" + hex32 + "}"},
		"longest as it is":    {Key{Namespace: "n", ID: long[1:]}, "cache:v1:n:{" + long[1:] + "}"},
		"longest and escaped": {Key{Namespace: "n", ID: strings.Repeat("{", MaxID)}, "cache:v1:n:{" + strings.Repeat("%7B", MaxID) + "}"},
		"too long":            {Key{Namespace: "n", ID: long}, "cache:v1:n:{%L" + longHash(long) + "}"},
		"looks too long":      {Key{Namespace: "n", ID: "%L" + longHash(long)}, "cache:v1:n:{%25L" + longHash(long) + "}"},
		"too long and params": {
			Key{Namespace: "n", ID: long, Params: []any{"limit", 10}},
			"cache:v1:n:{%L" + longHash(long) + "%P" + limit10 + "}",
		},
		"like params and params": {
			Key{Namespace: "n", ID: "x%P" + hex32, Params: []any{"limit", 10}},
			"cache:v1:n:{x%25P" + hex32 + "%P" + limit10 + "}",
		},
		"longest names": {
			Key{strings.Repeat("p", 128), strings.Repeat("v", 128), strings.Repeat("n", 128), "x", nil},
			strings.Repeat("p", 128) + ":" + strings.Repeat("v", 128) + ":" + strings.Repeat("n", 128) + ":{x}",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := Build(tt.key); got != tt.want || err != nil {
				t.Errorf("Build = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		key  Key
		want string
	}{
		"no identifier":      {Key{Namespace: "n"}, `key: invalid identifier "": want at least 1 byte`},
		"no namespace":       {Key{ID: "x"}, `key: invalid namespace "": 0 bytes, want 1 to 128`},
		"long namespace":     {Key{Namespace: strings.Repeat("n", 129), ID: "x"}, `key: invalid namespace "` + strings.Repeat("n", 40) + `"…: 129 bytes, want 1 to 128`},
		"colon in namespace": {Key{Namespace: "a:b", ID: "x"}, `key: invalid namespace "a:b": ":" at 1, want 1 to 128 bytes of A-Z a-z 0-9 . _ / -`},
		"brace in namespace": {Key{Namespace: "a{", ID: "x"}, `namespace "a{": "{" at 1`},
		"star in namespace":  {Key{Namespace: "*", ID: "x"}, `namespace "*": "*" at 0`},
		"byte in namespace":  {Key{Namespace: "a\xff", ID: "x"}, `namespace "a\xff": "\xff" at 1`},
		"colon in version":   {Key{Version: "v:1", Namespace: "n", ID: "x"}, `version "v:1": ":" at 1`},
		"long version":       {Key{Version: strings.Repeat("v", 129), Namespace: "n", ID: "x"}, `129 bytes, want 1 to 128`},
		"colon first":        {Key{Prefix: ":p", Namespace: "n", ID: "x"}, `prefix ":p": ":" at 0, want 1 to 128 bytes of A-Z a-z 0-9 . _ / - and : inside`},
		"colon last":         {Key{Prefix: "p:", Namespace: "n", ID: "x"}, `prefix "p:": ":" at 1`},
		"brace in prefix":    {Key{Prefix: "{p}", Namespace: "n", ID: "x"}, `prefix "{p}": "{" at 0`},
		"bad params":         {Key{Namespace: "n", ID: "x", Params: []any{"a"}}, `param "a": no value`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Build(tt.key)
			if got != "" || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Build = %q, %v, want an error with %q", got, err, tt.want)
			}
			// A pattern has the same parts, but may have no identifier.
			if _, err := Pattern(tt.key); (err == nil) != (tt.key.ID == "") {
				t.Errorf("Pattern = %v, want the error of Build", err)
			}
		})
	}
}

func TestSpace(t *testing.T) {
	t.Parallel()
	s, err := NewSpace("", "", "users")
	if err != nil {
		t.Fatalf("NewSpace = %v", err)
	}
	if got, want := s.Prefix(), "cache:v1:users:{"; got != want {
		t.Errorf("Prefix = %q, want %q", got, want)
	}
	h, err := HashParams([]any{"limit", 10})
	if err != nil {
		t.Fatalf("HashParams = %v", err)
	}
	for _, id := range []string{"42", "{", "x%P" + hex32, strings.Repeat("x", 600)} {
		k := Key{Namespace: "users", ID: id}
		if got, want := s.Key(id), mustBuild(t, k); got != want {
			t.Errorf("Key(%q) = %q, want %q", id, got, want)
		}
		if got, want := s.KeyParams(id, ParamHash{}), s.Key(id); got != want {
			t.Errorf("KeyParams(%q, zero) = %q, want %q", id, got, want)
		}
		k.Params = []any{"limit", 10}
		if got, want := s.KeyParams(id, h), mustBuild(t, k); got != want {
			t.Errorf("KeyParams(%q) = %q, want %q", id, got, want)
		}
	}
	if got := s.Key("") + s.KeyParams("", h); got != "" {
		t.Errorf("Key of the empty identifier = %q, want none", got)
	}
	if _, err := NewSpace("", "", ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("NewSpace without namespace = %v, want ErrInvalid", err)
	}
}

// Not parallel: testing.AllocsPerRun counts the whole process.
func TestAllocations(t *testing.T) {
	s, _ := NewSpace("", "", "users")
	params := []any{"skip", 20, "limit", 10, "q", "some words", "all", true, "by", nil, "x", 1.5}
	h, _ := HashParams(params)
	var sink string
	for name, tt := range map[string]struct {
		want float64
		run  func()
	}{
		"Key":             {1, func() { sink = s.Key("0123456789") }},
		"Key, escaped":    {1, func() { sink = s.Key("{}%{}%{}%{}%{}%{}%{}%{}%{}%{}%") }},
		"Key, longest":    {1, func() { sink = s.Key(longest) }},
		"KeyParams":       {1, func() { sink = s.KeyParams("0123456789", h) }},
		"KeyParams, long": {1, func() { sink = s.KeyParams(longest, h) }},
		"HashParams":      {0, func() { HashParams(params) }},
	} {
		if got := testing.AllocsPerRun(100, tt.run); got != tt.want {
			t.Errorf("%s: %v allocations, want %v", name, got, tt.want)
		}
	}
	_ = sink
}

var longest = strings.Repeat("{", MaxID)

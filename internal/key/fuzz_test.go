package key

import (
	"strings"
	"testing"
)

// hashTag returns what Redis Cluster hashes to find the slot of a key: the bytes
// between the first opening brace and the next closing one, if there are any,
// else the key.
func hashTag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}

// fuzzParams makes parameters of what the fuzzer gives, none for an even kind.
func fuzzParams(kind byte, text string, n int64) []any {
	switch kind % 8 {
	case 1:
		return []any{"a", text}
	case 3:
		return []any{"a", n}
	case 5:
		return []any{"a" + text, n, "b", []string{text, "x"}}
	case 7:
		return []any{"b", []byte(text)}
	}
	return nil
}

// FuzzBuild checks that two keys are equal if and only if all they were built
// from is.
func FuzzBuild(f *testing.F) {
	f.Add("n", "x", byte(0), "", int64(0), "n", "x", byte(1), "", int64(0))
	f.Add("n", "x%P"+limit10, byte(0), "", int64(0), "n", "x", byte(3), "", int64(10))
	f.Add("n", "x%P"+hex32, byte(0), "", int64(0), "n", "x%25P"+hex32, byte(0), "", int64(0))
	f.Add("n", "x%", byte(3), "", int64(0), "n", "x", byte(3), "", int64(0))
	f.Add("n", "{", byte(0), "", int64(0), "n", "%7B", byte(0), "", int64(0))
	f.Add("n", strings.Repeat("x", 600), byte(0), "", int64(0), "n", "%L", byte(2), "", int64(0))
	f.Add("a", "b", byte(5), "\x00", int64(-1), "a", "b", byte(7), "\x00", int64(0))
	f.Fuzz(func(t *testing.T, ns1, id1 string, kind1 byte, text1 string, n1 int64,
		ns2, id2 string, kind2 byte, text2 string, n2 int64,
	) {
		p1, p2 := fuzzParams(kind1, text1, n1), fuzzParams(kind2, text2, n2)
		k1, err1 := Build(Key{Namespace: ns1, ID: id1, Params: p1})
		k2, err2 := Build(Key{Namespace: ns2, ID: id2, Params: p2})
		if err1 == nil {
			checkKey(t, k1)
			// The identifier as it would be stored must not be taken for itself.
			stored := hashTag(k1)
			if k, err := Build(Key{Namespace: ns1, ID: stored}); err != nil || (k == k1) != (stored == id1 && p1 == nil) {
				t.Errorf("identifier %q builds %q, %v, and so does %q with %v", stored, k, err, id1, p1)
			}
		}
		if err1 != nil || err2 != nil {
			return
		}
		same := ns1 == ns2 && id1 == id2 && sameParams(p1, p2)
		if (k1 == k2) != same {
			t.Errorf("(%q, %q, %v) and (%q, %q, %v) build %q and %q", ns1, id1, p1, ns2, id2, p2, k1, k2)
		}
	})
}

func checkKey(t *testing.T, k string) {
	t.Helper()
	open := strings.IndexByte(k, '{')
	if open < 0 || k[len(k)-1] != '}' || hashTag(k) != k[open+1:len(k)-1] {
		t.Errorf("hash tag of %q is %q, want all between the braces", k, hashTag(k))
	}
	if hashTag(k+LeaseSuffix) != hashTag(k) {
		t.Errorf("hash tag of the lease of %q is %q", k, hashTag(k+LeaseSuffix))
	}
}

// sameParams compares what fuzzParams returns.
func sameParams(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		switch x := a[i].(type) {
		case []string:
			y, ok := b[i].([]string)
			if !ok || x[0] != y[0] {
				return false
			}
		case []byte:
			y, ok := b[i].([]byte)
			if !ok || string(x) != string(y) {
				return false
			}
		default:
			switch b[i].(type) {
			case []string, []byte:
				return false
			}
			if a[i] != b[i] {
				return false
			}
		}
	}
	return true
}

// FuzzPattern checks that the pattern of a literal identifier matches its key
// and no other, and that patterns with wildcards find what they should.
func FuzzPattern(f *testing.F) {
	f.Add("x", "y", 1)
	f.Add("a*b", "axb", 1)
	f.Add(`[a]\`, "a", 0)
	f.Add("x%P"+limit10, "x", 2)
	f.Add("x%25P"+limit10, "x%P"+limit10, 2)
	f.Add("{}%", "%7B", 2)
	f.Add("x??"+limit10, "x", 1)
	f.Add(strings.Repeat("?", 600), strings.Repeat("x", 600), 3)
	f.Fuzz(func(t *testing.T, id, other string, cut int) {
		limit := []any{"limit", 10}
		allParams := [][]any{nil, limit, {"a", other}}
		if id == "" || len(id)+len(other) > 1<<18 {
			return
		}
		for _, mine := range allParams {
			k := mustBuild(t, Key{Namespace: "n", ID: id, Params: mine})
			p := mustPattern(t, Key{Namespace: "n", ID: EscapeGlob(id), Params: mine})
			for _, params := range allParams {
				for _, o := range []string{id, other} {
					o, err := Build(Key{Namespace: "n", ID: o, Params: params})
					if err == nil && MatchGlob(p, o) != (o == k) {
						t.Errorf("Pattern %q of %q with %v matches %q: %v", p, id, mine, o, MatchGlob(p, o))
					}
				}
			}
			// A literal beginning and a star find the identifier, whatever params.
			cut = min(max(cut, 0), len(id))
			if p := mustPattern(t, Key{Namespace: "n", ID: EscapeGlob(id[:cut]) + "*"}); len(id) <= MaxID && !MatchGlob(p, k) {
				t.Errorf("Pattern %q of %q and a star does not match %q", p, id[:cut], k)
			}
		}
		checkAnyPattern(t, id, other, limit)
	})
}

// checkAnyPattern checks what holds for every pattern, the caller's glob may be
// what it likes: it stays within its namespace, and within its params if it has
// any.
func checkAnyPattern(t *testing.T, glob, id string, params []any) {
	t.Helper()
	all, err := Pattern(Key{Namespace: "n", ID: glob})
	if err != nil {
		return
	}
	for _, o := range []string{"cache:v1:m:{x}", "cache:v1:n:{x}:l", "cache:v2:n:{x}"} {
		if MatchGlob(all, o) {
			t.Errorf("Pattern of %q = %q matches %q", glob, all, o)
		}
	}
	with := mustPattern(t, Key{Namespace: "n", ID: glob, Params: params})
	for _, id := range []string{"x", id, glob, glob + "%P" + limit10} {
		if id == "" {
			continue
		}
		k := mustBuild(t, Key{Namespace: "n", ID: id})
		if MatchGlob(with, k) || MatchGlob(all, k+LeaseSuffix) {
			t.Errorf("Pattern of %q with params matches %q, or %q its lease", glob, k, all)
		}
		other := mustBuild(t, Key{Namespace: "n", ID: id, Params: []any{"other", id}})
		if MatchGlob(with, other) {
			t.Errorf("Pattern of %q with params matches %q with others", glob, other)
		}
		// These params neither add to nor take from what the glob finds.
		own := mustBuild(t, Key{Namespace: "n", ID: id, Params: params})
		if MatchGlob(with, own) != MatchGlob(all, k) {
			t.Errorf("Pattern of %q matches %q: %v, and with params %q: %v", glob, k, MatchGlob(all, k), own, MatchGlob(with, own))
		}
	}
}

// FuzzHashParams checks that parameters of one type are equal if and only if
// their hashes are, and that lists cannot be shifted into one another.
func FuzzHashParams(f *testing.F) {
	f.Add("a", "b", "c", "d", int64(1), 1.5)
	f.Add("", "ab", "", "", int64(-1), 0.0)
	f.Fuzz(func(t *testing.T, a, b, c, d string, n int64, x float64) {
		if x != x || len(a)+len(b)+len(c)+len(d) > 1<<18 {
			return
		}
		lists := []struct {
			text string
			p    []any
		}{
			{"ab", []any{"x", a, "y", b}},
			{"cd", []any{"x", c, "y", d}},
			{"[ab]", []any{"x", []string{a, b}}},
			{"[cd]", []any{"x", []string{c, d}}},
			{"{a:b}", []any{"x", map[string]string{a: b}}},
			{"{c:d}", []any{"x", map[string]string{c: d}}},
			{"n", []any{"x", n}},
			{"f", []any{"x", x}},
			{"[n]", []any{"x", []int64{n}}},
		}
		hashes := make([]ParamHash, len(lists))
		for i, l := range lists {
			h, err := HashParams(l.p)
			if err != nil {
				t.Fatalf("HashParams(%v) = %v", l.p, err)
			}
			hashes[i] = h
			for j := range i {
				// Lists of one form come in pairs, which are equal if their texts are.
				same := i/2 == j/2 && i < 6 && a == c && b == d
				if (hashes[j] == h) != same {
					t.Errorf("hashes of %s %v and %s %v are equal: %v", lists[j].text, lists[j].p, l.text, l.p, hashes[j] == h)
				}
			}
		}
		back, err := HashParams([]any{"y", b, "x", a})
		if err != nil || back != hashes[0] {
			t.Errorf("HashParams in another order = %x, %v, want %x", back, err, hashes[0])
		}
	})
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// brisk is the show with less patience.
var brisk = config{
	callers:   20,
	queryTime: 5 * time.Millisecond,
	ttl:       500 * time.Millisecond,
	rounds:    20,
	cold:      12,
	healLimit: 10 * time.Second,
	opTimeout: 2 * time.Second,
}

// perform runs the program and returns its exit status and its output.
func perform(t *testing.T, cfg config, tty bool, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = mainCode(args, &screen{w: &out, tty: tty}, &errs, cfg)
	return code, out.String(), errs.String()
}

var resultLine = regexp.MustCompile(`^RESULT instances=4 callers=(\d+) loads_cold=(\d+) loads_expiry=(\d+)` +
	` lag_p50_us=(\d+) lag_max_us=(\d+) stale_after_bound=(\d+) errors=(\d+)$`)

// results returns the numbers of the RESULT line, which must be the last one
// and the only one of its kind.
func results(t *testing.T, out string) (n []int) {
	t.Helper()
	if got := strings.Count(out, "RESULT"); got != 1 {
		t.Fatalf("output has RESULT %d times, want 1:\n%s", got, out)
	}
	lines := strings.Split(out, "\n")
	m := resultLine.FindStringSubmatch(lines[max(0, len(lines)-2)])
	if m == nil || lines[len(lines)-1] != "" {
		t.Fatalf("output does not end with a RESULT line:\n%s", out)
	}
	for _, s := range m[1:] {
		i, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		n = append(n, i)
	}
	return n
}

// wantKept fails the test unless a run kept all promises.
func wantKept(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	n := results(t, stdout)
	p50, most := n[3], n[4]
	if code != 0 || strings.Contains(stdout, "FAILED") || stderr != "" {
		t.Errorf("exit status = %d, stderr = %q, want 0 and no failure:\n%s", code, stderr, stdout)
	}
	if p50 > most || most > int(maxStaleness.Microseconds()) {
		t.Errorf("lag_p50_us = %d, lag_max_us = %d, want them in order and below %v", p50, most, maxStaleness)
	}
	n[3], n[4] = 0, 0
	if want := []int{4 * brisk.callers, 1, 1, 0, 0, 0, 0}; !slices.Equal(n, want) {
		t.Errorf("callers, loads_cold, loads_expiry, -, -, stale_after_bound, errors = %v, want %v", n, want)
	}
}

func TestInProcess(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := perform(t, brisk, false)
	wantKept(t, code, stdout, stderr)
	if strings.ContainsAny(stdout, "\x1b\r") {
		t.Errorf("output is not plain text: %q", stdout)
	}
	if got := strings.Count(stdout, "\n   ok  "); got < 15 {
		t.Errorf("%d claims were checked, want at least 15:\n%s", got, stdout)
	}
}

func TestStandalone(t *testing.T) {
	t.Parallel()
	for _, flavor := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		t.Run(string(flavor), func(t *testing.T) {
			t.Parallel()
			s := localredis.Standalone(t, flavor)
			code, stdout, stderr := perform(t, brisk, false, "-redis", "redis://"+s.Addr())
			wantKept(t, code, stdout, stderr)
			if !strings.Contains(stdout, "a standalone server at "+s.Addr()) {
				t.Errorf("output does not say what Redis it was:\n%s", stdout)
			}
			wantOnlyExpiringKeys(t, s)
		})
	}
}

// wantOnlyExpiringKeys fails the test unless every key that is left will
// expire.
func wantOnlyExpiringKeys(t *testing.T, s *localredis.Server) {
	t.Helper()
	keys, err := s.Do(t.Context(), "KEYS", "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys.([]any) {
		most := int64(180)
		if strings.Contains(key.(string), "#token") { // of a namespace: 8 bytes, for a day
			most = 24 * 60 * 60
		}
		ttl, err := s.Do(t.Context(), "TTL", key.(string))
		if left, _ := ttl.(int64); err != nil || left == -1 || left > most {
			t.Errorf("TTL of %v = %v, %v, want at most %d", key, ttl, err, most)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{Primaries: 3})
	code, stdout, stderr := perform(t, brisk, false, "-redis", "redis://"+c.Addrs()[0])
	wantKept(t, code, stdout, stderr)
	if !strings.Contains(stdout, "a cluster of 3 primaries at") {
		t.Errorf("output does not say what Redis it was:\n%s", stdout)
	}
}

// twice is a database that is asked twice whenever it is asked.
type twice struct{ *Store }

func (d twice) Product(ctx context.Context, id int64) (Product, error) {
	if _, err := d.Store.Product(ctx, id); err != nil {
		return Product{}, err
	}
	return d.Store.Product(ctx, id)
}

func TestTooManyQueriesFail(t *testing.T) {
	t.Parallel()
	cfg := brisk
	cfg.database = func(s *Store) Database { return twice{s} }
	code, stdout, _ := perform(t, cfg, false)
	if n := results(t, stdout); code != 1 || n[1] != 2 || n[2] != 2 {
		t.Errorf("exit status = %d, loads_cold = %d, loads_expiry = %d, want 1, 2 and 2:\n%s", code, n[1], n[2], stdout)
	}
	for _, claim := range []string{"one query for all of them", "one query per expiry", "one query per update"} {
		if !strings.Contains(stdout, "\nFAILED  "+claim+"\n") {
			t.Errorf("output does not say that this failed: %s\n%s", claim, stdout)
		}
	}
}

// forgetful is a database that does not do the updates.
type forgetful struct{ *Store }

func (d forgetful) Rename(context.Context, int64, string) error { return nil }

func TestOldNamesFail(t *testing.T) {
	t.Parallel()
	cfg := brisk
	cfg.rounds = 2
	cfg.healLimit = 200 * time.Millisecond
	cfg.database = func(s *Store) Database { return forgetful{s} }
	code, stdout, _ := perform(t, cfg, false)
	if results(t, stdout); code != 1 {
		t.Errorf("exit status = %d, want 1", code)
	}
	for _, claim := range []string{
		"once gone, the old name never came back",
		"the instance that renamed the product never saw the old name again",
		"not all instances had the new name",
	} {
		if !strings.Contains(stdout, "\nFAILED  "+claim) {
			t.Errorf("output does not say that this failed: %s\n%s", claim, stdout)
		}
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	cfg := brisk
	cfg.rounds = 2
	code, stdout, _ := perform(t, cfg, true)
	if code != 0 || !strings.Contains(stdout, green+"ok"+reset) || !strings.Contains(stdout, clear+indent+dim) {
		t.Errorf("exit status = %d, output %q, want 0, colors and a line that moves", code, stdout)
	}
	if last := stdout[strings.LastIndex(stdout, "\n\n"):]; !strings.HasPrefix(last, "\n\nRESULT ") {
		t.Errorf("output ends with %q, want a plain RESULT line", last)
	}
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"-callers", "0"}, 2, "-callers must be at least 1"},
		{[]string{"extra"}, 2, "no arguments"},
		{[]string{"-nonsense"}, 2, "flag provided but not defined"},
		{[]string{"-redis", "redis://user:secret@[bad"}, 1, "-redis: "},
		{[]string{"-redis", "redis://127.0.0.1:1"}, 1, "is the server running"},
	} {
		t.Run(fmt.Sprint(tt.args), func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := perform(t, brisk, false, tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) || strings.Contains(stdout, "RESULT") {
				t.Errorf("exit status = %d, stderr = %q, want %d and %q", code, stderr, tt.code, tt.stderr)
			}
			if strings.Contains(stderr, "secret") {
				t.Errorf("stderr has the password: %q", stderr)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want string }{
		{count(0), "0"},
		{count(999), "999"},
		{count(1000), "1,000"},
		{count(-1234567), "-1,234,567"},
		{plural(1, "query", "queries"), "1 query"},
		{plural(4000, "query", "queries"), "4,000 queries"},
		{brief(61234 * time.Nanosecond), "61µs"},
		{brief(1234 * time.Microsecond), "1.2ms"},
		{brief(44444 * time.Microsecond), "44ms"},
		{brief(1234 * time.Millisecond), "1.23s"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

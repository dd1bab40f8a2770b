package main

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// TestMain is the relay when the program under test starts one.
func TestMain(m *testing.M) {
	if os.Getenv(relayEnv) != "" {
		os.Exit(relayMain(os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

var resultLine = regexp.MustCompile(`\nRESULT orders=(\d+) relay_kills=(\d+) delivered=(\d+) duplicates=(\d+) lost=(\d+) stale=(\d+)\n$`)

// perform runs the program and returns its exit status and its result.
func perform(t *testing.T, args ...string) (code int, r result, out string) {
	t.Helper()
	cfg := config{changes: 80, kills: 12, relay: []string{os.Args[0]}}
	var stdout, stderr bytes.Buffer
	code = mainCode(args, &stdout, &stderr, cfg)
	m := resultLine.FindStringSubmatch(stdout.String())
	if m == nil || stderr.Len() > 0 {
		t.Fatalf("exit status %d, stderr %q, no RESULT line:\n%s", code, stderr.String(), stdout.String())
	}
	for i, p := range []*int{&r.orders, &r.kills, &r.delivered, &r.duplicates, &r.lost, &r.stale} {
		var err error
		if *p, err = strconv.Atoi(m[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return code, r, stdout.String()
}

// wantNothingLost fails the test unless a run has lost nothing.
func wantNothingLost(t *testing.T, code int, r result, out string) {
	t.Helper()
	if code != 0 || r.lost != 0 || r.stale != 0 || r.orders != 80 || r.delivered != 80 || r.kills != 12 {
		t.Errorf("exit status %d with %+v, want all 80 delivered after 12 kills:\n%s", code, r, out)
	}
	t.Logf("%+v", r)
}

func TestInProcess(t *testing.T) {
	t.Parallel()
	code, r, out := perform(t)
	wantNothingLost(t, code, r, out)
}

func TestStandalone(t *testing.T) {
	t.Parallel()
	s := localredis.Standalone(t, localredis.Redis)
	code, r, out := perform(t, "-redis", "redis://"+s.Addr())
	wantNothingLost(t, code, r, out)
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{Primaries: 3})
	code, r, out := perform(t, "-redis", "redis://"+c.Addrs()[0])
	wantNothingLost(t, code, r, out)
}

// A relay that marks messages before it appends them loses those it dies with,
// and the run says so.
func TestMarkingFirstLoses(t *testing.T) {
	t.Parallel()
	code, r, out := perform(t, "-broken")
	for try := 1; r.lost == 0 && try < 3; try++ { // by chance, no relay died between the two
		code, r, out = perform(t, "-broken")
	}
	if code != 1 || r.lost == 0 {
		t.Errorf("exit status %d with %+v, want 1 and something lost:\n%s", code, r, out)
	}
	t.Logf("%+v", r)
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"extra"}, 2, "there are no arguments"},
		{[]string{"-changes", "0"}, 2, "-changes must be at least 1"},
		{[]string{"-kills", "-1"}, 2, "-kills at least 0"},
		{[]string{"-redis", "redis://127.0.0.1:1"}, 1, "is the server running"},
	} {
		var stdout, stderr bytes.Buffer
		code := mainCode(tt.args, &stdout, &stderr, defaults)
		if code != tt.code || !strings.Contains(stderr.String(), tt.want) || strings.Contains(stdout.String(), "RESULT") {
			t.Errorf("%v: exit status %d, stderr %q, want %d and %q", tt.args, code, stderr.String(), tt.code, tt.want)
		}
	}
}

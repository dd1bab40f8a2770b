package rc_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// leakDeadline is how long goroutines that are on their last lines get.
const leakDeadline = 5 * time.Second

// module begins the name of every function that counts as ours.
const module = "github.com/fleetcache/fleetcache/"

// stacks returns the stacks of all goroutines but those that run tests.
func stacks() []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var out []string
	for _, g := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(g, "testing.tRunner") || strings.Contains(g, "main.main") {
			continue
		}
		out = append(out, g)
	}
	return out
}

// leaked returns the stacks of goroutines with frames of this module, once
// there are none or the time is over.
func leaked(wait time.Duration) (left []string) {
	for end := time.Now().Add(wait); ; runtime.Gosched() {
		left = left[:0]
		for _, g := range stacks() {
			if strings.Contains(g, module) {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// TestLeakCheckSeesALeak is the proof that leaked can fail. It runs without
// t.Parallel, so no other test of the package has goroutines meanwhile.
func TestLeakCheckSeesALeak(t *testing.T) {
	if left := leaked(leakDeadline); len(left) != 0 { // those of the test before are on their last lines
		t.Fatalf("leaked = %v before the test", left)
	}
	stop := make(chan struct{})
	go func() { <-stop }()
	if left := leaked(0); len(left) != 1 {
		t.Errorf("leaked = %d goroutines with one left behind, want 1: %v", len(left), left)
	}
	close(stop)
	if left := leaked(leakDeadline); len(left) != 0 {
		t.Errorf("leaked = %v after it has ended", left)
	}
}

// TestCloseLeavesNoGoroutines opens, uses and closes a Manager, in each state
// a load can be in.
func TestCloseLeavesNoGoroutines(t *testing.T) {
	srv := rctest.Start()
	m, err := srv.Open(t.Context(), rc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := service(t, m, rc.Config[string]{StaleFor: time.Minute, EarlyFraction: 0.5})
	set(t, s, "due", "old")
	srv.FastForward(40 * time.Second)
	inflight := newLoader()
	f := async(func() (string, error) { return s.GetOrSet(t.Context(), "cold", inflight.load) })
	inflight.begin(t)
	behind := newLoader()
	if v, err := s.GetOrSet(t.Context(), "due", behind.load); v != "old" || err != nil {
		t.Errorf("GetOrSet of a value that is due = %q, %v, want %q", v, err, "old")
	}
	behind.begin(t)
	if len(leaked(0)) == 0 {
		t.Error("no goroutine of this module while loads run: the check looks at the wrong ones")
	}
	m.Close()
	if _, err := f.get(t); err == nil {
		t.Error("a load in flight survived Close without an error")
	}
	srv.Close()
	if left := leaked(leakDeadline); len(left) != 0 {
		t.Errorf("%d goroutines after Close:\n%s", len(left), strings.Join(left, "\n\n"))
	}
	if _, _, err := s.Get(context.Background(), "due"); err != rc.ErrClosed {
		t.Errorf("Get after Close = %v, want ErrClosed", err)
	}
}

package rc_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/leak"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// TestCloseLeavesNoGoroutines opens, uses and closes a Manager, in each state
// a load can be in.
func TestCloseLeavesNoGoroutines(t *testing.T) {
	srv := rctest.Start()
	m, err := srv.Open(t.Context(), calm())
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
	if len(leak.Goroutines(module, 0)) == 0 {
		t.Error("no goroutine of this module while loads run: the check looks at the wrong ones")
	}
	m.Close()
	if _, err := f.get(t); err == nil {
		t.Error("a load in flight survived Close without an error")
	}
	srv.Close()
	if left := leak.Goroutines(module, leak.Patience); len(left) != 0 {
		t.Errorf("%d goroutines after Close:\n%s", len(left), strings.Join(left, "\n\n"))
	}
	if _, _, err := s.Get(context.Background(), "due"); err != rc.ErrClosed {
		t.Errorf("Get after Close = %v, want ErrClosed", err)
	}
}

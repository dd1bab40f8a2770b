package rctest_test

import (
	"context"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

func TestSmoke(t *testing.T) {
	m, srv := rctest.New(t)
	s, err := rc.New(m, "users", rc.Config[string]{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	load := func(context.Context) (string, error) { n++; return "x", nil }
	for range 3 {
		if v, err := s.GetOrSet(t.Context(), "a", load); v != "x" || err != nil {
			t.Fatal(v, err)
		}
	}
	if n != 1 {
		t.Fatal(n)
	}
	srv.FastForward(2 * time.Minute)
	s.GetOrSet(t.Context(), "a", load)
	if n != 2 {
		t.Fatal(n)
	}
	it, err := s.Lookup(t.Context(), "a")
	t.Logf("%+v %v %v", it, err, srv.Commands())
	t.Logf("%+v", m.Stats())
}

// What takes longer than DefaultOpTimeout is no outage to a test.
func TestNewHasPatience(t *testing.T) {
	m, srv := rctest.New(t)
	s, err := rc.New(m, "users", rc.Config[string]{L1Size: rc.Off})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(t.Context(), "a", "x"); err != nil {
		t.Fatal(err)
	}
	srv.Delay(2 * rc.DefaultOpTimeout)
	defer srv.Delay(0)
	if v, found, err := s.Get(t.Context(), "a"); v != "x" || !found || err != nil {
		t.Errorf("Get from a slow server = %q, %v, %v, want x", v, found, err)
	}
}

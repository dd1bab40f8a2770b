package localredis

import (
	"context"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		runHelper()
	}
	os.Exit(m.Run())
}

// flavors runs test for every flavor; a missing binary skips its subtest.
func flavors(t *testing.T, test func(t *testing.T, f Flavor)) {
	t.Helper()
	for _, f := range []Flavor{Redis, Valkey} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			Require(t, f)
			test(t, f)
		})
	}
}

// within returns a context that ends with the test or after 20 s.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// do is Do that fails the test on any error.
func do(t *testing.T, s *Server, args ...string) any {
	t.Helper()
	reply, err := s.Do(within(t), args...)
	if err != nil {
		t.Fatalf("%v at %s: %v", args, s.Addr(), err)
	}
	return reply
}

func wantReply(t *testing.T, s *Server, want any, args ...string) {
	t.Helper()
	if got := do(t, s, args...); got != want {
		t.Fatalf("%v at %s = %v, want %v", args, s.Addr(), got, want)
	}
}

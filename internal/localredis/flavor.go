package localredis

import (
	"os"
	"os/exec"
	"strings"
)

// Flavor names a server implementation by the file name of its binary. The
// zero value is treated as [Redis] wherever a config holds one.
type Flavor string

// The flavors this package knows. Both must be of version 7 or later.
const (
	Redis  Flavor = "redis-server"
	Valkey Flavor = "valkey-server"
)

// RequireEnv is the environment variable that turns a missing server binary
// from a skip into a failure when it is set to 1.
const RequireEnv = "RC_REQUIRE_REDIS"

// TB is what the helpers of this package need of a test. *testing.T, *testing.B
// and testing.TB have it. It is declared here so that code which is not a test
// can import this package without importing testing.
type TB interface {
	Helper()
	Cleanup(cleanup func())
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Available reports whether the binary of f is on PATH.
func (f Flavor) Available() bool {
	_, err := exec.LookPath(string(f.orRedis()))
	return err == nil
}

// Require ends the test unless the binary of f is on PATH: it skips with one
// line that says what to install, or fails when [RequireEnv] is 1.
func Require(tb TB, f Flavor) {
	tb.Helper()
	f = f.orRedis()
	if f.Available() {
		return
	}
	if os.Getenv(RequireEnv) == "1" {
		tb.Fatalf("localredis: %s is not on PATH and %s=1: %s", f, RequireEnv, f.hint())
		return
	}
	tb.Skipf("localredis: SKIPPED, NOT TESTED: %s is not on PATH: %s (%s=1 makes this a failure)",
		f, f.hint(), RequireEnv)
}

func (f Flavor) orRedis() Flavor {
	if f == "" {
		return Redis
	}
	return f
}

func (f Flavor) hint() string {
	switch f {
	case Redis:
		return "install Redis 7 or later (Debian: apt-get install redis-server; macOS: brew install redis)"
	case Valkey:
		return "install Valkey (Debian: apt-get install valkey-server; macOS: brew install valkey)"
	}
	return "install it or correct PATH"
}

// Flavors returns the servers that the test of a name is to run on, each in a
// subtest: both. If short it is one of them, about half of the tests each.
func Flavors(test string, short bool) []Flavor {
	both := []Flavor{Redis, Valkey}
	if !short {
		return both
	}
	name, _, _ := strings.Cut(test, "/")
	i := len(name) % 2
	return both[i : i+1]
}

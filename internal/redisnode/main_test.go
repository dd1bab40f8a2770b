package redisnode_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// newMaker returns a local backend that is closed after everything that runs on
// it has been stopped.
func newMaker(t *testing.T, f localredis.Flavor) redisnode.Maker {
	t.Helper()
	localredis.Require(t, f)
	m, err := localredis.NewMaker(localredis.MakerConfig{Binary: string(f)})
	must(t, "NewMaker", err)
	t.Cleanup(func() { must(t, "Close", m.Close()) })
	return m
}

// deployment is what describes itself when a test fails.
type deployment interface {
	Stop()
	Describe(n int) string
}

func stopAfter(t *testing.T, d deployment) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(d.Describe(2 << 10))
		}
		d.Stop()
	})
}

func newCluster(t *testing.T, m redisnode.Maker, cfg redisnode.ClusterConfig) *redisnode.Cluster {
	t.Helper()
	c, err := redisnode.StartCluster(within(t), m, cfg)
	must(t, "StartCluster", err)
	stopAfter(t, c)
	return c
}

func newSentinel(t *testing.T, m redisnode.Maker, cfg redisnode.SentinelConfig) *redisnode.Sentinel {
	t.Helper()
	d, err := redisnode.StartSentinel(within(t), m, cfg)
	must(t, "StartSentinel", err)
	stopAfter(t, d)
	return d
}

func newReplicated(t *testing.T, m redisnode.Maker, cfg redisnode.ReplicatedConfig) *redisnode.Replicated {
	t.Helper()
	r, err := redisnode.StartReplicated(within(t), m, cfg)
	must(t, "StartReplicated", err)
	stopAfter(t, r)
	return r
}

// flavors runs test for every flavor; a missing binary skips its subtest.
func flavors(t *testing.T, test func(t *testing.T, f localredis.Flavor)) {
	t.Helper()
	for _, f := range localredis.Flavors(t.Name(), testing.Short()) {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			localredis.Require(t, f)
			test(t, f)
		})
	}
}

// within returns a context that ends with the test or after 30 s.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
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
func do(t *testing.T, s *redisnode.Server, args ...string) any {
	t.Helper()
	reply, err := s.Do(within(t), args...)
	if err != nil {
		t.Fatalf("%v at %s: %v", args, s.Addr(), err)
	}
	return reply
}

func wantReply(t *testing.T, s *redisnode.Server, want any, args ...string) {
	t.Helper()
	if got := do(t, s, args...); got != want {
		t.Fatalf("%v at %s = %v, want %v", args, s.Addr(), got, want)
	}
}

// setAtReplica writes a key and waits until the one replica has it. WAIT looks
// at the writes of its own connection only, so both take the same.
func setAtReplica(t *testing.T, s *redisnode.Server, key, value string) {
	t.Helper()
	replies, err := s.Pipeline(within(t), []string{"SET", key, value}, []string{"WAIT", "1", "5000"})
	must(t, "SET and WAIT", err)
	if replies[0] != "OK" || replies[1] != int64(1) {
		t.Fatalf("SET and WAIT at %s = %v, want [OK 1]", s.Addr(), replies)
	}
}

func wantConfig(t *testing.T, s *redisnode.Server, name, value string) {
	t.Helper()
	got, _ := do(t, s, "CONFIG", "GET", name).([]any)
	if want := []any{name, value}; !slices.Equal(got, want) {
		t.Errorf("CONFIG GET at %s = %v, want %v", s, got, want)
	}
}

// field returns the value of a "name:value" line of INFO.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

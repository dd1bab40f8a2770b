package clustertest

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/nap"
)

// Environment variables of these tests.
const (
	requireEnv = "CLUSTERTEST_REQUIRE" // 1 makes a missing backend or server a failure
	imagesEnv  = "CLUSTERTEST_IMAGES"  // images for the docker backend, separated by blanks
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(runChild())
	}
	flag.Parse()
	parallel := flag.Lookup("test.parallel")
	switch backend, err := (Topology{}).wantedBackend(); {
	case err != nil:
		// The tests say so.
	case backend != Local:
		// Now, before the machine is too busy for docker to answer in time; the
		// answer is remembered.
		_ = dockerAvailable()
	case parallel.Value.String() == parallel.DefValue:
		// Tests wait for servers most of the time. Starting containers is work.
		_ = parallel.Value.Set("4") // a number is what it takes
	}
	os.Exit(m.Run())
}

// long skips, with -short, what takes long in containers and says little that it
// does not say of processes.
func long(t *testing.T, on Topology) {
	t.Helper()
	if testing.Short() && on.Backend == Docker {
		t.Skip("in containers, without -short only")
	}
}

// forEachBackend runs test on every backend and server there is, at the same
// time; as processes on one of the servers in short mode, about half of the tests
// each. CLUSTERTEST_BACKEND restricts it to one backend.
func forEachBackend(t *testing.T, test func(t *testing.T, on Topology)) {
	t.Helper()
	backend, err := Topology{}.wantedBackend()
	must(t, "backend", err)
	if backend != Docker {
		for _, server := range localredis.Flavors(t.Name(), testing.Short()) {
			server := string(server)
			t.Run("local-"+server, func(t *testing.T) {
				t.Parallel()
				if _, err := exec.LookPath(server); err != nil {
					missing(t, err)
				}
				test(t, Topology{Backend: Local, Server: server})
			})
		}
	}
	if backend == Local {
		return
	}
	t.Run("docker", func(t *testing.T) {
		t.Parallel()
		images := strings.Fields(os.Getenv(imagesEnv))
		if err := dockerAvailable(); err != nil {
			missing(t, err)
		}
		if len(images) == 0 {
			missing(t, errors.New(imagesEnv+" names no images"))
		}
		for _, image := range images {
			t.Run(strings.NewReplacer("/", "-", ":", "-").Replace(image), func(t *testing.T) {
				t.Parallel()
				test(t, Topology{Backend: Docker, Image: image})
			})
		}
	})
}

func missing(t *testing.T, err error) {
	t.Helper()
	if os.Getenv(requireEnv) == "1" {
		t.Fatalf("%v, and %s is 1", err, requireEnv)
	}
	t.Skipf("SKIPPED, NOT TESTED: %v", err)
}

// anyLocal is a topology on the local backend, with whatever server there is.
func anyLocal(t *testing.T) Topology {
	t.Helper()
	if _, err := (Topology{}).findServer(); err != nil {
		missing(t, err)
	}
	return Topology{Backend: Local}
}

// within returns a context that ends with the test or after half a minute.
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

// eventually asks until there is no error, for as long as within allows.
func eventually(t *testing.T, what string, ask func(ctx context.Context) error) {
	t.Helper()
	ctx := within(t)
	for {
		// A client that asks a frozen node would wait much longer by itself.
		one, cancel := context.WithTimeout(ctx, time.Second)
		err := ask(one)
		cancel()
		if err == nil {
			return
		}
		if nap.For(ctx, 10*time.Millisecond) != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// clientOf returns a client on the option that the cluster hands out.
func clientOf(t *testing.T, o rueidis.ClientOption) rueidis.Client {
	t.Helper()
	// The defaults of 5 and 10 s are longer than a failover takes.
	o.Dialer.Timeout, o.ConnWriteTimeout = time.Second, time.Second
	client, err := rueidis.NewClient(o)
	must(t, "client", err)
	t.Cleanup(client.Close)
	return client
}

func set(t *testing.T, client rueidis.Client, key, value string) {
	t.Helper()
	eventually(t, "SET "+key, func(ctx context.Context) error {
		return client.Do(ctx, client.B().Set().Key(key).Value(value).Build()).Error()
	})
}

// wantValue asks again on errors, as clients do during a fault. "" is for a key
// that is not there.
func wantValue(t *testing.T, client rueidis.Client, key, want string) {
	t.Helper()
	var got string
	eventually(t, "GET "+key, func(ctx context.Context) (err error) {
		got, err = client.Do(ctx, client.B().Get().Key(key).Build()).ToString()
		if rueidis.IsRedisNil(err) {
			got, err = "", nil
		}
		return err
	})
	if got != want {
		t.Fatalf("GET %s = %q, want %q", key, got, want)
	}
}

func do(t *testing.T, n *Node, args ...string) any {
	t.Helper()
	reply, err := n.Do(within(t), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

func wantReply(t *testing.T, n *Node, want any, args ...string) {
	t.Helper()
	if got := do(t, n, args...); got != want {
		t.Fatalf("%v at %s = %v, want %v", args, n, got, want)
	}
}

func idOf(t *testing.T, n *Node) string {
	t.Helper()
	id, err := n.ID(within(t))
	must(t, "ID", err)
	return id
}

func primaryOf(t *testing.T, c *Cluster, slot int) *Node {
	t.Helper()
	n, err := c.PrimaryOf(within(t), slot)
	must(t, "PrimaryOf", err)
	return n
}

func replicasOf(t *testing.T, c *Cluster, primary *Node) []*Node {
	t.Helper()
	nodes, err := c.ReplicasOf(within(t), primary)
	must(t, "ReplicasOf", err)
	return nodes
}

// synced waits until every replica of n has as many keys as n.
func synced(t *testing.T, c *Cluster, n *Node) {
	t.Helper()
	for _, r := range replicasOf(t, c, n) {
		eventually(t, "keys of "+r.String(), func(ctx context.Context) error {
			if do(t, r, "DBSIZE") != do(t, n, "DBSIZE") {
				return errors.New("not as many as at its primary")
			}
			return nil
		})
	}
}

func waitStable(t *testing.T, c *Cluster) {
	t.Helper()
	must(t, "WaitStable", c.WaitStable(within(t)))
}

func executable(t *testing.T, path string) {
	t.Helper()
	must(t, "write "+filepath.Base(path), os.WriteFile(path, []byte("#!/bin/sh\nexit 1\n"), 0o700))
}

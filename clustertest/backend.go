package clustertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/fleetcache/fleetcache/clustertest/internal/docker"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// The binaries that are looked for when none is named, in this order.
const (
	redisServer  = "redis-server"
	valkeyServer = "valkey-server"
)

// installHint is what to do where nothing can run a server.
const installHint = "install Redis 7 or later (Debian: apt-get install redis-server; macOS: brew install redis) or start Docker"

// dockerAvailable asks for a docker daemon once per process: the answer costs
// up to a second.
var dockerAvailable = sync.OnceValue(func() error { return docker.Available(context.Background()) })

// resolve fills in backend, image and server from the environment and from what
// this machine has.
func (t Topology) resolve() (Topology, error) {
	wanted, err := t.wantedBackend()
	if err != nil {
		return t, err
	}
	t.Image = cmp.Or(t.Image, os.Getenv(ImageEnv), DefaultImage)
	server, noServer := t.findServer()
	t.Server = server
	t.Backend = wanted
	switch {
	case wanted == Local && noServer != nil:
		return t, fmt.Errorf("clustertest: the local backend was asked for: %w: %s", noServer, installHint)
	case wanted != Auto:
		// Docker that was asked for is not probed: a daemon that is busy may
		// take longer to answer than the choice of a backend should.
		return t, nil
	}
	noDocker := dockerAvailable()
	switch {
	case noDocker == nil:
		t.Backend = Docker
	case noServer == nil:
		t.Backend = Local
	default:
		return t, fmt.Errorf("clustertest: nothing here can run a server (%w; %w): %s", noDocker, noServer, installHint)
	}
	return t, nil
}

// wantedBackend returns what the field or else the environment asks for.
func (t Topology) wantedBackend() (Backend, error) {
	if t.Backend != Auto {
		return t.Backend, nil
	}
	name := strings.ToLower(os.Getenv(BackendEnv))
	if name == "" {
		return Auto, nil
	}
	i := slices.Index(backendNames, name)
	if i < 0 {
		return Auto, fmt.Errorf("clustertest: %s is %q, want %s", BackendEnv, name, strings.Join(backendNames, ", "))
	}
	return Backend(i), nil
}

// findServer returns the name or path of the binary for the local backend.
func (t Topology) findServer() (string, error) {
	if name := cmp.Or(t.Server, os.Getenv(ServerEnv)); name != "" {
		if _, err := exec.LookPath(name); err != nil {
			return "", fmt.Errorf("no server binary: %w", err)
		}
		return name, nil
	}
	for _, name := range []string{redisServer, valkeyServer} {
		if _, err := exec.LookPath(name); err == nil {
			return name, nil
		}
	}
	return "", errors.New("neither redis-server nor valkey-server is on PATH")
}

// newMaker wants a resolved topology.
func newMaker(ctx context.Context, t Topology) (redisnode.Maker, error) {
	if t.Backend == Docker {
		return docker.NewMaker(ctx, docker.Config{Image: t.Image, Log: t.Log})
	}
	return localredis.NewMaker(localredis.MakerConfig{Binary: t.Server, Log: t.Log})
}

var announceOnce sync.Once

// announce says once per process which backend was chosen, and how to choose.
func announce(b Backend, maker redisnode.Maker) {
	announceOnce.Do(func() {
		hint := BackendEnv + "=local for local binaries"
		if b == Local {
			hint = BackendEnv + "=docker for containers"
		}
		fmt.Fprintf(os.Stderr, "clustertest: %s (%s)\n", maker.Name(), hint)
	})
}

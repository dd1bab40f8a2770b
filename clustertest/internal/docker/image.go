package docker

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"
	"github.com/testcontainers/testcontainers-go"
)

// binaries are the servers this package knows.
var binaries = []string{"redis-server", "valkey-server"}

// ensureImage pulls an image unless it is there, and returns the name to use for
// it and the command it runs: testcontainers may be configured to take the
// images of Docker Hub from somewhere else. A pull ends with ctx.
func ensureImage(ctx context.Context, p *testcontainers.DockerProvider, name string) (
	used string, command []string, err error,
) {
	name = hubName(p.Config().Config.HubImageNamePrefix, name)
	found, err := p.Client().ImageInspect(ctx, name)
	if err == nil {
		return name, commandOf(found.InspectResponse), nil
	}
	if !errdefs.IsNotFound(err) {
		return "", nil, fmt.Errorf("inspect image %q: %w", name, err)
	}
	if err = p.PullImage(ctx, name); err == nil {
		// A pull that fails half-way says so in a stream nobody reads; then the
		// image is still not there.
		found, err = p.Client().ImageInspect(ctx, name)
	}
	if err != nil {
		return "", nil, fmt.Errorf("image %q is not on this machine and cannot be pulled: %w", name, err)
	}
	return name, commandOf(found.InspectResponse), nil
}

// hubName puts prefix before the names of Docker Hub images, as testcontainers
// does. Images of other registries name a host.
func hubName(prefix, name string) string {
	host, _, qualified := strings.Cut(name, "/")
	if prefix == "" || qualified && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return name
	}
	return path.Join(prefix, name)
}

// commandOf returns the words of what an image runs by itself.
func commandOf(info image.InspectResponse) []string {
	if info.Config == nil {
		return nil
	}
	return slices.Concat(info.Config.Entrypoint, info.Config.Cmd)
}

// serverIn returns the server program of an image: the one in its command, else
// the one its name suggests, else redis-server.
func serverIn(name string, command []string) string {
	for _, word := range command {
		if slices.Contains(binaries, path.Base(word)) {
			return word
		}
	}
	if strings.Contains(name, "valkey") {
		return "valkey-server"
	}
	return "redis-server"
}

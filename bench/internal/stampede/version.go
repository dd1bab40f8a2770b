//go:build unix

package stampede

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// versionOf returns what server a cluster is made of, and of how many nodes.
func versionOf(ctx context.Context, c *localredis.Cluster) (string, error) {
	reply, err := c.Nodes()[0].Do(ctx, "INFO", "server")
	if err != nil {
		return "", fmt.Errorf("stampede: %w", err)
	}
	text, _ := reply.(string)
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return fmt.Sprintf("Redis %s, a cluster of %d primaries", v, len(shards)), nil
		}
	}
	return "", fmt.Errorf("stampede: INFO names no version")
}

// moduleVersions returns the versions of modules this program was built with.
func moduleVersions(paths ...string) map[string]string {
	m := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return m
	}
	for _, d := range info.Deps {
		for _, p := range paths {
			if d.Path == p {
				m[p] = d.Version
			}
		}
	}
	return m
}

package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// Start runs a deployment for the duration of the test: it returns when all
// nodes serve, and stops everything when the test ends. If the test fails, the
// state and log of each node, CLUSTER NODES as each sees it, and the timeline of
// what was done to them are logged. If the deployment cannot be started the test
// fails; it is never skipped.
func Start(tb testing.TB, t Topology) *Cluster {
	tb.Helper()
	c, err := Run(tb.Context(), t)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	// Cleanups run last in, first out: the report comes before the stop.
	tb.Cleanup(func() {
		if err := c.Stop(); err != nil {
			tb.Errorf("%v", err)
		}
	})
	c.Attach(tb)
	return c
}

// Run is [Start] for TestMain and for programs that are no tests. The caller has
// to call [Cluster.Stop]. Ending ctx ends the start, not the running deployment.
//
// Nothing is left behind if the caller does not get to call Stop: on SIGINT and
// SIGTERM everything is stopped first, and the signal then raised again. If the
// process is killed or panics, local servers die with it (on Linux), and the
// rest is removed by the next process that starts a deployment on this machine.
func Run(ctx context.Context, t Topology) (*Cluster, error) {
	t = t.withDefaults()
	if err := t.validate(); err != nil {
		return nil, err
	}
	t, err := t.resolve()
	if err != nil {
		return nil, err
	}
	ctx, done := guardStart(ctx)
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, t.StartTimeout,
		fmt.Errorf("clustertest: start took more than Topology.StartTimeout of %s: %w", t.StartTimeout, context.DeadlineExceeded))
	defer cancel()
	c, err := start(ctx, t)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		return nil, err
	}
	c.mu.Lock()
	c.unregister = live.add(func() { _ = c.Stop() })
	c.mu.Unlock()
	return c, nil
}

// start wants a resolved topology. On failure nothing is left behind.
func start(ctx context.Context, t Topology) (_ *Cluster, err error) {
	c := &Cluster{topology: t, known: make(map[*redisnode.Server]*Node), timeline: newTimeline(), unregister: func() {}}
	c.access.Password = t.Password
	if t.TLS {
		if c.auth, err = newAuthority(); err != nil {
			return nil, err
		}
		c.access.TLS = c.auth.config()
	}
	if c.maker, err = newMaker(ctx, t); err != nil {
		return nil, fmt.Errorf("clustertest: %w", err)
	}
	announce(t.Backend, c.maker)
	end := c.timeline.begin("start " + c.String())
	err = c.deploy(ctx)
	if err == nil {
		err = c.awaitShards(ctx)
	}
	if err == nil {
		c.version, err = c.askVersion(ctx)
	}
	end(err)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("clustertest: start %s: %w", c, err), c.Stop())
	}
	// Nodes are numbered in the order in which they are first seen.
	c.Nodes()
	c.Sentinels()
	c.link = c.NewLink()
	return c, nil
}

// deploy starts the servers in the topology's mode.
func (c *Cluster) deploy(ctx context.Context) error {
	t, files := c.topology, map[string][]byte(nil)
	if c.auth != nil {
		files = c.auth.files()
	}
	switch t.Mode {
	case Replicated:
		r, err := redisnode.StartReplicated(ctx, c.maker, redisnode.ReplicatedConfig{
			Replicas: t.ReplicasPerPrimary, Lines: t.lines(), Files: files, Access: c.access,
		})
		if err != nil {
			return err
		}
		c.deployment = r
	case SentinelMode:
		s, err := redisnode.StartSentinel(ctx, c.maker, redisnode.SentinelConfig{
			Replicas: t.ReplicasPerPrimary, Sentinels: t.Sentinels, DownAfter: t.NodeTimeout,
			Lines: t.lines(), Files: files, Access: c.access,
		})
		if err != nil {
			return err
		}
		c.deployment = s
	default:
		rc, err := redisnode.StartCluster(ctx, c.maker, redisnode.ClusterConfig{
			Primaries: t.Primaries, ReplicasPerPrimary: t.ReplicasPerPrimary, NodeTimeout: t.NodeTimeout,
			FullCoverage: t.FullCoverage, Lines: t.lines(), Files: files, Access: c.access,
		})
		if err != nil {
			return err
		}
		c.deployment = rc
	}
	return nil
}

// askVersion returns name and version of the first node's server.
func (c *Cluster) askVersion(ctx context.Context) (string, error) {
	reply, err := c.deployment.Nodes()[0].Do(ctx, "INFO", "server")
	if err != nil {
		return "", err
	}
	info, _ := reply.(string)
	if v := infoField(info, "valkey_version"); v != "" {
		return "valkey " + v, nil
	}
	return "redis " + infoField(info, "redis_version"), nil
}

// infoField returns the value of a "name:value" line of INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

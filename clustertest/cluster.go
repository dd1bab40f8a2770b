package clustertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// Cluster is a running deployment, of any [Mode]. [Start] and [Run] make one;
// the zero value is of no use. All methods may be called from any goroutine.
//
// Contexts: a method that takes one returns when it ends, with the last thing it
// waited for in the error. A context without a deadline gets one of 30 s, or
// 5 s for a single command. Operations on processes and containers themselves,
// like [Node.Kill], look at the context before they begin and take their own
// limit.
type Cluster struct {
	topology   Topology // resolved
	access     redisnode.Access
	auth       *authority // nil without TLS
	maker      redisnode.Maker
	deployment deployment
	version    string
	link       *Link
	unregister func()

	mu       sync.Mutex // protects the fields below
	known    map[*redisnode.Server]*Node
	links    []*Link
	timeline *timeline
	reports  int // how often Attach has reported a failure
	stopped  bool
	stopErr  error
}

// deployment is what the modes have in common.
type deployment interface {
	Nodes() []*redisnode.Server // with data
	WaitHealthy(ctx context.Context) error
	Reset(ctx context.Context) error
	CutReplication(ctx context.Context, replica *redisnode.Server) error
	RestoreReplication(ctx context.Context, replica *redisnode.Server) error
	Isolate(ctx context.Context, group ...*redisnode.Server) error
	Heal(ctx context.Context) error
	Stop()
}

var (
	_ deployment = (*redisnode.Cluster)(nil)
	_ deployment = (*redisnode.Sentinel)(nil)
	_ deployment = (*redisnode.Replicated)(nil)
)

// Topology returns what was started, with defaults and environment filled in.
func (c *Cluster) Topology() Topology { return c.topology }

// Backend returns what the nodes run in: Docker or Local.
func (c *Cluster) Backend() Backend { return c.topology.Backend }

// Version returns name and version of the server: "redis 8.2.1".
func (c *Cluster) Version() string { return c.version }

// String says in a few words what this is.
func (c *Cluster) String() string {
	t := c.topology
	what := fmt.Sprintf("%s, %s, %d primaries, %d replicas", c.maker.Name(), t.Mode, t.Primaries, t.Primaries*t.ReplicasPerPrimary)
	if t.Mode == SentinelMode {
		what += fmt.Sprintf(", %d sentinels", t.Sentinels)
	}
	return what
}

// Nodes returns the data nodes. In ClusterMode the first Primaries of them were
// the primaries when the cluster was formed, the one at Primaries+i was a
// replica of the one at i%Primaries, and nodes from [Cluster.AddNode] come last.
// In the other modes the first was the primary. Failovers change roles, not this
// order.
func (c *Cluster) Nodes() []*Node { return c.nodesOf(c.deployment.Nodes()) }

// Node returns Nodes()[i], or nil if there are fewer.
func (c *Cluster) Node(i int) *Node {
	nodes := c.Nodes()
	if i < 0 || i >= len(nodes) {
		return nil
	}
	return nodes[i]
}

// Sentinels returns the sentinels, none outside of SentinelMode.
func (c *Cluster) Sentinels() []*Node {
	s, ok := c.deployment.(*redisnode.Sentinel)
	if !ok {
		return nil
	}
	return c.nodesOf(s.Sentinels())
}

// Addrs returns the addresses at which this process reaches Nodes. With Docker,
// addresses change when a node is started again; [Cluster.ClientOption] copes
// with that.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.Nodes() {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// TLSConfig returns what clients need to talk TLS to the nodes, or nil without
// [Topology.TLS]. It checks for a name rather than an address, so it works
// through any link.
func (c *Cluster) TLSConfig() *tls.Config {
	if c.auth == nil {
		return nil
	}
	return c.auth.config()
}

// ClientOption returns the option for a rueidis client on the default link, as
// the default user. It works where nodes announce addresses that this process
// cannot reach.
func (c *Cluster) ClientOption() rueidis.ClientOption { return c.link.ClientOption() }

// Slot returns the hash slot of key.
func (c *Cluster) Slot(key string) int { return redisnode.Slot(key) }

// Attach makes a test that uses a shared deployment report it: if the test
// fails, it logs what [Start] would. The timeline begins anew. Tests that run
// in parallel share it.
func (c *Cluster) Attach(tb testingTB) {
	tb.Helper()
	c.mu.Lock()
	c.timeline = newTimeline()
	before := c.reports
	c.mu.Unlock()
	tb.Cleanup(func() {
		tb.Helper()
		if !tb.Failed() {
			return
		}
		c.mu.Lock()
		// A test that failed because of a subtest has nothing to add.
		reported := c.reports > before
		c.reports++
		c.mu.Unlock()
		if !reported {
			tb.Logf("%s", c.report())
		}
	})
}

// testingTB is the part of testing.TB that reports need.
type testingTB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
}

// Timeline returns what has been done to the nodes since the start, or since the
// last [Cluster.Attach].
func (c *Cluster) Timeline() []Event { return c.times().snapshot() }

func (c *Cluster) times() *timeline {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timeline
}

// Stop stops every node for good and gives back everything. It is idempotent;
// every call returns the same.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return c.stopErr
	}
	c.stopped = true
	for _, l := range c.links {
		_ = l.Close() // it has no error to report
	}
	if c.deployment != nil {
		c.deployment.Stop()
	}
	if err := c.maker.Close(); err != nil {
		c.stopErr = fmt.Errorf("clustertest: stop %s: %w", c, err)
	}
	c.unregister()
	return c.stopErr
}

// record enters into the timeline what do does.
func (c *Cluster) record(ctx context.Context, what string, do func() error) error {
	end := c.times().begin(what)
	err := ctx.Err()
	if err == nil {
		err = do()
	}
	end(err)
	if err != nil {
		return fmt.Errorf("clustertest: %s: %w", what, err)
	}
	return nil
}

// unsupported is the error for what the mode or the backend cannot do. The hint
// says what to do.
func (c *Cluster) unsupported(what, hint string) error {
	return fmt.Errorf("%s: %w with %s in %s mode: %s", what, errors.ErrUnsupported, c.maker.Name(), c.topology.Mode, hint)
}

func (c *Cluster) nodesOf(servers []*redisnode.Server) []*Node {
	nodes := make([]*Node, len(servers))
	for i, s := range servers {
		nodes[i] = c.nodeOf(s)
	}
	return nodes
}

// nodeOf returns the one Node for s.
func (c *Cluster) nodeOf(s *redisnode.Server) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.known[s]
	if !ok {
		n = &Node{cluster: c, server: s, number: len(c.known), kind: "node"}
		if d, ok := c.deployment.(*redisnode.Sentinel); ok && slices.Contains(d.Sentinels(), s) {
			n.kind = "sentinel"
		}
		c.known[s] = n
	}
	return n
}

// servers turns nodes back. Nodes of another cluster and nil are errors.
func (c *Cluster) servers(nodes []*Node) ([]*redisnode.Server, error) {
	servers := make([]*redisnode.Server, len(nodes))
	for i, n := range nodes {
		if n == nil || n.cluster != c {
			return nil, fmt.Errorf("%v is no node of this cluster", n)
		}
		servers[i] = n.server
	}
	return servers, nil
}

// orAll returns nodes, or all data nodes if there are none given.
func (c *Cluster) orAll(nodes []*Node) []*Node {
	if len(nodes) == 0 {
		return c.Nodes()
	}
	return slices.Clone(nodes)
}

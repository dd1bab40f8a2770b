package redisnode

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultNodeTimeout is the cluster-node-timeout when [ClusterConfig] names
// none. Half of it elects no faster and raises false alarms.
const DefaultNodeTimeout = time.Second

// DefaultPrimaries is the number of primaries when [ClusterConfig] names none:
// the smallest in which the others can fail one over.
const DefaultPrimaries = 3

// ClusterConfig describes a cluster. ClusterConfig{} is three primaries without
// replicas.
type ClusterConfig struct {
	// Primaries is the number of primaries. The slots are divided evenly among
	// them in the order of Nodes.
	//
	// Defaults to DefaultPrimaries.
	Primaries int

	// ReplicasPerPrimary is the number of replicas of each primary. Zero means
	// none.
	ReplicasPerPrimary int

	// NodeTimeout is the time after which a silent node is suspected. A killed
	// primary is replaced after about twice that.
	//
	// Defaults to DefaultNodeTimeout.
	NodeTimeout time.Duration

	// FullCoverage makes every node refuse commands while some slot has no
	// primary, as servers do by default. Without it only the slots without a
	// primary fail.
	FullCoverage bool

	// Lines are configuration lines for every node; see ServerConfig.Lines.
	Lines []string

	// Files are put beside the configuration file of every node; Lines refer to
	// them as ${DIR}/name.
	Files map[string][]byte

	// Access is how to talk to the nodes, which are configured for it. With TLS
	// the nodes talk TLS to each other too.
	Access Access
}

func (cfg ClusterConfig) withDefaults() ClusterConfig {
	cfg.Primaries = cmp.Or(cfg.Primaries, DefaultPrimaries)
	cfg.NodeTimeout = cmp.Or(cfg.NodeTimeout, DefaultNodeTimeout)
	return cfg
}

func (cfg ClusterConfig) validate() error {
	switch {
	case cfg.Primaries < 1 || cfg.Primaries > SlotCount:
		return fmt.Errorf("redisnode: Primaries is %d, want 1 to %d", cfg.Primaries, SlotCount)
	case cfg.ReplicasPerPrimary < 0:
		return fmt.Errorf("redisnode: ReplicasPerPrimary is %d, want at least 0", cfg.ReplicasPerPrimary)
	case cfg.NodeTimeout < time.Millisecond:
		return fmt.Errorf("redisnode: NodeTimeout is %s, want at least 1ms", cfg.NodeTimeout)
	}
	return cfg.Access.validate(cfg.Files)
}

// plan is the same for every node: its role is given to it when it runs.
func (cfg ClusterConfig) plan() plan {
	coverage := "no"
	if cfg.FullCoverage {
		coverage = "yes"
	}
	lines := []string{
		"cluster-enabled yes",
		"cluster-config-file nodes.conf",
		"cluster-node-timeout " + strconv.FormatInt(cfg.NodeTimeout.Milliseconds(), 10),
		"cluster-require-full-coverage " + coverage,
		"cluster-allow-replica-migration no",
		// A replica may be promoted however long ago it lost its primary, so
		// that CutReplication followed by a failover loses writes every time.
		"cluster-replica-validity-factor 0",
	}
	if cfg.Access.TLS != nil {
		lines = append(lines, "tls-cluster yes")
	}
	return plan{
		spec: MachineSpec{
			Role: ClusterNode,
			TLS:  cfg.Access.TLS != nil,
			Lines: slices.Concat(dataLines(), replicationLines(), lines,
				cfg.Access.lines(), cfg.Lines),
			Files: cfg.Files,
		},
		access: cfg.Access,
	}
}

// Cluster is a running cluster. [StartCluster] makes one; the zero value is of
// no use.
type Cluster struct {
	cfg    ClusterConfig
	maker  Maker
	origin []*Server // the nodes it was formed of, whatever has become of them

	// change is held by calls that change members or links. It is taken before
	// mu.
	change sync.Mutex
	apart  []*Server // guarded by change: replicas whose replication Isolate has cut

	mu       sync.Mutex // protects the fields below
	nodes    []*Server  // the members, those of origin first
	replicas int        // how many members are replicas
	formed   string     // what all nodes agreed on when the cluster was formed
	stopped  bool       // by Stop: nobody joins any more
}

// StartCluster starts the nodes in parallel on machines that maker makes, joins
// them, and returns when the cluster is healthy as [Cluster.WaitHealthy] has it.
// That takes a little more than 2 s, because a primary accepts no writes in its
// first 2 s. When it fails it leaves no machine behind. The caller closes maker,
// after [Cluster.Stop].
func StartCluster(ctx context.Context, maker Maker, cfg ClusterConfig) (*Cluster, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	plans := slices.Repeat([]plan{cfg.plan()}, cfg.Primaries*(1+cfg.ReplicasPerPrimary))
	nodes, err := startAll(ctx, maker, plans)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, maker: maker, origin: nodes}
	if err := c.form(ctx); err != nil {
		err = fmt.Errorf("%w\n%s", err, c.Describe(logQuoted))
		c.Stop()
		return nil, err
	}
	return c, nil
}

// Nodes returns every member: the first Primaries were the primaries when the
// cluster was formed, the one at Primaries+i was a replica of the one at
// i%Primaries, and those that [Cluster.AddNode] has added come last. Failovers
// change roles, not this order.
func (c *Cluster) Nodes() []*Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// Addrs returns the addresses at which this process reaches Nodes.
func (c *Cluster) Addrs() []string { return addrs(c.Nodes()) }

// Stop stops every node for good. It waits for no other call: those fail then. It
// is idempotent.
func (c *Cluster) Stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	stopAll(slices.Concat(c.origin, c.added()))
}

// added returns the members that were not there at first.
func (c *Cluster) added() []*Server {
	return slices.DeleteFunc(c.Nodes(), func(s *Server) bool { return slices.Contains(c.origin, s) })
}

func (c *Cluster) setMembers(nodes []*Server, replicas int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes, c.replicas = nodes, replicas
}

// admit makes s a member, unless the cluster has been stopped.
func (c *Cluster) admit(s *Server) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	c.nodes = append(c.nodes, s)
	return true
}

func (c *Cluster) wantReplicas() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replicas
}

// at returns the member that is announced at addr, or nil.
func (c *Cluster) at(addr string) *Server { return serverAt(c.Nodes(), addr) }

func serverAt(servers []*Server, addr string) *Server {
	i := slices.IndexFunc(servers, func(s *Server) bool { return s.String() == addr })
	if i < 0 {
		return nil
	}
	return servers[i]
}

// Describe returns, for the eyes of whoever reads a failed test, the log tail of
// every node, of at most n bytes, and its CLUSTER NODES if it answers.
func (c *Cluster) Describe(n int) string {
	var b strings.Builder
	for _, s := range c.Nodes() {
		b.WriteString(s.Describe(n))
		if !s.Responsive() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		nodes, err := s.doString(ctx, "CLUSTER", "NODES")
		cancel()
		if err != nil {
			nodes = err.Error() + "\n"
		}
		fmt.Fprintf(&b, "%s CLUSTER NODES:\n%s", s, nodes)
	}
	return b.String()
}

package localredis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// DefaultNodeTimeout is the cluster-node-timeout when [ClusterConfig] names
// none. Half of it elects no faster and raises false alarms.
const DefaultNodeTimeout = time.Second

// DefaultPrimaries is the number of primaries when [ClusterConfig] names none:
// the smallest in which the others can fail one over.
const DefaultPrimaries = 3

// ClusterConfig describes a cluster. ClusterConfig{} is three Redis primaries
// without replicas.
type ClusterConfig struct {
	// Flavor is the server to run.
	//
	// Defaults to Redis.
	Flavor Flavor

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

	// Args are configuration directives for every node; see Config.Args.
	Args []string

	// FullCoverage makes every node refuse commands while some slot has no
	// primary, as servers do by default. Without it only the slots without a
	// primary fail.
	FullCoverage bool
}

func (cfg ClusterConfig) withDefaults() ClusterConfig {
	cfg.Flavor = cfg.Flavor.orRedis()
	cfg.Primaries = cmp.Or(cfg.Primaries, DefaultPrimaries)
	cfg.NodeTimeout = cmp.Or(cfg.NodeTimeout, DefaultNodeTimeout)
	return cfg
}

func (cfg ClusterConfig) validate() error {
	switch {
	case cfg.Primaries < 1 || cfg.Primaries > SlotCount:
		return fmt.Errorf("localredis: Primaries is %d, want 1 to %d", cfg.Primaries, SlotCount)
	case cfg.ReplicasPerPrimary < 0:
		return fmt.Errorf("localredis: ReplicasPerPrimary is %d, want at least 0", cfg.ReplicasPerPrimary)
	case cfg.NodeTimeout < time.Millisecond:
		return fmt.Errorf("localredis: NodeTimeout is %s, want at least 1ms", cfg.NodeTimeout)
	}
	return nil
}

func (cfg ClusterConfig) arguments() []string {
	coverage := "no"
	if cfg.FullCoverage {
		coverage = "yes"
	}
	return append([]string{
		"--cluster-config-file", "nodes.conf",
		"--cluster-node-timeout", strconv.FormatInt(cfg.NodeTimeout.Milliseconds(), 10),
		"--cluster-require-full-coverage", coverage,
		"--cluster-allow-replica-migration", "no",
		// A replica may be promoted however long ago it lost its primary, so
		// that CutReplication followed by a failover loses writes every time.
		"--cluster-replica-validity-factor", "0",
		"--repl-ping-replica-period", "1",
		"--repl-timeout", "3",
	}, cfg.Args...)
}

// Cluster is a running cluster. [StartCluster] makes one; the zero value is of
// no use.
type Cluster struct {
	cfg    ClusterConfig
	nodes  []*Server
	byPort map[int]*Server
}

// StartCluster starts the nodes in parallel, joins them, and returns when the
// cluster is healthy as [Cluster.WaitHealthy] has it. That takes a little more
// than 2 s, because a primary accepts no writes in its first 2 s.
func StartCluster(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	plans := make([]plan, cfg.Primaries*(1+cfg.ReplicasPerPrimary))
	for i := range plans {
		plans[i] = plan{Config: Config{Flavor: cfg.Flavor, Args: cfg.arguments()}, cluster: true}
	}
	nodes, err := startAll(ctx, plans)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, nodes: nodes, byPort: make(map[int]*Server, len(nodes))}
	for _, s := range nodes {
		c.byPort[s.port] = s
	}
	if err := c.form(ctx); err != nil {
		err = fmt.Errorf("%w\n%s", err, c.describe(logQuoted))
		c.Stop()
		return nil, err
	}
	return c, nil
}

// Nodes returns every node: the first Primaries were the primaries when the
// cluster was formed, and the one at Primaries+i a replica of the one at
// i%Primaries. Failovers change roles, not this order.
func (c *Cluster) Nodes() []*Server { return append([]*Server(nil), c.nodes...) }

// Addrs returns the addresses of Nodes.
func (c *Cluster) Addrs() []string { return addrs(c.nodes) }

// Stop stops every node for good. It is idempotent.
func (c *Cluster) Stop() { stopAll(c.nodes) }

func addrs(servers []*Server) []string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr()
	}
	return list
}

// startAll starts servers in parallel: all of them, or none and the errors.
func startAll(ctx context.Context, plans []plan) ([]*Server, error) {
	servers := make([]*Server, len(plans))
	err := inParallel(len(plans), func(i int) (err error) {
		servers[i], err = startServer(ctx, plans[i])
		return err
	})
	if err != nil {
		stopAll(servers)
		return nil, err
	}
	return servers, nil
}

func stopAll(servers []*Server) {
	_ = inParallel(len(servers), func(i int) error {
		if servers[i] != nil {
			servers[i].Stop()
		}
		return nil
	})
}

// inParallel runs do(0) to do(n-1) at the same time, waits for all of them, and
// joins their errors.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

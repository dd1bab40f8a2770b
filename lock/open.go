package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/plainclient"
	"github.com/redis/rueidis"
)

const (
	// openTimeout limits Open if ctx has no earlier deadline.
	openTimeout = 10 * time.Second
	// reconnectEvery is the pause between attempts to reach a node that was down
	// when a Locker was opened.
	reconnectEvery = time.Second
	// deploymentTag is the hash tag of all votes of a deployment.
	deploymentTag = "all"
)

// Open connects to one Redis deployment: a standalone server, Sentinel, or a
// Cluster. Each lock is one key there. It blocks until a server answers or ctx
// ends, 10 seconds at most. ctx has no influence on the Locker afterwards.
//
// The client options are those of any rueidis client of the deployment. The
// Locker makes its own client from them, without cache, replicas and retries.
func Open(ctx context.Context, opt rueidis.ClientOption, cfg Config) (*Locker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	client, err := connect(ctx, opt, cfg)
	if err != nil {
		return nil, fmt.Errorf("lock: open: %w", err)
	}
	return newLocker(cfg, &lease{client: client, cfg: cfg, node: nodeName(opt)}, &counters{}), nil
}

// connect makes the own client. It is always in pipelining mode: what is sent to
// release a lock must not overtake what was sent to take it.
func connect(ctx context.Context, opt rueidis.ClientOption, cfg Config) (rueidis.Client, error) {
	opt = plainclient.Option(opt, cfg.OpTimeout)
	opt.AlwaysPipelining = true
	return plainclient.Connect(ctx, opt)
}

// OpenRedlock connects to an odd number of independent Redis deployments, at
// least three, and returns a Locker whose locks are held by a majority of them.
// All clients need the same deployments. It blocks until all have answered or
// failed, 10 seconds at most, and fails if no majority answered; the others are
// tried again every second.
//
// A server that has just been started for the first time abstains until it has
// run for a TTL: it may have forgotten locks.
func OpenRedlock(ctx context.Context, opts []rueidis.ClientOption, cfg Config) (*Locker, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), checkVotes(len(opts))); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	nodes, errs := make([]*node, len(opts)), make([]error, len(opts))
	var wg sync.WaitGroup // ends with ctx
	for i, opt := range opts {
		nodes[i] = newNode(nodeName(opt), cfg, deploymentTag)
		wg.Go(func() { errs[i] = nodes[i].connect(ctx, opt, cfg) })
	}
	wg.Wait()
	e := &redlock{cfg: cfg, nodes: nodes, n: &counters{}}
	l := newLocker(cfg, e, e.n)
	down := 0
	for i, err := range errs {
		if err != nil {
			down++
			l.start(func() { l.reconnect(nodes[i], opts[i]) }) // ends with Close
		}
	}
	if up := len(nodes) - down; up < e.quorum() {
		return nil, errors.Join(fmt.Errorf("lock: open: %d of %d deployments answered, quorum is %d: %w",
			up, len(nodes), e.quorum(), errors.Join(errs...)), l.Close())
	}
	return l, nil
}

func checkVotes(n int) error {
	if n < 3 || n%2 == 0 {
		return fmt.Errorf("lock: Redlock over %d nodes, must be an odd number from 3", n)
	}
	return nil
}

func (n *node) connect(ctx context.Context, opt rueidis.ClientOption, cfg Config) error {
	c, err := connect(ctx, opt, cfg)
	if err != nil {
		return &NodeError{Op: opOpen, Node: n.name, Err: err}
	}
	n.client.Store(&c)
	return nil
}

// reconnect tries until the node is there or the Locker is closed.
func (l *Locker) reconnect(n *node, opt rueidis.ClientOption) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-l.stop:
			return
		case <-time.After(reconnectEvery):
		}
		try, end := context.WithTimeout(ctx, openTimeout)
		err := n.connect(try, opt, l.cfg)
		end()
		if err == nil {
			return
		}
	}
}

// OpenShards connects to one Cluster and returns a Locker whose locks are held
// by a majority of n keys that lie in different shards. All clients need the
// same n: odd, at least three; 0 means DefaultShards. It fails if the cluster has
// so few shards that one of them has a majority of the keys.
//
// It blocks as Open does.
func OpenShards(ctx context.Context, opt rueidis.ClientOption, n int, cfg Config) (*Locker, error) {
	cfg = cfg.withDefaults()
	if n == 0 {
		n = DefaultShards
	}
	if err := errors.Join(cfg.validate(), checkVotes(n)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	client, err := connect(ctx, opt, cfg)
	if err != nil {
		return nil, fmt.Errorf("lock: open: %w", err)
	}
	tags := shardTags(n)
	if err := checkSpread(ctx, client, tags); err != nil {
		client.Close()
		return nil, fmt.Errorf("lock: open: %w", err)
	}
	nodes := make([]*node, n)
	for i, tag := range tags {
		nodes[i] = newNode(nodeName(opt)+" {"+tag+"}", cfg, tag)
		nodes[i].client.Store(&client)
	}
	e := &redlock{cfg: cfg, nodes: nodes, n: &counters{}}
	return newLocker(cfg, e, e.n), nil
}

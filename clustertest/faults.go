package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// FailoverMode is how a replica is made the primary.
type FailoverMode string

const (
	// Graceful is a hand-over in agreement with the primary: no write is lost.
	Graceful FailoverMode = ""
	// Force does without the primary, but not without the votes of the others.
	Force FailoverMode = "FORCE"
	// Takeover does without the votes, too.
	Takeover FailoverMode = "TAKEOVER"
)

func (m FailoverMode) String() string {
	if m == Graceful {
		return "graceful"
	}
	return strings.ToLower(string(m))
}

// Isolate cuts every link, of bus and replication, between nodes and all others,
// sentinels included, in both directions, at once and for connections to come.
// Clients still reach both sides; cutting them off is for [Link]. In a cluster
// the nodes notice after the node timeout; a primary in the minority then
// refuses commands, and one of its replicas in the majority takes over. Another
// group replaces the one before.
//
// The Local backend can isolate nodes of a cluster, without TLS. Other cases
// return an error that wraps errors.ErrUnsupported.
func (c *Cluster) Isolate(ctx context.Context, nodes ...*Node) error {
	return c.record(ctx, "isolate "+list(nodes), func() error {
		if c.Backend() == Local && c.topology.Mode != ClusterMode {
			return c.unsupported("cut links", "local servers can be isolated in a cluster only: use Backend: Docker, or freeze nodes")
		}
		if c.Backend() == Local && c.topology.TLS {
			return c.unsupported("cut links", "the bus is encrypted, so its links cannot be told apart: use Backend: Docker, or no TLS")
		}
		servers, err := c.servers(nodes)
		if err != nil {
			return err
		}
		return c.deployment.Isolate(ctx, servers...)
	})
}

// Heal ends what [Cluster.Isolate] did. [Cluster.WaitStable] waits until the
// nodes have found together again. Without a cut it does nothing.
func (c *Cluster) Heal(ctx context.Context) error {
	return c.record(ctx, "heal", func() error { return c.deployment.Heal(ctx) })
}

// Failover makes replica the primary of its shard, and blocks until replica and
// the old primary, if it answers, agree. In SentinelMode only Force is possible,
// with one replica: sentinels choose the replica themselves. Replicated mode has
// no failover.
func (c *Cluster) Failover(ctx context.Context, replica *Node, mode FailoverMode) error {
	return c.record(ctx, fmt.Sprintf("failover (%s) to %s", mode, replica), func() error {
		servers, err := c.servers([]*Node{replica})
		if err != nil {
			return err
		}
		switch d := c.deployment.(type) {
		case *redisnode.Cluster:
			return tryFailover(ctx, func(ctx context.Context) error { return d.Failover(ctx, servers[0], string(mode)) })
		case *redisnode.Sentinel:
			if mode != Force || c.topology.ReplicasPerPrimary != 1 {
				return c.unsupported("promote", "sentinels choose the replica themselves and do not hand over: use Force and one replica, or kill or freeze the master")
			}
			return c.sentinelFailover(ctx, d, servers[0])
		}
		return c.unsupported("promote", "nothing fails over here: use another mode")
	})
}

// Limits of a failover in a cluster.
const (
	failoverTimeout = 30 * time.Second
	failoverAttempt = 6 * time.Second
)

// tryFailover tries again when an attempt has come to nothing. Redis 7.0 counts
// the votes of an earlier election again if a node that has just won one is made
// a replica and then, within two seconds, the primary by force: it wins without
// a new epoch, and is a replica again when the others object. By the time of the
// next attempt it has forgotten those votes.
func tryFailover(ctx context.Context, failover func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, failoverTimeout)
	defer cancel()
	for {
		attempt, cancel := context.WithTimeout(ctx, failoverAttempt)
		err := failover(attempt)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// Limits of a failover by sentinels. They need seconds, and give up now and then:
// on a replica they have not heard of for a moment, or on one that takes longer
// to report its promotion than they wait.
const (
	sentinelFailoverTimeout = 30 * time.Second
	sentinelFailoverAttempt = 4 * time.Second
)

// sentinelFailover makes the sentinels promote the only replica.
func (c *Cluster) sentinelFailover(ctx context.Context, d *redisnode.Sentinel, replica *redisnode.Server) error {
	ctx, cancel := context.WithTimeout(ctx, sentinelFailoverTimeout)
	defer cancel()
	old, err := d.Master(ctx)
	if err != nil {
		return err
	}
	if old == replica {
		return fmt.Errorf("%s is no replica", replica)
	}
	i := slices.IndexFunc(d.Sentinels(), (*redisnode.Server).Responsive)
	if i < 0 {
		return errors.New("no sentinel runs")
	}
	for {
		// An error is its "not now" or "already at it": either way the answer is
		// to look, and to ask again.
		_, refused := d.Sentinels()[i].Do(ctx, "SENTINEL", "FAILOVER", d.MasterName)
		attempt, cancel := context.WithTimeout(ctx, sentinelFailoverAttempt)
		_, err := d.WaitMaster(attempt, old)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(err, refused)
		}
	}
}

// CutReplication breaks the replication link of replica and keeps it broken; the
// cluster bus is not affected. It blocks until the replica sees the link down.
// Writes that the primary acknowledges from then on are lost for certain if the
// replica takes over: cut, write, [Node.Kill] the primary,
// [Cluster.WaitPrimary].
func (c *Cluster) CutReplication(ctx context.Context, replica *Node) error {
	return c.record(ctx, "cut replication of "+replica.String(), func() error {
		servers, err := c.servers([]*Node{replica})
		if err != nil {
			return err
		}
		return c.deployment.CutReplication(ctx, servers[0])
	})
}

// RestoreReplication undoes [Cluster.CutReplication] and blocks until replica
// gets every write. If it has been promoted meanwhile there is nothing to wait
// for.
func (c *Cluster) RestoreReplication(ctx context.Context, replica *Node) error {
	return c.record(ctx, "restore replication of "+replica.String(), func() error {
		servers, err := c.servers([]*Node{replica})
		if err != nil {
			return err
		}
		return c.deployment.RestoreReplication(ctx, servers[0])
	})
}

// Reset brings the deployment back to how it was started, faster than a new
// start: nodes that were added are removed, killed and frozen ones run again,
// partitions, cuts, pauses and faults of links are over, all data is deleted,
// and in ClusterMode slots and roles are as at first. It is fastest, some
// milliseconds, if only data has changed. Settings changed with CONFIG SET, ACL
// users and clients' connections stay. Writers should have stopped.
func (c *Cluster) Reset(ctx context.Context) error {
	return c.record(ctx, "reset", func() error {
		c.healLinks()
		if err := c.deployment.Reset(ctx); err != nil {
			return err
		}
		return c.awaitShards(ctx)
	})
}

// Recover ends every fault and keeps the data: it starts killed nodes, thaws
// frozen ones, and ends partitions, cuts of replication, pauses and faults of
// links, then waits as [Cluster.WaitStable] does. Slots and roles stay as they
// are.
func (c *Cluster) Recover(ctx context.Context) error {
	return c.record(ctx, "recover", func() error {
		c.healLinks()
		var errs []error
		for _, n := range append(c.Nodes(), c.Sentinels()...) {
			errs = append(errs, n.revive())
		}
		errs = append(errs, c.deployment.Heal(ctx))
		for _, n := range c.Nodes() {
			_, err := n.server.Do(ctx, "CLIENT", "UNPAUSE")
			errs = append(errs, err, c.deployment.RestoreReplication(ctx, n.server))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return c.settle(ctx)
	})
}

// revive makes the node run, whatever it does now.
func (n *Node) revive() error {
	if n.Responsive() {
		return nil
	}
	if n.server.Running() {
		return n.server.Thaw()
	}
	return n.server.Start()
}

// list names nodes in messages.
func list(nodes []*Node) string {
	if len(nodes) == 0 {
		return "nothing"
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.String()
	}
	return strings.Join(names, ", ")
}

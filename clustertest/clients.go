package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ClientType is a kind of connection to a node.
type ClientType string

const (
	// Normal is an ordinary client without subscriptions.
	Normal ClientType = "normal"
	// PubSub is a client with subscriptions. RESP3 clients count too as soon as
	// they have one.
	PubSub ClientType = "pubsub"
	// ReplicaLinks are the connections of the node's replicas.
	ReplicaLinks ClientType = "replica"
)

// DropClients closes all connections of a type at nodes, or at all nodes if none
// is given. New connections are accepted at once.
func (c *Cluster) DropClients(ctx context.Context, what ClientType, nodes ...*Node) error {
	return c.each(ctx, fmt.Sprintf("drop %s clients of", what), nodes, "CLIENT", "KILL", "TYPE", string(what))
}

// PauseWrites makes nodes, or all nodes if none is given, hold back writes for d,
// rounded to milliseconds, or until [Cluster.Unpause]. Reads are answered. A
// held command is executed when the pause is over, even if its client has given
// up waiting.
func (c *Cluster) PauseWrites(ctx context.Context, d time.Duration, nodes ...*Node) error {
	if d < time.Millisecond {
		return fmt.Errorf("clustertest: pause writes for %s, want at least 1ms", d)
	}
	return c.each(ctx, fmt.Sprintf("pause writes for %s of", d), nodes,
		"CLIENT", "PAUSE", strconv.FormatInt(d.Milliseconds(), 10), "WRITE")
}

// Unpause ends [Cluster.PauseWrites] at nodes, or all nodes if none is given.
func (c *Cluster) Unpause(ctx context.Context, nodes ...*Node) error {
	return c.each(ctx, "unpause", nodes, "CLIENT", "UNPAUSE")
}

// FlushAll deletes the data of all primaries that run; their replicas follow as
// for any write.
func (c *Cluster) FlushAll(ctx context.Context) error {
	return c.record(ctx, "flush all", func() error {
		var errs []error
		for _, n := range c.Nodes() {
			if !n.Responsive() {
				continue
			}
			info, err := n.text(ctx, "INFO", "replication")
			if err == nil && infoField(info, "role") == "master" {
				_, err = n.Do(ctx, "FLUSHALL")
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// Slow makes each round trip between a node and the clients on links of this
// process take delay longer, give or take jitter, as [Link.Delay] has it. A delay
// of 0 ends it. Links made later are not affected, nor are those of other
// processes.
func (c *Cluster) Slow(n *Node, delay, jitter time.Duration) error {
	what := fmt.Sprintf("slow %s by %s, jitter %s", n, delay, jitter)
	return c.record(context.Background(), what, func() error {
		if _, err := c.servers([]*Node{n}); err != nil {
			return err
		}
		if delay < 0 || jitter < 0 || jitter > delay {
			return errors.New("want 0 <= jitter <= delay")
		}
		for _, l := range c.allLinks() {
			l.Delay(delay, jitter, n.Announced())
		}
		return nil
	})
}

// each sends one command to each of nodes, or all of them if there are none. What
// is recorded is "what nodes".
func (c *Cluster) each(ctx context.Context, what string, nodes []*Node, command ...string) error {
	where := "all nodes"
	if len(nodes) > 0 {
		where = list(nodes)
	}
	return c.record(ctx, what+" "+where, func() error {
		nodes := c.orAll(nodes)
		if _, err := c.servers(nodes); err != nil {
			return err
		}
		var errs []error
		for _, n := range nodes {
			_, err := n.Do(ctx, command...)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

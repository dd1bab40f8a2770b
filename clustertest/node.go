package clustertest

import (
	"context"
	"fmt"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// Node is one server of a [Cluster]: a member with data, or a sentinel. A node
// stays the same through restarts, and is compared with ==.
type Node struct {
	cluster *Cluster
	server  *redisnode.Server
	number  int
	kind    string // "node" or "sentinel"
}

// Addr returns "host:port" at which this process reaches the node. With Docker
// it changes when the node is started again.
func (n *Node) Addr() string { return n.server.Addr() }

// Announced returns "ip:port" under which the other nodes, and redirections,
// name the node. It never changes. It is what the methods of [Link] take.
func (n *Node) Announced() string { return n.server.Announced().String() }

// String names the node in messages: its number, in the order in which nodes
// were started, and its announced address.
func (n *Node) String() string {
	if n == nil || n.server == nil {
		return "no node"
	}
	return fmt.Sprintf("%s %d (%s)", n.kind, n.number, n.Announced())
}

// Log returns the end of what the server has printed over all its starts. It
// works after the node was killed or the cluster stopped.
func (n *Node) Log() string { return n.server.Log() }

// Responsive reports whether the node can be expected to answer: it runs, and is
// not frozen.
func (n *Node) Responsive() bool { return n.server.Responsive() }

// Do sends one command to the node, on a connection of its own that no fault of
// a [Link] touches, as the default user. The reply is a string, an int64, nil or
// []any of these. It follows no redirect and retries nothing; an error reply is
// an error. It blocks until ctx ends if the node is frozen, for 5 s if ctx has
// no deadline.
func (n *Node) Do(ctx context.Context, args ...string) (any, error) {
	reply, err := n.server.Do(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("clustertest: %s: %w", n, err)
	}
	return reply, nil
}

// ID returns the node id in the cluster, in other modes the run id. It asks the
// node.
func (n *Node) ID(ctx context.Context) (string, error) {
	if n.cluster.topology.Mode == ClusterMode {
		return n.text(ctx, "CLUSTER", "MYID")
	}
	info, err := n.text(ctx, "INFO", "server")
	return infoField(info, "run_id"), err
}

// text is Do for commands that answer with text.
func (n *Node) text(ctx context.Context, args ...string) (string, error) {
	reply, err := n.Do(ctx, args...)
	if err != nil {
		return "", err
	}
	text, ok := reply.(string)
	if !ok {
		return "", fmt.Errorf("clustertest: %s: unexpected reply %v to %v", n, reply, args)
	}
	return text, nil
}

// Kill ends the server as SIGKILL does, frozen or not, and returns when it is
// gone. Killing a killed node does nothing. In a cluster with replicas one of
// them takes over after about twice the node timeout: see
// [Cluster.WaitPrimary].
func (n *Node) Kill(ctx context.Context) error { return n.fault(ctx, "kill", n.server.Kill) }

// Start runs a killed server again: same announced address, same data, same node
// id. It returns when the server answers; [Cluster.WaitStable] waits until it is
// back in the cluster. Starting a node that runs is an error.
func (n *Node) Start(ctx context.Context) error { return n.fault(ctx, "start", n.server.Start) }

// Restart is [Node.Kill] followed by [Node.Start].
func (n *Node) Restart(ctx context.Context) error { return n.fault(ctx, "restart", n.server.Restart) }

// Freeze stops the server as SIGSTOP does: connections stay open, new ones are
// accepted by the kernel, and nothing is answered. It returns when the server
// has stopped. Freezing a frozen node does nothing.
func (n *Node) Freeze(ctx context.Context) error { return n.fault(ctx, "freeze", n.server.Freeze) }

// Thaw lets a frozen server go on. Thawing one that is not frozen does nothing.
func (n *Node) Thaw(ctx context.Context) error { return n.fault(ctx, "thaw", n.server.Thaw) }

func (n *Node) fault(ctx context.Context, what string, do func() error) error {
	return n.cluster.record(ctx, what+" "+n.String(), do)
}

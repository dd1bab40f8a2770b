package clustertest

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Bounds of what a failed test is told.
const (
	reportedLog = 4 << 10     // bytes of log per node
	reportWait  = time.Second // for the answer of one node
)

// report describes the deployment for whoever reads a failed test: the timeline,
// and of each node its role, its view of the cluster, and the end of its log.
func (c *Cluster) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "clustertest: %s, %s\ntimeline:\n%s", c, c.version, c.times())
	for _, n := range append(c.Nodes(), c.Sentinels()...) {
		n.report(&b)
	}
	return b.String()
}

func (n *Node) report(b *strings.Builder) {
	if !n.Responsive() {
		state := "killed"
		if n.server.Running() {
			state = "frozen"
		}
		fmt.Fprintf(b, "== %s, reached at %s: %s\n", n, n.Addr(), state)
	} else {
		fmt.Fprintf(b, "== %s, reached at %s: %s\n", n, n.Addr(), n.ask("role", "ROLE"))
		if n.cluster.topology.Mode == ClusterMode {
			fmt.Fprintf(b, "CLUSTER NODES:\n%s", n.ask("", "CLUSTER", "NODES"))
		}
	}
	fmt.Fprintf(b, "end of its log:\n%s\n", tail(n.Log(), reportedLog))
}

// ask returns the reply to a command as text, or the error in its place.
func (n *Node) ask(what string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), reportWait)
	defer cancel()
	reply, err := n.Do(ctx, args...)
	if err != nil {
		return err.Error()
	}
	if what == "" {
		return fmt.Sprint(reply)
	}
	return fmt.Sprintf("%s %v", what, reply)
}

// tail returns at most n bytes from the end of s, from the start of a line.
func tail(s string, n int) string {
	if len(s) <= n {
		return strings.TrimRight(s, "\n")
	}
	s = s[len(s)-n:]
	if _, rest, ok := strings.Cut(s, "\n"); ok {
		s = rest
	}
	return strings.TrimRight(s, "\n")
}

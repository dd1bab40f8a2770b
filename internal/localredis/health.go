package localredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// WaitHealthy blocks until every node, asked itself, says that the cluster is
// ok with all 16384 slots, knows exactly the nodes of this cluster, suspects
// none, sees all links up, and agrees with every other node on who is primary
// of which slots and who replicates whom; and until every replica is in sync
// with its primary. It does not return successfully while a node is down or
// frozen or while replication is cut. The error says what was still amiss.
func (c *Cluster) WaitHealthy(ctx context.Context) error {
	return poll(ctx, "wait for a healthy cluster", c.checkHealth)
}

// checkHealth stops at the first node that is not content: the check runs every
// few milliseconds on a machine that has servers to start.
func (c *Cluster) checkHealth(ctx context.Context) error {
	var agreed string
	for i, s := range c.nodes {
		if !s.responsive() {
			return fmt.Errorf("%s is killed or frozen", s.Addr())
		}
		roles, err := c.checkNode(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Addr(), err)
		}
		if i == 0 {
			agreed = roles
		} else if roles != agreed {
			return fmt.Errorf("%s sees\n%sbut %s sees\n%s", s.Addr(), roles, c.nodes[0].Addr(), agreed)
		}
	}
	return nil
}

// checkNode returns the roles as s sees them if nothing is wrong with its view.
func (c *Cluster) checkNode(ctx context.Context, s *Server) (roles string, err error) {
	replies, err := s.doAll(ctx,
		[]string{"CLUSTER", "INFO"}, []string{"CLUSTER", "NODES"}, []string{"INFO", "replication"})
	if err != nil {
		return "", err
	}
	texts := make([]string, len(replies))
	for i, reply := range replies {
		text, ok := reply.(string)
		if !ok {
			return "", fmt.Errorf("unexpected reply %v", reply)
		}
		texts[i] = text
	}
	for _, want := range [][2]string{
		{"cluster_state", "ok"}, {"cluster_slots_assigned", "16384"}, {"cluster_slots_ok", "16384"},
	} {
		if got := infoField(texts[0], want[0]); got != want[1] {
			return "", fmt.Errorf("%s is %q, want %q", want[0], got, want[1])
		}
	}
	v, err := parseView(texts[1])
	if err != nil {
		return "", err
	}
	if roles, err = c.checkView(v); err != nil {
		return "", err
	}
	return roles, checkReplication(v, texts[2])
}

// checkView looks for nodes that are missing, strange or suspected, and
// returns the roles in a form that can be compared between nodes.
func (c *Cluster) checkView(v view) (roles string, err error) {
	if len(v) != len(c.nodes) {
		return "", fmt.Errorf("knows %d nodes, want %d", len(v), len(c.nodes))
	}
	replicas := 0
	lines := make([]string, 0, len(v))
	for _, n := range v {
		if _, ours := c.byPort[n.port]; !ours {
			return "", fmt.Errorf("knows a node at port %d, which is not of this cluster", n.port)
		}
		for _, flag := range []string{"fail", "fail?", "handshake", "noaddr"} {
			if n.is(flag) {
				return "", fmt.Errorf("sees port %d as %s", n.port, flag)
			}
		}
		if !n.linkUp && !n.is("myself") {
			return "", fmt.Errorf("has no link to port %d", n.port)
		}
		if n.primary == "" {
			lines = append(lines, fmt.Sprintf("  %d primary of%s\n", n.port, n.rawSlots))
			continue
		}
		replicas++
		p, ok := v.byID(n.primary)
		if !ok || p.primary != "" {
			return "", fmt.Errorf("sees port %d replicate %s, which is no primary", n.port, n.primary)
		}
		lines = append(lines, fmt.Sprintf("  %d replica of %d\n", n.port, p.port))
	}
	if want := c.cfg.Primaries * c.cfg.ReplicasPerPrimary; replicas != want {
		return "", fmt.Errorf("sees %d replicas, want %d", replicas, want)
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}

// checkReplication compares INFO replication of the node that v is of with its
// role there.
func checkReplication(v view, info string) error {
	me, ok := v.myself()
	if !ok {
		return errors.New("does not list itself")
	}
	if me.primary != "" {
		if link := infoField(info, "master_link_status"); link != "up" {
			return fmt.Errorf("master_link_status is %q", link)
		}
		if infoField(info, "master_sync_in_progress") != "0" {
			return errors.New("still syncs")
		}
		return nil
	}
	want := 0
	for _, n := range v {
		if n.primary == me.id {
			want++
		}
	}
	if online := strings.Count(info, "state=online"); online != want {
		return fmt.Errorf("has %d replicas in sync, want %d", online, want)
	}
	return nil
}

package redisnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// WaitHealthy blocks until every member, asked itself, says that the cluster is
// ok with all 16384 slots, knows exactly the members of this cluster, suspects
// none, sees all links up, and agrees with every other node on who is primary
// of which slots and who replicates whom; and until every replica is in sync
// with its primary. It does not return successfully while a node is down or
// frozen or while replication is cut. The error says what was still amiss.
func (c *Cluster) WaitHealthy(ctx context.Context) error {
	return poll(ctx, "wait for a healthy cluster", func(ctx context.Context) error {
		_, err := c.checkHealth(ctx)
		return err
	})
}

// health is what a healthy cluster looks like.
type health struct {
	agreed string // ids, roles and slots of all members, as each of them sees it
	open   bool   // some slot is open
}

// checkHealth stops at the first node that is not content: the check runs every
// few milliseconds on a machine that has servers to start.
func (c *Cluster) checkHealth(ctx context.Context) (health, error) {
	var all health
	nodes := c.Nodes()
	for i, s := range nodes {
		if !s.Responsive() {
			return health{}, fmt.Errorf("%s is killed or frozen", s)
		}
		h, err := c.checkNode(ctx, s)
		if err != nil {
			return health{}, fmt.Errorf("%s: %w", s, err)
		}
		if i == 0 {
			all.agreed = h.agreed
		} else if h.agreed != all.agreed {
			return health{}, fmt.Errorf("%s sees\n%sbut %s sees\n%s", s, h.agreed, nodes[0], all.agreed)
		}
		all.open = all.open || h.open
	}
	return all, nil
}

// checkNode returns the cluster as s sees it if nothing is wrong with that.
func (c *Cluster) checkNode(ctx context.Context, s *Server) (health, error) {
	replies, err := s.doAll(ctx,
		[]string{"CLUSTER", "INFO"}, []string{"CLUSTER", "NODES"}, []string{"INFO", "replication"})
	if err != nil {
		return health{}, err
	}
	texts := make([]string, len(replies))
	for i, reply := range replies {
		text, ok := reply.(string)
		if !ok {
			return health{}, fmt.Errorf("unexpected reply %v", reply)
		}
		texts[i] = text
	}
	for _, want := range [][2]string{
		{"cluster_state", "ok"}, {"cluster_slots_assigned", "16384"}, {"cluster_slots_ok", "16384"},
	} {
		if got := infoField(texts[0], want[0]); got != want[1] {
			return health{}, fmt.Errorf("%s is %q, want %q", want[0], got, want[1])
		}
	}
	v, err := parseView(texts[1])
	if err != nil {
		return health{}, err
	}
	h, err := c.checkView(v)
	if err != nil {
		return health{}, err
	}
	return h, checkReplication(v, texts[2])
}

// checkView looks for nodes that are missing, strange or suspected.
func (c *Cluster) checkView(v view) (health, error) {
	members := c.Nodes()
	if len(v) != len(members) {
		return health{}, fmt.Errorf("knows %d nodes, want %d", len(v), len(members))
	}
	var h health
	replicas := 0
	lines := make([]string, 0, len(v))
	for _, n := range v {
		if err := checkLine(n, members); err != nil {
			return health{}, err
		}
		h.open = h.open || n.open
		if n.primary == "" {
			lines = append(lines, fmt.Sprintf("  %s %s primary of%s\n", n.addr, n.id, n.rawSlots))
			continue
		}
		replicas++
		p, ok := v.byID(n.primary)
		if !ok || p.primary != "" {
			return health{}, fmt.Errorf("sees %s replicate %s, which is no primary", n.addr, n.primary)
		}
		lines = append(lines, fmt.Sprintf("  %s %s replica of %s\n", n.addr, n.id, p.addr))
	}
	if want := c.wantReplicas(); replicas != want {
		return health{}, fmt.Errorf("sees %d replicas, want %d", replicas, want)
	}
	slices.Sort(lines)
	h.agreed = strings.Join(lines, "")
	return h, nil
}

// checkLine returns what is wrong with one node in the eyes of another.
func checkLine(n nodeLine, members []*Server) error {
	if serverAt(members, n.addr) == nil {
		return fmt.Errorf("knows a node at %s, which is not of this cluster", n.addr)
	}
	for _, flag := range []string{"fail", "fail?", "handshake", "noaddr"} {
		if n.is(flag) {
			return fmt.Errorf("sees %s as %s", n.addr, flag)
		}
	}
	if !n.linkUp && !n.is("myself") {
		return fmt.Errorf("has no link to %s", n.addr)
	}
	return nil
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

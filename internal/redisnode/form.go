package redisnode

import (
	"context"
	"fmt"
	"slices"
	"strconv"
)

// form joins the original nodes, which know nothing of each other, into the
// configured cluster and waits until it is healthy.
func (c *Cluster) form(ctx context.Context) error {
	c.setMembers(slices.Clone(c.origin), c.cfg.Primaries*c.cfg.ReplicasPerPrimary)
	err := inParallel(len(c.origin), func(i int) error {
		if err := identify(ctx, c.origin[i]); err != nil {
			return err
		}
		return c.assignSlots(ctx, i)
	})
	if err != nil {
		return err
	}
	err = inParallel(len(c.origin)-1, func(i int) error {
		return meet(ctx, c.origin[i], c.origin[i+1:])
	})
	if err != nil {
		return err
	}
	replicas := c.origin[c.cfg.Primaries:]
	err = inParallel(len(replicas), func(i int) error {
		return replicate(ctx, replicas[i], c.origin[i%c.cfg.Primaries])
	})
	if err != nil {
		return err
	}
	return poll(ctx, "form the cluster", func(ctx context.Context) error {
		h, err := c.checkHealth(ctx)
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.formed = h.agreed
		return nil
	})
}

// identify tells the machine of s the node id, which does not change until the
// next reset.
func identify(ctx context.Context, s *Server) error {
	m, ok := s.machine.(Identified)
	if !ok {
		return nil
	}
	id, err := s.doString(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	m.SetNodeID(id)
	return nil
}

// assignSlots gives the original node i a config epoch of its own, which spares
// the cluster the resolution of conflicts, and its slots if it is to be a
// primary.
func (c *Cluster) assignSlots(ctx context.Context, i int) error {
	cmds := [][]string{{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)}}
	if n := c.cfg.Primaries; i < n {
		first, last := i*SlotCount/n, (i+1)*SlotCount/n-1
		cmds = append(cmds,
			[]string{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)})
	}
	_, err := c.origin[i].doAll(ctx, cmds...)
	return err
}

// meet introduces s to peers. Every node meets every later one: that is faster
// than to let gossip spread the word.
func meet(ctx context.Context, s *Server, peers []*Server) error {
	var cmds [][]string
	for _, peer := range peers {
		// The bus port has to be named: MEET assumes port+10000 and fails
		// silently where that is wrong.
		a := peer.announced
		cmds = append(cmds, []string{"CLUSTER", "MEET", a.IP, strconv.Itoa(a.Port), strconv.Itoa(a.Bus)})
	}
	_, err := s.doAll(ctx, cmds...)
	return err
}

// replicate makes replica follow primary as soon as they have met.
func replicate(ctx context.Context, replica, primary *Server) error {
	id, err := primary.doString(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	what := fmt.Sprintf("make %s a replica of %s", replica, primary)
	return poll(ctx, what, func(ctx context.Context) error {
		_, err := replica.Do(ctx, "CLUSTER", "REPLICATE", id)
		return err
	})
}

package localredis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// form joins nodes that know nothing of each other into the configured cluster
// and waits until it is healthy.
func (c *Cluster) form(ctx context.Context) error {
	if err := c.assignSlots(ctx); err != nil {
		return err
	}
	if err := c.introduce(ctx); err != nil {
		return err
	}
	replicas := c.nodes[c.cfg.Primaries:]
	err := inParallel(len(replicas), func(i int) error {
		return replicate(ctx, replicas[i], c.nodes[i%c.cfg.Primaries])
	})
	if err != nil {
		return err
	}
	return c.WaitHealthy(ctx)
}

// assignSlots gives every node a config epoch of its own, which spares the
// cluster the resolution of conflicts, and the primaries their slots.
func (c *Cluster) assignSlots(ctx context.Context) error {
	return inParallel(len(c.nodes), func(i int) error {
		s := c.nodes[i]
		if _, err := s.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return fmt.Errorf("localredis: set epoch of %s: %w", s.Addr(), err)
		}
		if i >= c.cfg.Primaries {
			return nil
		}
		first, last := i*SlotCount/c.cfg.Primaries, (i+1)*SlotCount/c.cfg.Primaries-1
		_, err := s.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		if err != nil {
			return fmt.Errorf("localredis: add slots to %s: %w", s.Addr(), err)
		}
		return nil
	})
}

// introduce makes every node meet every later one, which is faster than to let
// gossip spread the word.
func (c *Cluster) introduce(ctx context.Context) error {
	return inParallel(len(c.nodes)-1, func(i int) error {
		var meets [][]string
		for _, peer := range c.nodes[i+1:] {
			// The bus port has to be named: MEET assumes port+10000 and fails
			// silently where that is wrong.
			meets = append(meets, []string{"CLUSTER", "MEET", "127.0.0.1",
				strconv.Itoa(peer.port), strconv.Itoa(peer.bus)})
		}
		replies, err := c.nodes[i].doAll(ctx, meets...)
		if err != nil {
			return err
		}
		for _, reply := range replies {
			if e, ok := reply.(RedisError); ok {
				return fmt.Errorf("localredis: CLUSTER MEET at %s: %w", c.nodes[i].Addr(), e)
			}
		}
		return nil
	})
}

// replicate makes replica follow primary as soon as they have met.
func replicate(ctx context.Context, replica, primary *Server) error {
	id, err := primary.doString(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	what := fmt.Sprintf("make %s a replica of %s", replica.Addr(), primary.Addr())
	return poll(ctx, what, func(ctx context.Context) error {
		_, err := replica.Do(ctx, "CLUSTER", "REPLICATE", id)
		return err
	})
}

// describe returns the log tail of every node, of at most n bytes, and its
// CLUSTER NODES if it answers, for the eyes of whoever reads a failed test.
func (c *Cluster) describe(n int) string {
	var b strings.Builder
	for _, s := range c.nodes {
		b.WriteString(s.describe(n))
		if !s.responsive() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		nodes, err := s.doString(ctx, "CLUSTER", "NODES")
		cancel()
		if err != nil {
			nodes = err.Error() + "\n"
		}
		fmt.Fprintf(&b, "%s CLUSTER NODES:\n%s", s.Addr(), nodes)
	}
	return b.String()
}

func (s *Server) describe(n int) string {
	state := "running"
	if !s.responsive() {
		state = "killed or frozen"
	}
	return fmt.Sprintf("%s %s (%s), end of its log:\n%s", s.flavor, s.Addr(), state, s.out.last(n))
}

package localredis

import (
	"context"
	"fmt"
	"strings"
)

// Reset brings the cluster back to how [StartCluster] returned it, about twice
// as fast as a new one: it starts and thaws nodes, ends cuts of replication,
// deletes all data, gives every node a new id and forms the cluster again.
// Settings changed by CONFIG SET, ACL users and connections of clients stay.
// Writers should have stopped; a node that is written to faster than it can be
// emptied and reset makes Reset fail when ctx ends.
func (c *Cluster) Reset(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	if err := c.revive(); err != nil {
		return err
	}
	err := inParallel(len(c.nodes), func(i int) error {
		s := c.nodes[i]
		return poll(ctx, "reset "+s.Addr(), s.forget)
	})
	if err != nil {
		return err
	}
	return c.form(ctx)
}

// revive starts or thaws every node that cannot answer.
func (c *Cluster) revive() error {
	return inParallel(len(c.nodes), func(i int) error {
		s := c.nodes[i]
		if s.Pid() == 0 {
			return s.Start()
		}
		return s.Thaw()
	})
}

// forget deletes the server's data and all it knows of its cluster.
func (s *Server) forget(ctx context.Context) error {
	replies, err := s.doAll(ctx,
		[]string{"CONFIG", "SET", "masteruser", "", "masterauth", ""},
		[]string{"FLUSHALL"},
		[]string{"CLUSTER", "RESET", "HARD"})
	if err != nil {
		return err
	}
	for i, reply := range replies {
		e, failed := reply.(RedisError)
		// A replica cannot be flushed; its reset empties it.
		if failed && !(i == 1 && strings.HasPrefix(string(e), "READONLY")) {
			return fmt.Errorf("step %d: %w", i+1, e)
		}
	}
	return nil
}

package redisnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Reset brings the cluster back to how [StartCluster] returned it: it ends
// isolation and cuts of replication, starts and thaws nodes, removes added nodes
// and brings back removed ones, undoes [Server.SetConfig], ends CLIENT PAUSE and
// deletes all data.
//
// If ids, roles and slots are as they were formed, that is all, and takes
// milliseconds. Otherwise Reset gives every node a new id and forms the cluster
// again, in about a second. Settings changed by a raw CONFIG SET, ACL users,
// functions and connections of clients stay. Writers should have stopped: a node
// that is written to faster than it can be emptied makes Reset fail when ctx
// ends. So does a CLIENT PAUSE ALL that lasts longer than ctx, because it also
// stops what would end it.
func (c *Cluster) Reset(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	c.change.Lock()
	defer c.change.Unlock()
	healed := c.heal(ctx)
	if err := revive(c.origin); err != nil {
		return errors.Join(healed, err)
	}
	if healed != nil {
		return healed
	}
	if err := restoreAll(ctx, c.origin); err != nil {
		return err
	}
	if c.asFormed(ctx) {
		primaries := c.origin[:c.cfg.Primaries]
		return flush(ctx, primaries, c.origin[c.cfg.Primaries:])
	}
	return c.reform(ctx)
}

// asFormed reports whether nothing about the topology has changed since the
// cluster was formed. A replica whose link has just been mended, or a node that
// has just been started, is given no time to come round: to form the cluster
// again takes no longer.
func (c *Cluster) asFormed(ctx context.Context) bool {
	if !slices.Equal(c.Nodes(), c.origin) {
		return false
	}
	var h health
	err := probe(ctx, func(ctx context.Context) (err error) {
		h, err = c.checkHealth(ctx)
		return err
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return err == nil && !h.open && h.agreed == c.formed
}

// reform makes all nodes forget everything and forms the cluster again.
func (c *Cluster) reform(ctx context.Context) error {
	stopAll(c.added())
	err := inParallel(len(c.origin), func(i int) error {
		s := c.origin[i]
		return poll(ctx, "reset "+s.String(), s.forgetAll)
	})
	if err != nil {
		return err
	}
	return c.form(ctx)
}

// forgetAll deletes the server's data and all it knows of its cluster.
func (s *Server) forgetAll(ctx context.Context) error {
	replies, err := s.Pipeline(ctx, []string{"FLUSHALL"}, []string{"CLUSTER", "RESET", "HARD"})
	if err != nil {
		return err
	}
	for i, reply := range replies {
		e, failed := reply.(RedisError)
		// A replica cannot be flushed; its reset empties it.
		if failed && !(i == 0 && strings.HasPrefix(string(e), "READONLY")) {
			return fmt.Errorf("step %d: %w", i+1, e)
		}
	}
	return nil
}

// revive starts or thaws every server that cannot answer.
func revive(servers []*Server) error {
	return inParallel(len(servers), func(i int) error {
		s := servers[i]
		if !s.Running() {
			return s.Start()
		}
		return s.Thaw()
	})
}

// restoreAll ends what was done to servers that run.
func restoreAll(ctx context.Context, servers []*Server) error {
	return inParallel(len(servers), func(i int) error {
		s := servers[i]
		return poll(ctx, "restore "+s.String(), func(ctx context.Context) error {
			if _, err := s.Do(ctx, "CLIENT", "UNPAUSE"); err != nil {
				return err
			}
			if err := s.setCut(ctx, false); err != nil {
				return err
			}
			return s.RestoreConfig(ctx)
		})
	})
}

// flush empties primaries and waits until their replicas have done the same.
func flush(ctx context.Context, primaries, replicas []*Server) error {
	err := inParallel(len(primaries), func(i int) error {
		_, err := primaries[i].Do(ctx, "FLUSHALL")
		return err
	})
	if err != nil {
		return fmt.Errorf("redisnode: empty the servers: %w", err)
	}
	all := slices.Concat(primaries, replicas)
	return inParallel(len(all), func(i int) error {
		return poll(ctx, "wait until "+all[i].String()+" is empty", func(ctx context.Context) error {
			n, err := all[i].Do(ctx, "DBSIZE")
			if err == nil && n != int64(0) {
				err = fmt.Errorf("it has %v keys", n)
			}
			return err
		})
	})
}

package redisnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// AddOptions says what a new node is to be. AddOptions{} is a primary without
// slots.
type AddOptions struct {
	// ReplicaOf is the primary that the new node replicates.
	//
	// Defaults to none: the new node is a primary without slots.
	ReplicaOf *Server
}

// AddNode starts a node, joins it to the cluster, and returns it when the whole
// cluster is healthy with it, as [Cluster.WaitHealthy] has it: after 2 s for a
// primary, because a primary does nothing in its first 2 s. It fails, and leaves
// nothing behind, when another node is down or frozen. [Cluster.Reset] removes
// added nodes.
func (c *Cluster) AddNode(ctx context.Context, opts AddOptions) (*Server, error) {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	c.change.Lock()
	defer c.change.Unlock()
	members, replicas := c.Nodes(), c.wantReplicas()
	if opts.ReplicaOf != nil && !slices.Contains(members, opts.ReplicaOf) {
		return nil, fmt.Errorf("redisnode: add a replica of %s: it is no member", opts.ReplicaOf)
	}
	s, err := start(ctx, c.maker, c.cfg.plan())
	if err != nil {
		return nil, err
	}
	if !c.admit(s) {
		s.Stop()
		return nil, ErrStopped
	}
	if err := c.join(ctx, s, members, opts); err != nil {
		err = fmt.Errorf("redisnode: add %s: %w%s", s, err, s.quotedLog())
		s.Stop()
		undo, cancel := withTimeout(context.WithoutCancel(ctx), defaultTimeout)
		defer cancel()
		err = errors.Join(err, c.forget(undo, s, members))
		c.setMembers(members, replicas)
		return nil, err
	}
	return s, nil
}

// join makes s, which runs, a member.
func (c *Cluster) join(ctx context.Context, s *Server, members []*Server, opts AddOptions) error {
	if err := identify(ctx, s); err != nil {
		return err
	}
	seen, err := c.observe(ctx)
	if err != nil {
		return err
	}
	epoch := int64(0)
	for _, o := range seen {
		for _, n := range o.view {
			epoch = max(epoch, n.epoch)
		}
	}
	// An epoch of its own spares the cluster the resolution of conflicts.
	if _, err := s.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", strconv.FormatInt(epoch+1, 10)); err != nil {
		return err
	}
	if err := meet(ctx, s, members); err != nil {
		return err
	}
	if opts.ReplicaOf != nil {
		if err := replicate(ctx, s, opts.ReplicaOf); err != nil {
			return err
		}
		c.setMembers(c.Nodes(), c.wantReplicas()+1)
	}
	return c.WaitHealthy(ctx)
}

// RemoveNode takes a node out of the cluster and ends it. The slots of a primary
// are first moved to the other primaries evenly, as [Cluster.MoveSlots] does,
// and its replicas are made replicas of the first of these. RemoveNode returns
// when all others have forgotten the node and are healthy. Every node has to
// run. [Cluster.Reset] brings back nodes that were there at first.
func (c *Cluster) RemoveNode(ctx context.Context, s *Server) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	c.change.Lock()
	defer c.change.Unlock()
	if !slices.Contains(c.Nodes(), s) {
		return fmt.Errorf("redisnode: remove %s: it is no member", s)
	}
	if err := c.remove(ctx, s); err != nil {
		return fmt.Errorf("redisnode: remove %s: %w", s, err)
	}
	return nil
}

func (c *Cluster) remove(ctx context.Context, s *Server) error {
	// An unhealthy cluster would lose what is moved around in it.
	if err := c.WaitHealthy(ctx); err != nil {
		return err
	}
	v, err := s.view(ctx)
	if err != nil {
		return err
	}
	me, _ := v.myself()
	replicas := c.wantReplicas()
	if me.primary != "" {
		replicas--
	} else if err := c.evacuate(ctx, s, v); err != nil {
		return err
	}
	members := c.Nodes()
	others := slices.DeleteFunc(slices.Clone(members), func(o *Server) bool { return o == s })
	if err := c.forget(ctx, s, others); err != nil {
		return err
	}
	// A node of the beginning is kept for Reset.
	if !slices.Contains(c.origin, s) {
		s.Stop()
	} else if err := s.Kill(); err != nil {
		return err
	}
	c.setMembers(others, replicas)
	return c.WaitHealthy(ctx)
}

// evacuate gives what the primary s has to other primaries. The view is its own.
func (c *Cluster) evacuate(ctx context.Context, s *Server, v view) error {
	var heirs, replicas []*Server
	me, _ := v.myself()
	for _, o := range c.Nodes() {
		switch n, _ := v.byAddr(o.announced); {
		case n.primary == me.id:
			replicas = append(replicas, o)
		case n.primary == "" && n.id != me.id:
			heirs = append(heirs, o)
		}
	}
	if len(heirs) == 0 {
		return errors.New("it is the last primary")
	}
	total, given := 0, 0
	for _, r := range me.slots {
		total += r.last - r.first + 1
	}
	for _, r := range me.slots {
		for first := r.first; first <= r.last; {
			// The heir whose even share of all slots the next one falls into,
			// and how much of that share is left.
			i := given * len(heirs) / total
			share := ((i+1)*total+len(heirs)-1)/len(heirs) - given
			last := min(r.last, first+share-1)
			if err := c.MoveSlots(ctx, first, last, heirs[i]); err != nil {
				return err
			}
			given += last - first + 1
			first = last + 1
		}
	}
	return inParallel(len(replicas), func(i int) error {
		return replicate(ctx, replicas[i], heirs[0])
	})
}

// forget makes members forget s, which may be stopped.
func (c *Cluster) forget(ctx context.Context, s *Server, members []*Server) error {
	return inParallel(len(members), func(i int) error {
		what := fmt.Sprintf("make %s forget %s", members[i], s)
		return poll(ctx, what, func(ctx context.Context) error {
			return forget(ctx, members[i], s)
		})
	})
}

func forget(ctx context.Context, member, s *Server) error {
	if !member.Responsive() {
		return permanent(errors.New("it is killed or frozen"))
	}
	v, err := member.view(ctx)
	if err != nil {
		return err
	}
	for _, n := range v {
		if n.addr != s.String() {
			continue
		}
		// A replica refuses to forget the primary it still follows.
		if _, err := member.Do(ctx, "CLUSTER", "FORGET", n.id); err != nil {
			return err
		}
	}
	return nil
}

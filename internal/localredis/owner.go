package localredis

import (
	"context"
	"errors"
	"fmt"
)

// observation is a view and the server it is of.
type observation struct {
	of   *Server
	view view
}

// observe asks every node that neither Kill nor Freeze has silenced, and fails
// only if none answers. A node that is hung for another reason costs one
// probeTimeout.
func (c *Cluster) observe(ctx context.Context) ([]observation, error) {
	var seen []observation
	errs := []error{errors.New("localredis: no node answers")}
	for _, s := range c.nodes {
		if !s.responsive() {
			continue
		}
		var v view
		err := probe(ctx, func(ctx context.Context) (err error) {
			v, err = s.view(ctx)
			return err
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen = append(seen, observation{s, v})
	}
	if len(seen) == 0 {
		return nil, errors.Join(errs...)
	}
	return seen, nil
}

// PrimaryOf returns the primary of slot. Where nodes disagree, the claim with
// the highest config epoch wins, as it will among the nodes. While a killed or
// frozen primary has not been replaced yet it is still the answer.
func (c *Cluster) PrimaryOf(ctx context.Context, slot int) (*Server, error) {
	seen, err := c.observe(ctx)
	if err != nil {
		return nil, err
	}
	if owner := c.ownerIn(seen, slot); owner != nil {
		return owner, nil
	}
	return nil, fmt.Errorf("localredis: no node owns slot %d", slot)
}

// ownerIn decides between the claims to slot, and returns nil if there is none.
func (c *Cluster) ownerIn(seen []observation, slot int) *Server {
	var owner *Server
	best, bestIsOwn := int64(-1), false
	for _, o := range seen {
		for _, n := range o.view {
			server := c.byPort[n.port]
			if server == nil || !n.owns(slot) {
				continue
			}
			// At the same epoch a node knows its own slots best.
			own := n.is("myself")
			if n.epoch > best || n.epoch == best && own && !bestIsOwn {
				owner, best, bestIsOwn = server, n.epoch, own
			}
		}
	}
	return owner
}

// WaitPrimary blocks until slot has a primary other than old, which old may
// have been killed or frozen for, and returns it.
func (c *Cluster) WaitPrimary(ctx context.Context, slot int, old *Server) (*Server, error) {
	var found *Server
	what := fmt.Sprintf("wait for another primary of slot %d than %s", slot, old.Addr())
	err := poll(ctx, what, func(ctx context.Context) (err error) {
		found, err = c.PrimaryOf(ctx, slot)
		if err == nil && found == old {
			err = errors.New("there is none yet")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// ReplicasOf returns the replicas of primary in the order of Nodes. Each node
// that answers is asked about itself, the others are looked up in the view of
// the first that does. A node that is no primary has no replicas.
func (c *Cluster) ReplicasOf(ctx context.Context, primary *Server) ([]*Server, error) {
	seen, err := c.observe(ctx)
	if err != nil {
		return nil, err
	}
	reference := seen[0].view
	own := make(map[*Server]nodeLine, len(seen))
	for _, o := range seen {
		own[o.of], _ = o.view.myself()
	}
	wanted, ok := reference.byPort(primary.port)
	if !ok {
		return nil, fmt.Errorf("localredis: %s is not known in the cluster", primary.Addr())
	}
	var replicas []*Server
	for _, s := range c.nodes {
		line, answered := own[s]
		if !answered {
			line, _ = reference.byPort(s.port)
		}
		if line.primary == wanted.id {
			replicas = append(replicas, s)
		}
	}
	return replicas, nil
}

// awaitOwner blocks until every node that answers agrees that owner has slot.
func (c *Cluster) awaitOwner(ctx context.Context, slot int, owner *Server) error {
	what := fmt.Sprintf("wait until all agree that %s has slot %d", owner.Addr(), slot)
	return poll(ctx, what, func(ctx context.Context) error {
		seen, err := c.observe(ctx)
		if err != nil {
			return err
		}
		for _, o := range seen {
			n, ok := o.view.find(func(n nodeLine) bool { return n.owns(slot) })
			if !ok || n.port != owner.port {
				return fmt.Errorf("%s sees it at port %d", o.of.Addr(), n.port)
			}
		}
		return nil
	})
}

package redisnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	errs := []error{errors.New("redisnode: no node answers")}
	for _, s := range c.Nodes() {
		if !s.Responsive() {
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
	owners, err := c.ownersIn(seen, slotRange{slot, slot})
	if err != nil {
		return nil, err
	}
	return owners[0], nil
}

// ownersIn decides between the claims to each of slots.
func (c *Cluster) ownersIn(seen []observation, slots slotRange) ([]*Server, error) {
	owners := make([]*Server, slots.last-slots.first+1)
	for i := range owners {
		owners[i] = c.ownerIn(seen, slots.first+i)
		if owners[i] == nil {
			return nil, fmt.Errorf("redisnode: no node owns slot %d", slots.first+i)
		}
	}
	return owners, nil
}

// ownerIn decides between the claims to slot, and returns nil if there is none.
func (c *Cluster) ownerIn(seen []observation, slot int) *Server {
	var owner string
	best, bestIsOwn := int64(-1), false
	for _, o := range seen {
		for _, n := range o.view {
			if !n.owns(slot) || n.epoch < best {
				continue
			}
			// At the same epoch a node knows its own slots best.
			own := n.is("myself")
			if n.epoch == best && (bestIsOwn || !own) || c.at(n.addr) == nil {
				continue
			}
			owner, best, bestIsOwn = n.addr, n.epoch, own
		}
	}
	return c.at(owner)
}

// WaitPrimary blocks until slot has a primary other than old, which old may
// have been killed or frozen for, and returns it.
func (c *Cluster) WaitPrimary(ctx context.Context, slot int, old *Server) (*Server, error) {
	var found *Server
	what := fmt.Sprintf("wait for another primary of slot %d than %s", slot, old)
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
	primaries, err := c.primaries(ctx)
	if err != nil {
		return nil, err
	}
	if _, known := primaries[primary]; !known {
		return nil, fmt.Errorf("redisnode: %s is not known in the cluster", primary)
	}
	return slices.DeleteFunc(c.Nodes(), func(s *Server) bool { return primaries[s] != primary }), nil
}

// primaries returns the primary of every member that is known to the others,
// nil for those that are primaries. See ReplicasOf for who is asked.
func (c *Cluster) primaries(ctx context.Context) (map[*Server]*Server, error) {
	seen, err := c.observe(ctx)
	if err != nil {
		return nil, err
	}
	reference := seen[0].view
	own := make(map[*Server]view, len(seen))
	for _, o := range seen {
		own[o.of] = o.view
	}
	primaries := make(map[*Server]*Server)
	for _, s := range c.Nodes() {
		v, answered := own[s]
		if !answered {
			v = reference
		}
		line, known := v.byAddr(s.announced)
		if !known {
			continue
		}
		primaries[s] = nil
		if p, ok := v.byID(line.primary); ok {
			primaries[s] = c.at(p.addr)
		}
	}
	return primaries, nil
}

// awaitOwner blocks until every node that answers agrees that owner has all of
// slots.
func (c *Cluster) awaitOwner(ctx context.Context, slots slotRange, owner *Server) error {
	what := fmt.Sprintf("wait until all agree that %s has %s", owner, slots)
	return poll(ctx, what, func(ctx context.Context) error {
		seen, err := c.observe(ctx)
		if err != nil {
			return err
		}
		for _, o := range seen {
			n, ok := o.view.byAddr(owner.announced)
			if !ok || !n.ownsAll(slots) {
				return fmt.Errorf("%s does not see it so yet", o.of)
			}
		}
		return nil
	})
}

package redisnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Isolate cuts every link, of bus and replication, between the nodes in group
// and all other members, at once and for connections to come. Clients still
// reach both sides. The nodes notice after the node timeout: until then Isolate
// changes nothing that a client can see. Another group replaces the one before.
// It ends with [Cluster.Heal] or [Cluster.Reset]. An error that wraps
// errors.ErrUnsupported says why the backend cannot do it.
func (c *Cluster) Isolate(ctx context.Context, group ...*Server) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	c.change.Lock()
	defer c.change.Unlock()
	if err := c.heal(ctx); err != nil {
		return err
	}
	if err := isolate(ctx, c.maker, c.Nodes(), group); err != nil {
		return err
	}
	if b, ok := c.maker.(BusIsolator); !ok || !b.IsolatesBusOnly() {
		return nil
	}
	if err := c.cutAcross(ctx, group); err != nil {
		return errors.Join(err, c.heal(context.WithoutCancel(ctx)))
	}
	return nil
}

// Heal ends what [Cluster.Isolate] did. Use [Cluster.WaitHealthy] to wait until
// the nodes have found together again. Without a cut it does nothing.
func (c *Cluster) Heal(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	c.change.Lock()
	defer c.change.Unlock()
	return c.heal(ctx)
}

// heal needs change to be held. A replica that cannot be told now is told when
// it is started or thawed.
func (c *Cluster) heal(ctx context.Context) error {
	if err := c.maker.Heal(ctx); err != nil {
		return fmt.Errorf("redisnode: heal: %w", err)
	}
	var errs []error
	for _, s := range c.apart {
		errs = append(errs, s.setCut(ctx, false))
	}
	c.apart = nil
	return errors.Join(errs...)
}

// cutAcross cuts the replication of every replica whose primary is on the other
// side. One that is killed or frozen is cut when it comes back.
func (c *Cluster) cutAcross(ctx context.Context, group []*Server) error {
	primaries, err := c.primaries(ctx)
	if err != nil {
		return err
	}
	for replica, primary := range primaries {
		if primary == nil || slices.Contains(group, primary) == slices.Contains(group, replica) {
			continue
		}
		c.apart = append(c.apart, replica)
		cut := cutReplication
		if !replica.Responsive() {
			cut = func(ctx context.Context, s *Server) error { return s.setCut(ctx, true) }
		}
		if err := cut(ctx, replica); err != nil {
			return err
		}
	}
	return nil
}

func isolate(ctx context.Context, maker Maker, members, group []*Server) error {
	if len(group) == 0 {
		return errors.New("redisnode: isolate: no server is given")
	}
	machines := make([]Machine, len(group))
	for i, s := range group {
		if !slices.Contains(members, s) {
			return fmt.Errorf("redisnode: isolate %s: it is no member", s)
		}
		machines[i] = s.machine
	}
	if err := maker.Isolate(ctx, machines); err != nil {
		return fmt.Errorf("redisnode: isolate: %w", err)
	}
	return nil
}

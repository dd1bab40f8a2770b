package redisnode

import (
	"context"
	"fmt"
	"time"
)

// failoverAttempt is how long one CLUSTER FAILOVER is given. A server forgets
// an attempt that got no majority after 5 s without telling anybody.
const failoverAttempt = 6 * time.Second

// Failover makes replica the primary of its shard. The mode is that of CLUSTER
// FAILOVER: "" hands over in agreement with the primary, "FORCE" does without
// it, "TAKEOVER" also without the votes of the others. Failover blocks until
// replica is primary in its own view and in that of the old primary, if that
// one is neither killed nor frozen.
func (c *Cluster) Failover(ctx context.Context, replica *Server, mode string) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	v, err := replica.view(ctx)
	if err != nil {
		return err
	}
	me, _ := v.myself()
	if me.primary == "" {
		return fmt.Errorf("redisnode: failover to %s: it is no replica", replica)
	}
	old, _ := v.byID(me.primary)
	command := []string{"CLUSTER", "FAILOVER"}
	if mode != "" {
		command = append(command, mode)
	}
	for {
		if _, err := replica.Do(ctx, command...); err != nil {
			return fmt.Errorf("redisnode: failover to %s: %w", replica, err)
		}
		err := awaitPromotion(ctx, failoverAttempt, replica, nil, me.id)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
	}
	return awaitPromotion(ctx, defaultTimeout, replica, c.at(old.addr), me.id)
}

func awaitPromotion(ctx context.Context, d time.Duration, replica, old *Server, id string) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return poll(ctx, "failover to "+replica.String(), func(ctx context.Context) error {
		return checkPromotion(ctx, replica, old, id)
	})
}

// checkPromotion asks replica, whose node id is id, and the old primary, which
// may be nil.
func checkPromotion(ctx context.Context, replica, old *Server, id string) error {
	for _, s := range []*Server{replica, old} {
		if s == nil || s == old && !s.Responsive() {
			continue
		}
		v, err := s.view(ctx)
		if err != nil {
			return err
		}
		n, ok := v.byID(id)
		if !ok || n.primary != "" || len(n.slots) == 0 {
			return fmt.Errorf("%s does not see it as a primary yet", s)
		}
	}
	return nil
}

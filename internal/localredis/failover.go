package localredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
		return fmt.Errorf("localredis: failover to %s: it is no replica", replica.Addr())
	}
	old, _ := v.byID(me.primary)
	command := []string{"CLUSTER", "FAILOVER"}
	if mode != "" {
		command = append(command, mode)
	}
	for {
		if _, err := replica.Do(ctx, command...); err != nil {
			return fmt.Errorf("localredis: failover to %s: %w", replica.Addr(), err)
		}
		err := awaitPromotion(ctx, failoverAttempt, replica, nil, me.id)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
	}
	return awaitPromotion(ctx, defaultTimeout, replica, c.byPort[old.port], me.id)
}

func awaitPromotion(ctx context.Context, d time.Duration, replica, old *Server, id string) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return poll(ctx, "failover to "+replica.Addr(), func(ctx context.Context) error {
		return checkPromotion(ctx, replica, old, id)
	})
}

// checkPromotion asks replica, whose node id is id, and the old primary, which
// may be nil.
func checkPromotion(ctx context.Context, replica, old *Server, id string) error {
	for _, s := range []*Server{replica, old} {
		if s == nil || s == old && !s.responsive() {
			continue
		}
		v, err := s.view(ctx)
		if err != nil {
			return err
		}
		n, ok := v.byID(id)
		if !ok || n.primary != "" || len(n.slots) == 0 {
			return fmt.Errorf("%s does not see it as a primary yet", s.Addr())
		}
	}
	return nil
}

// CutReplication breaks the replication link of replica and keeps it broken:
// the replica asks again every second and is turned away, because it presents
// a user its primary does not have. The cluster bus is not affected. It blocks
// until the replica sees the link down. A restart of the replica ends the cut.
func (c *Cluster) CutReplication(ctx context.Context, replica *Server) error {
	// The user alone would not do: a replica authenticates only if it has a
	// password.
	if err := setReplicaUser(ctx, replica, "nosuch"); err != nil {
		return err
	}
	what := "cut replication of " + replica.Addr()
	return poll(ctx, what, func(ctx context.Context) error {
		// Again in each round: a link that was just being set up may have got
		// past authentication.
		replies, err := replica.doAll(ctx,
			[]string{"CLIENT", "KILL", "TYPE", "master"}, []string{"INFO", "replication"})
		if err != nil {
			return err
		}
		info, _ := replies[1].(string)
		if role := infoField(info, "role"); role != "slave" {
			return permanent(fmt.Errorf("its role is %q", role))
		}
		if infoField(info, "master_link_status") != "down" {
			return errors.New("the link is still up")
		}
		return nil
	})
}

// RestoreReplication undoes [Cluster.CutReplication] and blocks until the
// primary of replica sends it every write. If it has been promoted meanwhile
// there is nothing to wait for.
func (c *Cluster) RestoreReplication(ctx context.Context, replica *Server) error {
	if err := setReplicaUser(ctx, replica, ""); err != nil {
		return err
	}
	what := "restore replication of " + replica.Addr()
	return poll(ctx, what, func(ctx context.Context) error {
		return checkReplica(ctx, replica, c.nodes)
	})
}

func setReplicaUser(ctx context.Context, replica *Server, user string) error {
	_, err := replica.Do(ctx, "CONFIG", "SET", "masteruser", user, "masterauth", user)
	if err != nil {
		return fmt.Errorf("localredis: set replication user of %s: %w", replica.Addr(), err)
	}
	return nil
}

// checkReplica returns nil if replica follows one of nodes and both sides of the
// link say that it works, or if it is no replica.
func checkReplica(ctx context.Context, replica *Server, nodes []*Server) error {
	info, err := replica.doString(ctx, "INFO", "replication")
	if err != nil {
		return err
	}
	if infoField(info, "role") != "slave" {
		return nil
	}
	if infoField(info, "master_link_status") != "up" {
		return errors.New("the link is down")
	}
	port := infoField(info, "master_port")
	i := slices.IndexFunc(nodes, func(s *Server) bool { return strconv.Itoa(s.port) == port })
	if i < 0 {
		return fmt.Errorf("it follows port %s", port)
	}
	if info, err = nodes[i].doString(ctx, "INFO", "replication"); err != nil {
		return err
	}
	// After a full sync a primary sends nothing until the replica's next
	// acknowledgement, which comes once a second.
	if !strings.Contains(info, fmt.Sprintf("port=%d,state=online", replica.port)) {
		return errors.New("its primary does not send to it yet")
	}
	return nil
}

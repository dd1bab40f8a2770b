package redisnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CutReplication breaks the replication link of replica and keeps it broken:
// the replica asks again every second and is turned away, because it presents
// a user its primary does not have. The cluster bus is not affected. It blocks
// until the replica sees the link down. A replica that is killed and started
// again is cut again as soon as it answers.
func (c *Cluster) CutReplication(ctx context.Context, replica *Server) error {
	return cutReplication(ctx, replica)
}

// RestoreReplication undoes [Cluster.CutReplication] and blocks until the
// primary of replica sends it every write. If it has been promoted meanwhile
// there is nothing to wait for.
func (c *Cluster) RestoreReplication(ctx context.Context, replica *Server) error {
	return restoreReplication(ctx, replica, c.Nodes())
}

func cutReplication(ctx context.Context, replica *Server) error {
	what := "cut replication of " + replica.String()
	role, err := replica.role(ctx)
	if err != nil {
		return fmt.Errorf("redisnode: %s: %w", what, err)
	}
	if role != "slave" {
		return fmt.Errorf("redisnode: %s: its role is %q", what, role)
	}
	if err := replica.setCut(ctx, true); err != nil {
		return fmt.Errorf("redisnode: %s: %w", what, err)
	}
	return poll(ctx, what, func(ctx context.Context) error {
		// Again in each round: a link that was just being set up may have got
		// past authentication.
		if _, err := replica.Do(ctx, "CLIENT", "KILL", "TYPE", "master"); err != nil {
			return err
		}
		info, err := replica.doString(ctx, "INFO", "replication")
		if err != nil {
			return err
		}
		if infoField(info, "role") == "slave" && infoField(info, "master_link_status") != "down" {
			return errors.New("the link is still up")
		}
		return nil
	})
}

func restoreReplication(ctx context.Context, replica *Server, nodes []*Server) error {
	if err := replica.setCut(ctx, false); err != nil {
		return err
	}
	return awaitReplica(ctx, replica, nodes)
}

// awaitReplica blocks until replica gets every write of its primary.
func awaitReplica(ctx context.Context, replica *Server, nodes []*Server) error {
	return poll(ctx, "wait for replication to "+replica.String(), func(ctx context.Context) error {
		return checkReplica(ctx, replica, nodes)
	})
}

func (s *Server) role(ctx context.Context) (string, error) {
	info, err := s.doString(ctx, "INFO", "replication")
	if err != nil {
		return "", err
	}
	return infoField(info, "role"), nil
}

// setCut sets whether the replication of s is to be broken, and makes it so. A
// server that is killed or frozen is told when it comes back.
func (s *Server) setCut(ctx context.Context, cut bool) error {
	s.mu.Lock()
	s.cut = cut
	s.mu.Unlock()
	if !s.Responsive() {
		return nil
	}
	return s.settleCut(ctx)
}

// settleCut tells the running program what setCut wants.
func (s *Server) settleCut(ctx context.Context) error {
	s.mu.Lock()
	cut, done := s.cut, s.cut == s.cutDone
	s.mu.Unlock()
	if done {
		return nil
	}
	cmds := [][]string{s.access.replicaUser()}
	if cut {
		// The user alone would not do: a replica authenticates only if it has a
		// password.
		cmds = [][]string{replicaUser("nosuch", "nosuch"), {"CLIENT", "KILL", "TYPE", "master"}}
	}
	if _, err := s.doAll(ctx, cmds...); err != nil {
		return err
	}
	s.mu.Lock()
	s.cutDone = cut
	s.mu.Unlock()
	return nil
}

// replicaUser returns the command that makes a server replicate as it was
// configured to.
func (a Access) replicaUser() []string {
	if a.Password == "" {
		return replicaUser("", "")
	}
	return replicaUser(a.Username, a.Password)
}

func replicaUser(user, password string) []string {
	return []string{"CONFIG", "SET", "masteruser", user, "masterauth", password}
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
	host, port := infoField(info, "master_host"), infoField(info, "master_port")
	i := slices.IndexFunc(nodes, func(s *Server) bool {
		return s.announced.IP == host && fmt.Sprint(s.announced.Port) == port
	})
	if i < 0 {
		return fmt.Errorf("it follows %s port %s", host, port)
	}
	if info, err = nodes[i].doString(ctx, "INFO", "replication"); err != nil {
		return err
	}
	// After a full sync a primary sends nothing until the replica's next
	// acknowledgement, which comes once a second.
	a := replica.announced
	if !strings.Contains(info, fmt.Sprintf("ip=%s,port=%d,state=online", a.IP, a.Port)) {
		return errors.New("its primary does not send to it yet")
	}
	return nil
}

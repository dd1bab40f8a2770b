//go:build unix

package stampede

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// Run lets all contenders have their turns and returns what was measured. The
// program must have passed the roles of this package and of package origin to
// crew.Enter.
func Run(ctx context.Context, cfg Config) (*record.Run, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	defer cfg.Bar.End()
	calm, server, err := cfg.turns(ctx, false)
	if err != nil {
		return nil, err
	}
	var failed []*outcome
	if cfg.Failover {
		if failed, _, err = cfg.turns(ctx, true); err != nil {
			return nil, err
		}
	}
	return cfg.record(calm, failed, server)
}

// turns lets all contenders have their turns on a cluster: in rounds, every
// other one in the opposite order.
func (c Config) turns(ctx context.Context, failover bool) (_ []*outcome, server string, err error) {
	var replicas int
	what := "cluster"
	if failover {
		replicas, what = 1, "cluster with replicas"
	}
	s := &stage{cfg: c, failover: failover}
	err = c.Bar.During(what, clusterUp, func() (err error) {
		s.cluster, err = localredis.StartCluster(ctx, localredis.ClusterConfig{ReplicasPerPrimary: replicas})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	defer s.cluster.Stop()
	if server, err = versionOf(ctx, s.cluster); err != nil {
		return nil, "", err
	}
	s.db, err = origin.Start(ctx, origin.Config{
		IDs: c.ids(), Connections: c.Connections, Mode: origin.Mode{Service: c.Service}, Keep: true,
	})
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, s.db.Stop()) }()
	all := make([]*outcome, len(c.Peers))
	for round := range c.Rounds {
		for k := range c.Peers {
			i := k
			if round%2 == 1 {
				i = len(c.Peers) - 1 - k
			}
			o, err := s.shown(ctx, c.Peers[i])
			if err != nil {
				return nil, "", fmt.Errorf("%s: %w", c.Peers[i], err)
			}
			if all[i] == nil {
				all[i] = o
			} else {
				all[i].merge(o)
			}
		}
	}
	return slices.Clip(all), server, nil
}

// shown is turn with a bar.
func (s *stage) shown(ctx context.Context, name string) (o *outcome, err error) {
	what, d := name, s.cfg.phase()
	if s.failover {
		what, d = name+", a primary is killed", d+healing
	}
	err = s.cfg.Bar.During(what, d, func() (err error) {
		o, err = s.turn(ctx, name)
		return err
	})
	return o, err
}

package redisnode_test

import (
	"errors"
	"testing"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

func TestReplicated(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		r := newReplicated(t, newMaker(t, f), redisnode.ReplicatedConfig{Replicas: 2, Lines: []string{"maxmemory 9mb"}})
		ctx := within(t)
		nodes := r.Nodes()
		if len(nodes) != 3 || len(r.Addrs()) != 3 || r.Primary() != nodes[0] {
			t.Fatalf("Nodes = %v, Primary = %s, want three and the first", nodes, r.Primary())
		}
		primary, replica := nodes[0], nodes[1]
		wantConfig(t, replica, "maxmemory", "9437184")
		replies, err := primary.Pipeline(ctx, []string{"SET", "k", "v"}, []string{"WAIT", "2", "5000"})
		must(t, "SET and WAIT", err)
		if replies[1] != int64(2) {
			t.Errorf("WAIT = %v, want 2", replies[1])
		}

		must(t, "CutReplication", r.CutReplication(ctx, replica))
		wantReply(t, primary, "OK", "SET", "k", "w")
		wantReply(t, replica, "v", "GET", "k")
		must(t, "RestoreReplication", r.RestoreReplication(ctx, replica))
		wantReply(t, replica, "w", "GET", "k")

		must(t, "CutReplication", r.CutReplication(ctx, replica))
		must(t, "SetConfig", primary.SetConfig(ctx, "maxmemory", "1gb"))
		wantReply(t, nodes[2], "OK", "REPLICAOF", "NO", "ONE")
		must(t, "Freeze", replica.Freeze())
		must(t, "Reset", r.Reset(ctx))
		for _, s := range nodes {
			wantReply(t, s, int64(0), "DBSIZE")
			wantConfig(t, s, "maxmemory", "9437184")
		}
		awaitRole(t, nodes[2], "slave")
		must(t, "WaitHealthy", r.WaitHealthy(ctx))
		must(t, "Heal of nothing", r.Heal(ctx))
	})
}

func TestSetConfigOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s, err := redisnode.Start(within(t), newMaker(t, localredis.Redis), redisnode.ServerConfig{})
	must(t, "Start", err)
	defer s.Stop()
	if err := s.SetConfig(within(t), "no-such", "1"); err == nil {
		t.Error("SetConfig of an unknown parameter succeeded")
	}
	if err := s.SetConfig(within(t), "maxmemory", "many"); !errors.As(err, new(redisnode.RedisError)) {
		t.Errorf("SetConfig of a bad value = %v, want a RedisError", err)
	}
	must(t, "RestoreConfig", s.RestoreConfig(within(t)))
}

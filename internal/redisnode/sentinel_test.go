package redisnode_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

func TestSentinelReplacesKilledMaster(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		begin := time.Now()
		d := newSentinel(t, newMaker(t, f), redisnode.SentinelConfig{})
		t.Logf("ready after %s", time.Since(begin))
		ctx := within(t)
		if len(d.Addrs()) != 3 || len(d.Nodes()) != 2 || d.MasterName != redisnode.DefaultMasterName {
			t.Fatalf("sentinels %v, %d nodes, master %q", d.Addrs(), len(d.Nodes()), d.MasterName)
		}
		master, err := d.Master(ctx)
		must(t, "Master", err)
		if master != d.Nodes()[0] {
			t.Fatalf("Master = %s, want %s", master.Addr(), d.Nodes()[0].Addr())
		}
		for _, s := range d.Sentinels() {
			others, _ := do(t, s, "SENTINEL", "SENTINELS", d.MasterName).([]any)
			replicas, _ := do(t, s, "SENTINEL", "REPLICAS", d.MasterName).([]any)
			if len(others) != 2 || len(replicas) != 1 {
				t.Errorf("%s knows %d other sentinels and %d replicas, want 2 and 1", s.Addr(), len(others), len(replicas))
			}
		}
		info, _ := do(t, master, "INFO", "replication").(string)
		if !strings.Contains(info, "state=online") {
			t.Errorf("the master does not send to its replica yet:\n%s", info)
		}
		setAtReplica(t, master, "k", "v")
		begin = time.Now()
		must(t, "Kill", master.Kill())
		promoted, err := d.WaitMaster(ctx, master)
		must(t, "WaitMaster", err)
		t.Logf("promoted after %s", time.Since(begin))
		if promoted != d.Nodes()[1] {
			t.Fatalf("promoted %s, want %s", promoted.Addr(), d.Nodes()[1].Addr())
		}
		wantReply(t, promoted, "v", "GET", "k")
		wantReply(t, promoted, "OK", "SET", "k", "w")

		// A sentinel that is restarted reads back what it had learned, and is
		// given again what it does not write to its file.
		s := d.Sentinels()[0]
		must(t, "Restart", s.Restart())
		others, _ := do(t, s, "SENTINEL", "SENTINELS", d.MasterName).([]any)
		if len(others) != 2 {
			t.Errorf("restarted sentinel knows %d others, want 2", len(others))
		}
		periods, _ := do(t, s, "SENTINEL", "DEBUG").([]any)
		if i := slices.Index(periods, any("TILT-PERIOD")); i < 0 || periods[i+1] != "1000" {
			t.Errorf("restarted sentinel has %v, want TILT-PERIOD 1000", periods)
		}
	})
}

func TestSentinelConfigIsValidated(t *testing.T) {
	t.Parallel()
	for _, cfg := range []redisnode.SentinelConfig{
		{Replicas: -1}, {Sentinels: -1}, {Quorum: 4}, {Quorum: -1}, {DownAfter: -1}, {MasterName: "a b"},
		{Access: redisnode.Access{Password: "a b"}}, {Access: redisnode.Access{Username: "u"}},
	} {
		if d, err := redisnode.StartSentinel(within(t), newMaker(t, localredis.Redis), cfg); err == nil {
			d.Stop()
			t.Errorf("StartSentinel(%+v) succeeded", cfg)
		}
	}
}

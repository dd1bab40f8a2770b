package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/rueidis"
)

func TestReplicated(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, on Topology) {
		long(t, on)
		on.Mode, on.ReplicasPerPrimary, on.Password = Replicated, 1, "s3cret"
		c := Start(t, on)
		client := clientOf(t, c.ClientOption())
		primary, err := c.Master(within(t))
		must(t, "Master", err)
		replica := replicasOf(t, c, primary)[0]
		if primary != c.Node(0) || replica != c.Node(1) || len(replicasOf(t, c, replica)) != 0 {
			t.Errorf("primary is %s, replica %s", primary, replica)
		}
		set(t, client, "k", "v")
		synced(t, c, primary)
		wantReply(t, replica, "v", "GET", "k")

		id := idOf(t, primary)
		must(t, "Restart", primary.Restart(within(t)))
		waitStable(t, c)
		if again := idOf(t, primary); again == id || again == "" {
			t.Errorf("run id %q after the restart, %q before", again, id)
		}
		wantValue(t, client, "k", "v")

		must(t, "CutReplication", c.CutReplication(within(t), replica))
		set(t, client, "k", "w")
		wantReply(t, replica, "v", "GET", "k")
		must(t, "RestoreReplication", c.RestoreReplication(within(t), replica))
		wantReply(t, replica, "w", "GET", "k")

		must(t, "Freeze", replica.Freeze(within(t)))
		must(t, "Kill", primary.Kill(within(t)))
		must(t, "Reset", c.Reset(within(t)))
		wantReply(t, replica, int64(0), "DBSIZE")
		for what, err := range map[string]error{
			"failover":  c.Failover(within(t), replica, Graceful),
			"move slot": c.MoveSlot(within(t), 0, replica),
			"wait":      func() error { _, err := c.WaitMaster(within(t), primary); return err }(),
			"add node":  func() error { _, err := c.AddNode(within(t), nil); return err }(),
		} {
			if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "replicated mode") {
				t.Errorf("%s: %v", what, err)
			}
		}
		testIsolateOutsideCluster(t, c, replica)
	})
}

// testIsolateOutsideCluster wants a clear word where it cannot be done, and the
// effect where it can.
func testIsolateOutsideCluster(t *testing.T, c *Cluster, replica *Node) {
	t.Helper()
	err := c.Isolate(within(t), replica)
	if c.Backend() == Local {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "Backend: Docker") {
			t.Errorf("Isolate: %v", err)
		}
		return
	}
	must(t, "Isolate", err)
	eventually(t, "the link of the replica", func(context.Context) error {
		info := do(t, replica, "INFO", "replication").(string)
		if status := infoField(info, "master_link_status"); status != "down" {
			return fmt.Errorf("it is %s", status)
		}
		return nil
	})
	must(t, "Heal", c.Heal(within(t)))
	waitStable(t, c)
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, on Topology) {
		long(t, on)
		on.Mode = SentinelMode
		c := Start(t, on)
		if len(c.Nodes()) != 2 || len(c.Sentinels()) != 3 || !strings.HasPrefix(c.Sentinels()[0].String(), "sentinel ") {
			t.Fatalf("nodes %v, sentinels %v", c.Nodes(), c.Sentinels())
		}
		client := clientOf(t, c.ClientOption())
		set(t, client, "k", "v")
		master, err := c.Master(within(t))
		must(t, "Master", err)
		replica := replicasOf(t, c, master)[0]
		synced(t, c, master)

		must(t, "Kill", master.Kill(within(t)))
		promoted, err := c.WaitMaster(within(t), master)
		must(t, "WaitMaster", err)
		if promoted != replica {
			t.Errorf("%s was promoted, want %s", promoted, replica)
		}
		wantValue(t, client, "k", "v")
		must(t, "Start", master.Start(within(t)))
		waitStable(t, c)

		must(t, "Failover", c.Failover(within(t), master, Force))
		if now, err := c.Master(within(t)); now != master {
			t.Errorf("master is %v, %v, want %s", now, err, master)
		}
		if err := c.Failover(within(t), replica, Graceful); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("graceful failover: %v", err)
		}
		must(t, "Reset", c.Reset(within(t)))
		wantReply(t, replica, int64(0), "DBSIZE")
	})
}

// TestAccess has everything that stands between a client and a server.
func TestAccess(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, on Topology) {
		long(t, on)
		on.ReplicasPerPrimary, on.Password, on.TLS = 1, "s3cret!#$", true
		on.Users = []string{"alice on >wonder ~app:* +@read +@connection +cluster"}
		on.MaxMemory, on.MaxMemoryPolicy = "64mb", "allkeys-lfu"
		on.Config = []string{"hz 50", "  slowlog-max-len 7"}
		c := Start(t, on)
		client := clientOf(t, c.ClientOption())
		set(t, client, "app:{k}", "v")
		primary := primaryOf(t, c, c.Slot("app:{k}"))
		for name, want := range map[string]string{"maxmemory": "67108864", "maxmemory-policy": "allkeys-lfu", "hz": "50", "slowlog-max-len": "7"} {
			if got, err := primary.setting(within(t), name); got != want {
				t.Errorf("%s is %q, %v, want %q", name, got, err, want)
			}
		}

		asAlice, asNobody := c.ClientOption(), c.ClientOption()
		asAlice.Username, asAlice.Password = "alice", "wonder"
		asNobody.Password = ""
		alice := clientOf(t, asAlice)
		wantValue(t, alice, "app:{k}", "v")
		for _, denied := range []rueidis.Completed{
			alice.B().Set().Key("app:{k}").Value("w").Build(), alice.B().Get().Key("other").Build(),
		} {
			if err := alice.Do(within(t), denied).Error(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("alice does what she may not: %v", err)
			}
		}
		if nobody, err := rueidis.NewClient(asNobody); err == nil {
			nobody.Close()
			t.Error("a client without a password is let in")
		}
		asPlain := c.ClientOption()
		asPlain.TLSConfig = nil
		if plain, err := rueidis.NewClient(asPlain); err == nil {
			plain.Close()
			t.Error("a client without TLS is let in")
		}

		// The nodes get along with each other, too.
		synced(t, c, primary)
		to := primaryOf(t, c, (c.Slot("app:{k}")+slotCount/2)%slotCount)
		must(t, "MoveSlot", c.MoveSlot(within(t), c.Slot("app:{k}"), to))
		wantValue(t, client, "app:{k}", "v")
		replica := replicasOf(t, c, to)[0]
		must(t, "CutReplication", c.CutReplication(within(t), replica))
		must(t, "RestoreReplication", c.RestoreReplication(within(t), replica))
		must(t, "Failover", c.Failover(within(t), replica, Graceful))
		wantValue(t, client, "app:{k}", "v")
		must(t, "Reset", c.Reset(within(t)))
		wantValue(t, client, "app:{k}", "")

		err := c.Isolate(within(t), replica)
		if c.Backend() == Local && !errors.Is(err, errors.ErrUnsupported) || c.Backend() == Docker && err != nil {
			t.Errorf("Isolate: %v", err)
		}
	})
}

// TestServerRefuses wants the server's own words when it does not come up.
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, on Topology) {
		long(t, on)
		on.Mode = Replicated
		for name, tt := range map[string]struct {
			change func(*Topology)
			words  []string
		}{
			"unknown directive": {func(t *Topology) { t.Config = []string{"no-such-thing 1"} }, []string{"no-such-thing"}},
			"bad value":         {func(t *Topology) { t.Config = []string{"hz many"} }, []string{"hz many"}},
			"bad ACL rule":      {func(t *Topology) { t.Users = []string{"alice on +@nonsense"} }, []string{"alice", "+@nonsense"}},
			"unknown policy":    {func(t *Topology) { t.MaxMemoryPolicy = "allkeys-lucky" }, []string{"allkeys-lucky"}},
		} {
			topology := on
			tt.change(&topology)
			c, err := Run(t.Context(), topology)
			if err == nil {
				t.Errorf("%s: accepted: %v", name, c.Stop())
				continue
			}
			for _, word := range append(tt.words, "clustertest: start ") {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%s: error does not say %q:\n%v", name, word, err)
				}
			}
		}
	})
}

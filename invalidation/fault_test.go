package invalidation

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// pair opens two buses on the cluster that share a clock: a writer and a reader.
func pair(t *testing.T, addrs []string, edit ...func(*Config)) (writer, reader *Bus) {
	t.Helper()
	cfg := quick(t)
	start := time.Now()
	cfg.Clock = func() int64 { return int64(time.Since(start)) }
	cfg.OpTimeout = 500 * time.Millisecond
	for _, f := range edit {
		f(&cfg)
	}
	return open(t, option(addrs...), cfg), open(t, option(addrs...), cfg)
}

// slotOf returns the slot of a partition.
func slotOf(b *Bus, partition int) int { return localredis.Slot(b.parts[partition].channel) }

func do(t *testing.T, s *localredis.Server, args ...string) any {
	t.Helper()
	v, err := s.Do(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// fault is what happens to the primary of a partition.
type fault struct {
	name string
	do   func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server)
	// gap is whether every subscriber must be told.
	gap bool
	// classic is whether the fault means something else for classic channels,
	// whose subscriptions servers do not end.
	classic bool
}

var faults = []fault{
	{"nothing", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {}, false, true},
	{"CLIENT KILL", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {
		do(t, primary, "CLIENT", "KILL", "TYPE", "pubsub")
	}, true, false},
	{"slot migrated", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {
		if err := c.MoveSlot(t.Context(), slot, other(t, c, slot)); err != nil {
			t.Fatal(err)
		}
	}, false, true},
	{"slot given away without its keys", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {
		if err := c.SetSlot(t.Context(), slot, other(t, c, slot)); err != nil {
			t.Fatal(err)
		}
	}, true, false},
	{"failover", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {
		failover(t, c, primary, "")
	}, false, true},
	{"failover forced", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {
		failover(t, c, primary, "FORCE")
	}, false, false},
	{"primary killed", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {
		if err := primary.Kill(); err != nil {
			t.Fatal(err)
		}
		waitPrimary(t, c, slot, primary)
	}, true, true},
	{"primary killed with writes its replica does not have", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {
		replicas, err := c.ReplicasOf(t.Context(), primary)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CutReplication(t.Context(), replicas[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond) // for writes to get lost; nothing is decided by it
		if err := primary.Kill(); err != nil {
			t.Fatal(err)
		}
		waitPrimary(t, c, slot, primary)
	}, true, false},
	{"primary frozen and thawed", func(t *testing.T, c *localredis.Cluster, slot int, primary *localredis.Server) {
		if err := primary.Freeze(); err != nil {
			t.Fatal(err)
		}
		waitPrimary(t, c, slot, primary)
		if err := primary.Thaw(); err != nil {
			t.Fatal(err)
		}
	}, true, false},
}

// other returns a primary that does not own the slot.
func other(t *testing.T, c *localredis.Cluster, slot int) *localredis.Server {
	t.Helper()
	for s := 0; s < localredis.SlotCount; s += localredis.SlotCount / 3 {
		p, err := c.PrimaryOf(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if owner, err := c.PrimaryOf(t.Context(), slot); err != nil {
			t.Fatal(err)
		} else if p != owner {
			return p
		}
	}
	t.Fatal("one primary owns all")
	return nil
}

func failover(t *testing.T, c *localredis.Cluster, primary *localredis.Server, mode string) {
	t.Helper()
	replicas, err := c.ReplicasOf(t.Context(), primary)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Failover(t.Context(), replicas[0], mode); err != nil {
		t.Fatal(err)
	}
}

func waitPrimary(t *testing.T, c *localredis.Cluster, slot int, old *localredis.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.WaitPrimary(ctx, slot, old); err != nil {
		t.Fatal(err)
	}
}

// Whatever happens to a primary, nothing is lost unnoticed, and the feed comes
// back.
func TestFaultsUnderLoad(t *testing.T) {
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		t.Parallel() // with the other flavor, which has a cluster of its own
		for _, mode := range []Mode{Sharded, Classic} {
			for _, fault := range faults {
				if mode == Classic && !fault.classic {
					continue
				}
				t.Run(mode.String()+" "+fault.name, func(t *testing.T) {
					c := sharedCluster(t, f)
					writer, reader := pair(t, c.Addrs(), func(cfg *Config) {
						cfg.Mode = mode
						if fault.name == "nothing" { // nor is a busy machine anything
							cfg.OpTimeout = 5 * time.Second
						}
					})
					m := newModel(t, writer, reader)
					m.settled()
					before := m.gaps.Load()
					slot := slotOf(reader, 0)
					primary, err := c.PrimaryOf(t.Context(), slot)
					if err != nil {
						t.Fatal(err)
					}
					fault.do(t, c, slot, primary)
					m.settled()
					if fault.gap && m.gaps.Load() == before {
						t.Error("no gap was delivered")
					}
					if fault.name == "nothing" && m.gaps.Load() != before {
						t.Error("a gap was delivered though nothing happened")
					}
					m.stop()
					if !primary.Running() {
						if err := primary.Start(); err != nil {
							t.Fatal(err)
						}
					}
				})
			}
		}
	})
}

// The loss of a subscription or a connection is noticed when it happens, not by
// the next heartbeat.
func TestLossIsNoticedAtOnce(t *testing.T) {
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		c := sharedCluster(t, f)
		_, b := pair(t, c.Addrs(), func(cfg *Config) { cfg.Heartbeat = time.Hour })
		in := subscribe(b)
		p := b.parts[b.Partition("ns", "k")]
		slot := slotOf(b, p.index)
		publish(t, b, key("k"))
		in.waitName(t, "k")
		heard := b.Stats().Subscriptions
		if err := c.MoveSlot(t.Context(), slot, other(t, c, slot)); err != nil {
			t.Fatal(err)
		}
		until(t, "the slot to be heard at its new owner", func() bool { return b.Stats().Subscriptions == heard+1 })
		if in.gaps(p.index) != 0 {
			t.Error("a gap was delivered though the state moved with the slot")
		}
		publish(t, b, key("k"))
		until(t, "an event from the new owner", func() bool { return len(in.names(Key)) == 2 })

		primary, err := c.PrimaryOf(t.Context(), slot)
		if err != nil {
			t.Fatal(err)
		}
		do(t, primary, "CLIENT", "KILL", "TYPE", "pubsub")
		in.waitGap(t, p.index, 1)
		publish(t, b, key("k"))
		until(t, "an event on the new connection", func() bool { return len(in.names(Key)) == 3 })
	})
}

// A connection on which nothing is heard any more is closed.
func TestIdleConnectionsAreClosed(t *testing.T) {
	c := sharedCluster(t, localredis.Redis)
	opt := option(c.Addrs()...)
	opt.ClientName = "idle-test"
	b := open(t, opt, quick(t))
	from, err := c.PrimaryOf(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	connections := func() int {
		return strings.Count(do(t, from, "CLIENT", "LIST").(string), " name=idle-test ")
	}
	before := connections()
	for p := range b.parts {
		if owner, err := c.PrimaryOf(t.Context(), slotOf(b, p)); err != nil {
			t.Fatal(err)
		} else if owner == from {
			if err := c.MoveSlot(t.Context(), slotOf(b, p), other(t, c, slotOf(b, p))); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "the connection for messages to be closed", func() bool { return connections() == before-1 })
	waitHeard(t, b)
}

// A primary that is silent is given up by the heartbeat, not when rueidis or the
// kernel give up the connection, and its successor is found while it stays
// silent.
func TestSilentPrimaryIsGivenUp(t *testing.T) {
	c := sharedCluster(t, localredis.Redis)
	opt := option(c.Addrs()...)
	opt.ConnWriteTimeout = time.Hour
	cfg := quick(t)
	cfg.OpTimeout = 500 * time.Millisecond
	b := open(t, opt, cfg)
	in := subscribe(b)
	p := b.parts[0]
	primary, err := c.PrimaryOf(t.Context(), slotOf(b, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := primary.Freeze(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := primary.Thaw(); err != nil {
			t.Error(err)
		}
	}()
	waitPrimary(t, c, slotOf(b, 0), primary)
	waitHeard(t, b)
	in.waitGap(t, p.index, 1)
}

package redisnode_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// A primary alone on its side is replaced, refuses commands once it knows that
// it is in the minority, and comes back as a replica.
func testIsolatedPrimary(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	slot := redisnode.Slot("alone")
	old, replica := shardOf(t, c, slot)
	setAtReplica(t, old, "alone", "v")
	must(t, "Isolate", c.Isolate(ctx, old))
	// Clients reach it, and it still takes writes, which go nowhere.
	wantReply(t, old, "OK", "SET", "alone", "lost")
	begin := time.Now()
	promoted := awaitRole(t, replica, "master")
	t.Logf("promoted after %s", time.Since(begin))
	wantReply(t, promoted, "v", "GET", "alone")
	await(t, func() error {
		_, err := old.Do(ctx, "SET", "alone", "too late")
		if e := redisnode.RedisError(""); errors.As(err, &e) && strings.HasPrefix(string(e), "CLUSTERDOWN") {
			return nil
		}
		return errors.Join(errors.New("the minority takes writes"), err)
	})
	must(t, "Heal", c.Heal(ctx))
	begin = time.Now()
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	t.Logf("healthy %s after Heal", time.Since(begin))
	wantReply(t, replica, "v", "GET", "alone")
	wantConfig(t, replica, "masteruser", "")
	awaitRole(t, old, "slave")
}

// A replica in the minority gets no writes until Heal, also when it is started
// again meanwhile; another group replaces the one before.
func testIsolatedReplica(t *testing.T, c *redisnode.Cluster) {
	ctx := within(t)
	primary, replica := shardOf(t, c, redisnode.Slot("apart"))
	other, otherReplica := shardOf(t, c, (redisnode.Slot("apart")+redisnode.SlotCount/2)%redisnode.SlotCount)
	must(t, "Isolate", c.Isolate(ctx, otherReplica))
	must(t, "Isolate another", c.Isolate(ctx, replica))
	wantConfig(t, otherReplica, "masteruser", "")
	setAtReplica(t, other, keysIn(slotsOf(t, other))[0], "v")
	wantReply(t, primary, "OK", "SET", "apart", "new")
	must(t, "Restart", replica.Restart())
	wantConfig(t, replica, "masteruser", "nosuch")
	// The way to a frozen replica is cut when it is thawed.
	must(t, "Heal", c.Heal(ctx))
	wantConfig(t, replica, "masteruser", "")
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	must(t, "Freeze", replica.Freeze())
	must(t, "Isolate the frozen", c.Isolate(ctx, replica))
	must(t, "Thaw", replica.Thaw())
	wantConfig(t, replica, "masteruser", "nosuch")

	must(t, "Reset", c.Reset(ctx))
	wantConfig(t, replica, "masteruser", "")
	testOwners(t, c)
	if err := c.Isolate(ctx); err == nil {
		t.Error("Isolate of nobody succeeded")
	}
}

func TestIsolateSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	direct, err := localredis.NewMaker(localredis.MakerConfig{DirectBus: true})
	must(t, "NewMaker", err)
	r := newReplicated(t, newMaker(t, localredis.Redis), redisnode.ReplicatedConfig{})
	c := newCluster(t, direct, redisnode.ClusterConfig{})
	ctx := within(t)
	if err := r.Isolate(ctx, r.Primary()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Isolate without a cluster = %v, want ErrUnsupported", err)
	}
	if err := c.Isolate(ctx, c.Nodes()[0]); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Isolate without proxies = %v, want ErrUnsupported", err)
	}
	if err := c.Isolate(ctx, r.Primary()); err == nil {
		t.Error("Isolate of a stranger succeeded")
	}
}

func awaitRole(t *testing.T, s *redisnode.Server, want string) *redisnode.Server {
	t.Helper()
	await(t, func() error {
		role, err := s.Do(within(t), "ROLE")
		if list, _ := role.([]any); err == nil && list[0] != want {
			err = errors.New(s.String() + " is no " + want + " yet")
		}
		return err
	})
	return s
}

// await asks until check has nothing to say.
func await(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// slotsOf returns the first slots of a primary, and 1: arguments of keysIn.
func slotsOf(t *testing.T, s *redisnode.Server) (first, last, n int) {
	t.Helper()
	ranges, _ := do(t, s, "CLUSTER", "SLOTS").([]any)
	id := do(t, s, "CLUSTER", "MYID")
	for _, r := range ranges {
		fields := r.([]any)
		if fields[2].([]any)[2] == id {
			return int(fields[0].(int64)), int(fields[1].(int64)), 1
		}
	}
	t.Fatalf("%s has no slots", s)
	return 0, 0, 0
}

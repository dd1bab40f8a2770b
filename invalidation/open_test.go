package invalidation

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/redis/rueidis"
)

func TestOpenRefusesConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Prefix: "a{b"}, "Config.Prefix is a{b, must be without braces"},
		{Config{Prefix: strings.Repeat("x", 257)}, "Config.Prefix is 257, must be at most 256 bytes"},
		{Config{Partitions: -1}, "Config.Partitions is -1, must be 1 to 1024"},
		{Config{Partitions: 1025}, "Config.Partitions is 1025"},
		{Config{Mode: 9}, "Config.Mode is Mode(9)"},
		{Config{Heartbeat: time.Millisecond}, "Config.Heartbeat is 1ms, must be at least 10ms"},
		{Config{OpTimeout: 1}, "Config.OpTimeout is 1ns"},
		{Config{Queue: -1}, "Config.Queue is -1"},
	} {
		if _, err := Open(t.Context(), option("127.0.0.1:1"), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open = %v, want %q", err, c.want)
		}
	}
}

func TestOpenWithoutServer(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), option("127.0.0.1:1"), Config{}); err == nil || !strings.HasPrefix(err.Error(), "invalidation: open: ") {
		t.Errorf("Open without a server = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, option("127.0.0.1:1"), Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that has ended = %v", err)
	}
	srv := localredis.Standalone(t, localredis.Redis)
	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, option(srv.Addr()), Config{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open of a frozen server = %v", err)
	}
}

// Those that would not hear each other find out when they open.
func TestOpenDisagreement(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	opt := option(srv.Addr())
	b := open(t, opt, quick(t))
	if b.Mode() != Sharded || b.Partitions() != DefaultPartitions {
		t.Errorf("opened %v with %d partitions", b.Mode(), b.Partitions())
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Partitions = 4 },
		func(c *Config) { c.Mode = Classic },
	} {
		cfg := quick(t)
		change(&cfg)
		if _, err := Open(t.Context(), opt, cfg); err == nil || !strings.Contains(err.Error(), `cache:bus:config says "partitions=8 mode=sharded"`) {
			t.Errorf("Open with other settings = %v", err)
		}
		cfg.Prefix = "another"
		do(t, srv, "DEL", "another:bus:config")
		open(t, opt, cfg)
	}
	// Auto takes what is in use, if that is Classic.
	cfg := quick(t)
	cfg.Prefix = "another"
	if b := open(t, opt, cfg); b.Mode() != Classic {
		t.Errorf("Mode = %v beside a Classic bus", b.Mode())
	}
}

// A server without SPUBLISH gets the classic mode, and a Bus that insists on
// Sharded an error.
func TestOpenOldServer(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis, "--rename-command", "SPUBLISH", "")
	cfg := quick(t)
	cfg.Mode = Sharded
	b := open(t, option(srv.Addr()), quick(t))
	if b.Mode() != Classic {
		t.Errorf("Mode = %v without SPUBLISH", b.Mode())
	}
	in := subscribe(b)
	publish(t, b, key("k"))
	in.waitName(t, "k")
	if _, err := Open(t.Context(), option(srv.Addr()), cfg); err == nil {
		t.Error("Open in mode Sharded beside a Classic bus = nil")
	}
}

// A Bus opens while a part of the cluster is down, and hears it when it is back.
func TestOpenWhileAPrimaryIsDown(t *testing.T) {
	c := localredis.NewCluster(t, localredis.ClusterConfig{NodeTimeout: time.Second})
	cfg := quick(t)
	cfg.OpTimeout = 200 * time.Millisecond
	open(t, option(c.Addrs()...), cfg) // leaves the settings
	victim := partitionsBySlot(t, c)
	if err := victim.Freeze(); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), option(c.Addrs()...), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	in := subscribe(b)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := b.Wait(ctx); err == nil || !strings.Contains(err.Error(), "is not heard") {
		t.Errorf("Wait = %v with a primary down", err)
	}
	if err := victim.Thaw(); err != nil {
		t.Fatal(err)
	}
	waitHeard(t, b)
	in.handled(t, b)
	missed := 0
	for p := range b.parts {
		missed += in.gaps(p)
	}
	if missed == 0 {
		t.Error("no gap for the partitions that were not heard at first")
	}
}

// partitionsBySlot returns a primary with partitions, but not the settings.
func partitionsBySlot(t *testing.T, c *localredis.Cluster) *localredis.Server {
	t.Helper()
	settings, err := c.PrimaryOf(t.Context(), localredis.Slot("cache:bus:config"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Nodes() {
		if s != settings {
			return s
		}
	}
	t.Fatal("one node only")
	return nil
}

// The options that would make the feed wrong are not taken over.
func TestClientOption(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	opt := option(srv.Addr())
	opt.ReplicaOnly = true
	opt.SendToReplicas = func(rueidis.Completed) bool { return true }
	opt.OnInvalidations = func([]rueidis.RedisMessage) { t.Error("the Bus tracks keys") }
	opt.ClientTrackingOptions = []string{"BCAST"}
	opt.BlockingPoolSize = 1
	opt.ConnLifetime = time.Millisecond
	b := open(t, opt, quick(t))
	in := subscribe(b)
	publish(t, b, key("k"))
	in.waitName(t, "k")
}

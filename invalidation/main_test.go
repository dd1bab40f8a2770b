package invalidation

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/leak"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// patience is how long a test waits for an event that has to come.
const patience = 15 * time.Second

// TestMain fails the package if its goroutines outlive its tests. Those of
// rueidis may: it closes connections some seconds late.
func TestMain(m *testing.M) {
	leak.Main(m, "github.com/fleetcache/fleetcache/invalidation", shared.stop)
}

// shared are clusters that are started once and used by one test after another.
var shared clusters

type clusters struct {
	mu sync.Mutex
	by map[localredis.Flavor]*localredis.Cluster
}

// sharedCluster returns a healthy cluster of 3 primaries and 3 replicas. Tests
// that use it do not run in parallel.
func sharedCluster(tb testing.TB, f localredis.Flavor) *localredis.Cluster {
	tb.Helper()
	localredis.Require(tb, f)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	c := shared.by[f]
	if c == nil {
		var err error
		c, err = localredis.StartCluster(tb.Context(), localredis.ClusterConfig{Flavor: f, ReplicasPerPrimary: 1, NodeTimeout: time.Second})
		if err != nil {
			tb.Fatal(err)
		}
		if shared.by == nil {
			shared.by = map[localredis.Flavor]*localredis.Cluster{}
		}
		shared.by[f] = c
	} else if err := c.Reset(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(c.Describe(1000))
		}
	})
	return c
}

func (c *clusters) stop() {
	for _, cl := range c.by {
		cl.Stop()
	}
}

// flavors runs a test on each server there is.
func flavors(t *testing.T, f func(t *testing.T, fl localredis.Flavor)) {
	for _, fl := range localredis.Flavors(t.Name(), testing.Short()) {
		t.Run(string(fl), func(t *testing.T) {
			localredis.Require(t, fl)
			f(t, fl)
		})
	}
}

// option returns the client options of a deployment.
func option(addrs ...string) rueidis.ClientOption {
	return rueidis.ClientOption{InitAddress: addrs}
}

// testLog sends what a Bus logs to the test.
func testLog(tb testing.TB) *slog.Logger {
	w := &logWriter{tb: tb}
	tb.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logWriter struct {
	mu   sync.Mutex
	tb   testing.TB
	over bool
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.tb.Logf("%s", bytes.TrimSpace(b))
	}
	return len(b), nil
}

func (w *logWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// quick is the Config of most tests: a short heartbeat, and time for servers
// that other tests keep busy.
func quick(tb testing.TB) Config {
	return Config{Heartbeat: 100 * time.Millisecond, OpTimeout: 2 * time.Second, Logger: testLog(tb)}
}

// open opens a Bus for the duration of the test, on which all is heard.
func open(tb testing.TB, opt rueidis.ClientOption, cfg Config) *Bus {
	tb.Helper()
	b, err := Open(tb.Context(), opt, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Errorf("Close = %v", err)
		}
	})
	waitHeard(tb, b)
	return b
}

func waitHeard(tb testing.TB, b *Bus) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Wait(ctx); err != nil {
		tb.Fatal(err)
	}
}

// until waits for a condition.
func until(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// inbox collects what a subscription delivers.
type inbox struct {
	*Subscription
	mu     sync.Mutex
	events []Event
}

func subscribe(b *Bus, opts ...SubscribeOption) *inbox {
	in := &inbox{}
	in.Subscription = b.Subscribe(func(e Event) {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.events = append(in.events, e)
	}, opts...)
	return in
}

// all returns what has been delivered so far.
func (in *inbox) all() []Event {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]Event(nil), in.events...)
}

// names returns the names of the events of a kind so far; for a Gap "".
func (in *inbox) names(k Kind) (out []string) {
	for _, e := range in.all() {
		if e.Kind == k {
			out = append(out, e.Name)
		}
	}
	return out
}

// gaps returns how many gaps so far concern the partition.
func (in *inbox) gaps(partition int) (n int) {
	for _, e := range in.all() {
		if e.Kind == Gap && (e.Partition == partition || e.Partition == AllPartitions) {
			n++
		}
	}
	return n
}

func (in *inbox) waitName(tb testing.TB, name string) {
	tb.Helper()
	until(tb, "event "+name, func() bool {
		for _, e := range in.all() {
			if e.Name == name {
				return true
			}
		}
		return false
	})
}

func (in *inbox) waitGap(tb testing.TB, partition, more int) {
	tb.Helper()
	until(tb, fmt.Sprintf("%d gaps of partition %d", more, partition), func() bool { return in.gaps(partition) >= more })
}

// handled waits until everything published before the call has been handled.
func (in *inbox) handled(tb testing.TB, b *Bus) {
	tb.Helper()
	since := b.cfg.Clock()
	until(tb, "the handler to be as current as now", func() bool {
		for p := range b.parts {
			if in.Heard(p) < since {
				return false
			}
		}
		return true
	})
}

func key(name string) Event { return Event{Kind: Key, Namespace: "ns", Name: name} }

func publish(tb testing.TB, b *Bus, events ...Event) []Receipt {
	tb.Helper()
	r, err := b.Publish(tb.Context(), events...)
	if err != nil {
		tb.Fatalf("Publish = %v", err)
	}
	return r
}

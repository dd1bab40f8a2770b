package invalidation

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// benchConfig is the Config of the benchmarks: the defaults, with time for a
// machine on which servers and all subscribers share two cores.
func benchConfig(mode Mode) Config {
	return Config{Mode: mode, OpTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)}
}

// BenchmarkDeliver publishes from one Bus and delivers to 8, each with a client
// of its own, on a cluster of 3 primaries. One op is one event published.
func BenchmarkDeliver(b *testing.B) {
	const subscribers = 8
	for _, mode := range []Mode{Sharded, Classic} {
		for _, batch := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("%v/batch=%d", mode, batch), func(b *testing.B) {
				c := sharedCluster(b, localredis.Redis)
				publisher := open(b, option(c.Addrs()...), benchConfig(mode))
				var delivered, gaps atomic.Int64
				var buses []*Bus
				for range subscribers {
					bus := open(b, option(c.Addrs()...), benchConfig(mode))
					bus.Subscribe(func(e Event) {
						if e.Kind == Gap {
							gaps.Add(1)
						} else {
							delivered.Add(1)
						}
					}, WithQueue(1<<20))
					buses = append(buses, bus)
				}
				b.ResetTimer()
				publishAll(b, publisher, batch)
				until(b, "all to be delivered", func() bool { return delivered.Load() >= int64(subscribers*b.N) || gaps.Load() > 0 })
				b.StopTimer()
				b.ReportMetric(float64(delivered.Load())/b.Elapsed().Seconds(), "deliveries/s")
				b.ReportMetric(float64(gaps.Load()), "gaps")
				for _, bus := range buses {
					if n := bus.Stats().Overflows; n > 0 {
						b.Errorf("%d overflows", n)
					}
				}
			})
		}
	}
}

// publishAll publishes b.N events from 64 goroutines.
func publishAll(b *testing.B, bus *Bus, batch int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				i := next.Add(int64(batch)) - int64(batch)
				if i >= int64(b.N) {
					return
				}
				events := make([]Event, min(int64(batch), int64(b.N)-i))
				for j := range events {
					// A call is about one thing, as invalidations are.
					events[j] = Event{Kind: Key, Namespace: "products", Name: "product-" + strconv.FormatInt(i/int64(batch)%1000, 10)}
				}
				if _, err := bus.Publish(b.Context(), events...); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkPublish compares a Publish with a plain SPUBLISH of as many bytes,
// one after the other.
func BenchmarkPublish(b *testing.B) {
	c := sharedCluster(b, localredis.Redis)
	bus := open(b, option(c.Addrs()...), benchConfig(Sharded))
	b.Run("Publish", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bus.Publish(b.Context(), Event{Kind: Key, Namespace: "products", Name: "product-1"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("SPUBLISH", func(b *testing.B) {
		p := bus.parts[bus.Partition("products", "product-1")]
		body := strings.Repeat("x", 60)
		b.ReportAllocs()
		for b.Loop() {
			if err := bus.client.Do(b.Context(), bus.client.B().Spublish().Channel(p.channel).Message(body).Build()).Error(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkBusBytes measures what an event costs on the cluster bus: the bytes
// that a primary which has nothing to do with it, and the replica of the
// partition's primary, read for it. Nobody subscribes.
func BenchmarkBusBytes(b *testing.B) {
	for _, f := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		for _, mode := range []Mode{Sharded, Classic} {
			b.Run(fmt.Sprintf("%v/%v", f, mode), func(b *testing.B) {
				c := sharedCluster(b, f)
				bus := open(b, option(c.Addrs()...), benchConfig(mode))
				slot := localredis.Slot(bus.parts[bus.Partition("products", "product-0")].channel)
				owner, err := c.PrimaryOf(b.Context(), slot)
				if err != nil {
					b.Fatal(err)
				}
				stranger, err := c.PrimaryOf(b.Context(), (slot+localredis.SlotCount/2)%localredis.SlotCount)
				if err != nil {
					b.Fatal(err)
				}
				replicas, err := c.ReplicasOf(b.Context(), owner)
				if err != nil {
					b.Fatal(err)
				}
				strangerBefore, replicaBefore := bytesRead(b, stranger), bytesRead(b, replicas[0])
				b.ResetTimer()
				for range b.N {
					if _, err := bus.Publish(b.Context(), Event{Kind: Key, Namespace: "products", Name: "product-0"}); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(bytesRead(b, stranger)-strangerBefore)/float64(b.N), "B/event@stranger")
				b.ReportMetric(float64(bytesRead(b, replicas[0])-replicaBefore)/float64(b.N), "B/event@replica")
			})
		}
	}
}

// bytesRead returns how many bytes a server has read, from sockets and files.
func bytesRead(b *testing.B, s *localredis.Server) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.Pid()))
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if v, ok := strings.CutPrefix(line, "rchar: "); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no rchar in /proc/<pid>/io")
	return 0
}

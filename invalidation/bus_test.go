package invalidation

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// testBus is what every deployment and mode must do.
func testBus(t *testing.T, open func(t *testing.T) *Bus) {
	a, b := open(t), open(t)
	fromA, fromB := subscribe(a), subscribe(b)
	var want []string
	for i := range 200 {
		name := fmt.Sprint("k", i%10)
		want = append(want, fmt.Sprint(name, "/", i))
		publish(t, a, Event{Kind: Key, Namespace: "ns", Name: name, Payload: fmt.Append(nil, i)})
	}
	for _, in := range []*inbox{fromA, fromB} {
		in.handled(t, in.bus)
		var got []string
		for _, e := range in.all() {
			got = append(got, fmt.Sprint(e.Name, "/", string(e.Payload)))
			if e.Kind != Key || e.Namespace != "ns" || e.Origin != a.Origin() || e.Partition != a.Partition("ns", e.Name) {
				t.Errorf("delivered %+v", e)
			}
		}
		// Of one name in the order of publishing, each once.
		slices.SortStableFunc(got, func(x, y string) int { return int(x[1]) - int(y[1]) })
		sorted := slices.Clone(want)
		slices.SortStableFunc(sorted, func(x, y string) int { return int(x[1]) - int(y[1]) })
		if !slices.Equal(got, sorted) {
			t.Errorf("delivered %v, want %v", got, sorted)
		}
	}
	if s := b.Stats(); s.Messages != 200 || s.Gaps != uint64(b.Partitions()) || s.Duplicates != 0 || s.Malformed != 0 {
		t.Errorf("Stats = %+v, want 200 messages, and the gaps of the beginning", s)
	}
}

func TestBusOnStandalone(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		t.Parallel()
		for _, mode := range []Mode{Auto, Sharded, Classic} {
			t.Run(mode.String(), func(t *testing.T) {
				t.Parallel()
				srv := localredis.Standalone(t, f)
				testBus(t, func(t *testing.T) *Bus {
					cfg := quick(t)
					cfg.Mode = mode
					return open(t, option(srv.Addr()), cfg)
				})
			})
		}
	})
}

func TestBusWithRESP2(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	testBus(t, func(t *testing.T) *Bus {
		opt := option(srv.Addr())
		opt.AlwaysRESP2 = true
		cfg := quick(t)
		cfg.Heartbeat = time.Second // messages have a connection of their own, and two beats to come
		return open(t, opt, cfg)
	})
}

func TestBusOnCluster(t *testing.T) {
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		for _, mode := range []Mode{Sharded, Classic} {
			t.Run(mode.String(), func(t *testing.T) {
				c := sharedCluster(t, f)
				testBus(t, func(t *testing.T) *Bus {
					cfg := quick(t)
					cfg.Mode = mode
					return open(t, option(c.Addrs()...), cfg)
				})
			})
		}
	})
}

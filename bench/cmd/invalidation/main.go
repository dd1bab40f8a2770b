// Command invalidation measures what tags, the verbs that make values invalid
// and the bus cost, and prints tables and one line that begins with RESULT.
//
// What is compared takes turns, in rounds; see package rounds. Ratios are medians
// of the ratios of the rounds, and to be compared within one run only. In the
// RESULT line
//
//   - tagged_hit_ratio is a hit of a value with 2 tags to one without, the
//     largest of: one goroutine on one core, one goroutine, one per core. All of
//     them are hits of tokens, too: that of the namespace.
//   - invalidate_tag_ratio, expire_tag_ratio and clear_ratio are one call, of one
//     tag, to one SET over the client of the same Manager, one after the other:
//     the larger one of a standalone server and a cluster of 3. Clear is compared
//     with SETs of one key, because it is always one node that it goes to. With
//     many calls at a time the ratios are larger: they are in the tables.
//   - publish_ratio is the larger one of a SET and an SPUBLISH, in a cluster.
//   - lag_p50_us and lag_p99_us are from the return of a verb in one Manager until
//     another one, of the same process, no longer serves the old value from
//     memory: the largest of InvalidateTag, Clear and Delete. 0 is a value that
//     the first read did not find any more.
//   - bus_events_per_s counts an event once, when all of 8 subscribers have heard
//     it, each published by a call of its own; bus_gaps counts those of all runs.
//
// It needs redis-server on PATH, measures the cluster bus of valkey-server too if
// that is there, and takes some 2 minutes.
package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/command"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/rc"
)

// settings are what the flags say.
type settings struct {
	rounds    int
	lagEvents int
	broadcast bool
}

func main() {
	testing.Init()
	var s settings
	flag.IntVar(&s.rounds, "rounds", 8, "rounds each table has at least")
	flag.IntVar(&s.lagEvents, "lag.events", 2000, "invalidations whose lag is measured, for each verb")
	flag.BoolVar(&s.broadcast, "broadcast", false, "measure the lag in coherence mode Broadcast, too")
	flag.Parse()
	s.rounds, s.lagEvents = max(1, s.rounds), max(1, s.lagEvents)
	command.Main("invalidation", func(ctx context.Context) error { return run(ctx, s) })
}

func run(ctx context.Context, s settings) error {
	fmt.Printf("%s %s/%s, %d cores, %s, rueidis %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), time.Now().UTC().Format(time.DateOnly), rounds.Version("rueidis"))
	hits, err := taggedHits(ctx, s.rounds)
	if err != nil {
		return err
	}
	verbs, err := verbs(ctx, s.rounds)
	if err != nil {
		return err
	}
	lag, err := lags(ctx, s.lagEvents, rc.Tracking)
	if err != nil {
		return err
	}
	if s.broadcast {
		if _, err := lags(ctx, s.lagEvents, rc.Broadcast); err != nil {
			return err
		}
	}
	bus, err := bus(ctx, s.rounds)
	if err != nil {
		return err
	}
	fmt.Printf("RESULT tagged_hit_ratio=%.2f tagged_hit_allocs=%d invalidate_tag_ratio=%.2f expire_tag_ratio=%.2f clear_ratio=%.2f"+
		" lag_p50_us=%.0f lag_p99_us=%.0f publish_ratio=%.2f bus_events_per_s=%.0f bus_gaps=%d\n",
		hits.ratio, hits.allocs, verbs.invalidate, verbs.expire, verbs.clear,
		micros(lag.p50), micros(lag.p99), bus.publish, bus.events, bus.gaps)
	return nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

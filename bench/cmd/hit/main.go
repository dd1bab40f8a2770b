// Command hit measures the paths of a read (in memory, in Redis, nowhere)
// against peers, and prints a table and one line that begins with RESULT.
//
// The contenders of a table take turns, in rounds, each round in the opposite
// order of the one before, so that whatever else the machine does meets all of
// them. Times are medians over the rounds, and ratios medians of the ratios of
// the rounds, but for the ratio in the RESULT line, which is that of the two
// times in front of it. All are to be compared within one run only. It needs
// redis-server on PATH, and takes some 60 s, under 90 s on a busy machine.
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
)

func main() {
	testing.Init()
	least := flag.Int("rounds", 8, "rounds each table has at least")
	flag.Parse()
	command.Main("hit", func(ctx context.Context) error { return run(ctx, max(1, *least)) })
}

func run(ctx context.Context, least int) (err error) {
	fmt.Printf("%s %s/%s, %d cores, %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), time.Now().UTC().Format(time.DateOnly))
	for _, p := range []string{"rueidis", "rueidis/rueidisaside", "maypok86/otter/v2", "viccon/sturdyc", "go-redis/cache/v9"} {
		fmt.Printf("%s %s  ", p, rounds.Version(p))
	}
	fmt.Println()
	hit, err := hits(ctx, least)
	if err != nil {
		return err
	}
	read, err := reads(ctx, least)
	if err != nil {
		return err
	}
	miss, err := misses(ctx, least)
	if err != nil {
		return err
	}
	ours, otter := hit.Row("fleetcache GetOrSet"), hit.Row("otter GetIfPresent")
	fmt.Printf("RESULT hit_ns=%.1f otter_expiry_ns=%.1f ratio=%.2f allocs=%d l2_ratio=%.2f miss_ratio_vs_rueidisaside=%.2f\n",
		ours.Median(), otter.Median(), ours.Median()/otter.Median(), ours.Allocs(), read, miss)
	return nil
}

// Command hit measures the paths of a read (in memory, in Redis, nowhere)
// against peers, and prints a table and one line that begins with RESULT.
//
// The contenders of a table take turns, in rounds, each round in the opposite
// order of the one before, so that whatever else the machine does meets all of
// them. Times are medians over the rounds, and ratios medians of the ratios of
// the rounds, but for the ratio in the RESULT line, which is that of the two
// times in front of it. All are to be compared within one run only. It needs redis-server on PATH, and takes some 60 s, under 90 s on a
// busy machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func main() {
	testing.Init()
	rounds := flag.Int("rounds", 8, "rounds each table has at least")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, max(1, *rounds))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int) (err error) {
	fmt.Printf("%s %s/%s, %d cores, %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), time.Now().UTC().Format(time.DateOnly))
	for _, p := range []string{"rueidis", "rueidis/rueidisaside", "maypok86/otter/v2", "viccon/sturdyc", "go-redis/cache/v9"} {
		fmt.Printf("%s %s  ", p, version(p))
	}
	fmt.Println()
	hit, err := hits(ctx, rounds)
	if err != nil {
		return err
	}
	read, err := reads(ctx, rounds)
	if err != nil {
		return err
	}
	miss, err := misses(ctx, rounds)
	if err != nil {
		return err
	}
	ours, otter := hit.row("fleetcache GetOrSet"), hit.row("otter GetIfPresent")
	fmt.Printf("RESULT hit_ns=%.1f otter_expiry_ns=%.1f ratio=%.2f allocs=%d l2_ratio=%.2f miss_ratio_vs_rueidisaside=%.2f\n",
		ours.median(), otter.median(), ours.median()/otter.median(), ours.allocs, read, miss)
	return nil
}

// version returns the version of a peer this program was built with.
func version(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "?"
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/"+path || d.Path == "github.com/redis/"+path {
			return d.Version
		}
	}
	return "?"
}

// closers collects what has to be ended when a table is done.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

// end closes in the opposite order, and adds what fails to an error.
func (c closers) end(err error) error {
	for i := len(c) - 1; i >= 0; i-- {
		err = errors.Join(err, c[i]())
	}
	return err
}

func quiet(f func()) func() error {
	return func() error { f(); return nil }
}

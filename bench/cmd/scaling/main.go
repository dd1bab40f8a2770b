// Command scaling measures how what fleetcache costs grows: with instances,
// keys, the size of values, shards, and tags. It leaves a record for the report,
// prints what follows from the figures, and ends with a line that begins with
// RESULT.
//
// It needs redis-server on PATH. Instances are this program, run again. In the
// RESULT line, with the largest number of instances,
//
//   - delete_us is a Delete until it returns, delete_all_evicted_us until the
//     first read of the last of the others that does not find the value, and
//     tag_all_evicted_us the same of InvalidateTag: medians;
//   - delete_redis_us_each is what each further process that holds the value adds
//     to the processor time of Redis for a Delete;
//   - commands_per_request is Redis commands with the fewest and with the most
//     instances, loads_per_expiry_max the most loads for one expiry;
//   - process_bytes_per_entry and redis_bytes_per_entry are of the largest number
//     of keys, the value included.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/command"
	"github.com/fleetcache/fleetcache/bench/internal/scaling"
)

func main() {
	if scaling.Main() {
		return
	}
	out := flag.String("out", "", "directory of the record; none if empty")
	quick := flag.Bool("quick", false, "small sizes and few rounds, to see whether it works")
	rounds := flag.Int("rounds", 0, "rounds, instead of the usual number")
	flag.Parse()
	c := scaling.Full
	if *quick {
		c = scaling.Quick
	}
	if *rounds > 0 {
		c.Rounds = *rounds
	}
	command.Main("scaling", func(ctx context.Context) error { return run(ctx, c, *out) })
}

func run(ctx context.Context, c scaling.Config, out string) error {
	began := time.Now()
	c.Log = func(format string, args ...any) {
		fmt.Printf("%6.1fs %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	r, err := scaling.Run(ctx, c)
	if err != nil {
		return err
	}
	r.Command = strings.Join(append([]string{"go run -C bench ./cmd/scaling"}, os.Args[1:]...), " ")
	for _, t := range r.Text {
		fmt.Printf("\n%s\n", t)
	}
	for _, p := range r.Plots {
		fmt.Printf("\n%s\n  %s\n", p.Title, p.Text)
	}
	if err := r.Write(out); err != nil {
		return err
	}
	fmt.Println(r.ResultLine())
	return nil
}

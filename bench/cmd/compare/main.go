// Command compare measures fleetcache and its peers side by side on one Redis
// Cluster, in interleaved rounds, and prints tables and one line that begins
// with RESULT. With -out it leaves them as compare.json, for cmd/report.
//
// It needs redis-server on PATH, and takes some ten minutes. -quick measures what
// the RESULT line needs, in less than one.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/command"
	"github.com/fleetcache/fleetcache/bench/internal/compare"
)

func main() {
	testing.Init()
	quick := flag.Bool("quick", false, "measure what the RESULT line needs, and no more")
	rounds := flag.Int("rounds", 8, "rounds of each table")
	out := flag.String("out", "", "folder that gets compare.json; none if empty")
	only := flag.String("only", "", "measure the sections whose names contain this")
	flag.Parse()
	command.Main("compare", func(ctx context.Context) error {
		r, err := compare.Run(ctx, compare.Config{Quick: *quick, Rounds: *rounds, Only: *only, Log: os.Stdout})
		if err != nil {
			return err
		}
		if err := r.Write(*out); err != nil {
			return err
		}
		fmt.Println(r.ResultLine())
		return nil
	})
}

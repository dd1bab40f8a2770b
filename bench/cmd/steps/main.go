//go:build unix

// Command steps executes, in scaled time, the scenario that the documentation
// of FusionCache calculates step by step: three processes that read a thousand
// products from a database which is slow for some minutes and down for others,
// with one feature more in each step. It prints a table and a line that begins
// with RESULT: queries for 1,000 products in the first step, which has no cache,
// and in the last, with all features; the requests that failed in both; the
// slowest answers, in the time of the scenario; and how old what callers saw in
// the last step was at most.
//
// It needs redis-server on PATH, and takes some 5 minutes, with -quick some 70 s.
package main

import (
	"context"
	"flag"
	"os"
	"strings"

	"github.com/fleetcache/fleetcache/bench/internal/command"
	"github.com/fleetcache/fleetcache/bench/internal/crew"
	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/progress"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/steps"
)

func main() {
	crew.Enter(map[string]crew.Role{origin.RoleName: origin.Role, steps.RoleName: steps.Role})
	out := flag.String("out", "", "`directory` for steps.json")
	cfg := flags()
	command.Record("steps", out, func(ctx context.Context) (*record.Run, error) { return steps.Run(ctx, cfg) })
}

// flags parses the command line.
func flags() steps.Config {
	quick := flag.Bool("quick", false, "scale the scenario further")
	cfg := steps.Full()
	only := flag.String("only", "", "`names` of steps, separated by commas (default all)")
	faster := flag.Int("faster", 0, "how many times as fast time runs")
	products := flag.Int("products", 0, "how many of the 1,000 products there are")
	flag.IntVar(&cfg.Connections, "connections", cfg.Connections, "queries that run at a time")
	flag.Parse()
	if *quick {
		cfg = cfg.Quick()
	}
	if *faster != 0 {
		cfg.Faster = *faster
	}
	if *products != 0 {
		cfg.Products = *products
	}
	if *only != "" {
		cfg.Only = strings.Split(*only, ",")
	}
	cfg.Command = command.Line("steps")
	cfg.Bar = progress.New(os.Stderr, cfg.Length())
	return cfg
}

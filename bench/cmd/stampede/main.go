//go:build unix

// Command stampede is the load test: several processes with many callers each
// read through a cache in front of a slow database, on a real Redis Cluster,
// while values expire, are invalidated, and while a primary is killed. It
// prints tables and a line that begins with RESULT, in which
//
//   - loads_per_expiry is how often the database was asked when a value of
//     fleetcache, with its defaults, had ended; peer_best_loads_per_expiry is
//     the lowest of all peers.
//   - expiry_p99_ratio_vs_best_peer compares p99 of requests that met an expiry:
//     that of "fleetcache+stale", which is what one sets up if nobody shall wait,
//     and the lowest of all peers, those included that serve old values too;
//     expiry_p99_ratio_vs_best_coherent_peer leaves out those that serve what
//     another process has invalidated.
//   - stale_reads are those of fleetcache that got what another process, or their
//     own, had invalidated before they began; peer_best_stale_reads is the lowest
//     of all peers.
//   - expiry_p99_over_hit_p99 is p99 of "fleetcache+stale" at expiry to its p99
//     of plain hits.
//
// It needs redis-server on PATH. With -quick it takes less than a minute.
package main

import (
	"context"
	"flag"
	"os"
	"strings"

	"github.com/fleetcache/fleetcache/bench/internal/command"
	"github.com/fleetcache/fleetcache/bench/internal/crew"
	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/progress"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/stampede"
)

func main() {
	crew.Enter(map[string]crew.Role{origin.RoleName: origin.Role, stampede.RoleName: stampede.Role})
	out := flag.String("out", "", "`directory` for stampede.json")
	cfg := flags()
	command.Record("stampede", out, func(ctx context.Context) (*record.Run, error) { return stampede.Run(ctx, cfg) })
}

// flags parses the command line.
func flags() stampede.Config {
	quick := flag.Bool("quick", false, "take less than a minute: shorter, fewer contenders, no failover")
	cfg := stampede.Full(peer.Names())
	peers := flag.String("peers", "", "`names` of contenders, separated by commas (default all)")
	flag.IntVar(&cfg.Processes, "processes", cfg.Processes, "instances")
	flag.IntVar(&cfg.Callers, "callers", cfg.Callers, "concurrent callers per instance")
	flag.DurationVar(&cfg.Think, "think", cfg.Think, "pause of a caller between two requests: sets the offered load")
	flag.DurationVar(&cfg.TTL, "ttl", cfg.TTL, "for how long values are cached")
	flag.DurationVar(&cfg.Service, "service", cfg.Service, "what a query takes")
	flag.IntVar(&cfg.Connections, "connections", cfg.Connections, "queries that run at a time")
	flag.DurationVar(&cfg.Window, "window", cfg.Window, "how long each contender is measured")
	flag.IntVar(&cfg.Rounds, "rounds", cfg.Rounds, "how often each contender has its turn")
	flag.BoolVar(&cfg.Failover, "failover", cfg.Failover, "kill a primary, in turns of their own")
	flag.Parse()
	if *quick {
		cfg = cfg.Quick()
	}
	if *peers != "" {
		cfg.Peers = strings.Split(*peers, ",")
	}
	cfg.Command = command.Line("stampede")
	cfg.Bar = progress.New(os.Stderr, cfg.Length())
	return cfg
}

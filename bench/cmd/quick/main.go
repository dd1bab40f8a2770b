// Command quick runs the short forms of cmd/compare and cmd/stampede, in less than
// three minutes, and ends with one line that begins with RESULT. What it leaves out
// is in docs/benchmarks.md, which make bench writes. It needs redis-server on PATH.
package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/command"
	"github.com/fleetcache/fleetcache/bench/internal/compare"
	"github.com/fleetcache/fleetcache/bench/internal/crew"
	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/progress"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/stampede"
)

func main() {
	crew.Enter(map[string]crew.Role{origin.RoleName: origin.Role, stampede.RoleName: stampede.Role})
	testing.Init()
	command.Main("quick", run)
}

func run(ctx context.Context) error {
	all := record.New("quick", "In short", "make bench-quick")
	r, err := compare.Run(ctx, compare.Config{Quick: true, Log: os.Stdout})
	if err != nil {
		return err
	}
	all.Result = append(all.Result, r.Result...)
	cfg := stampede.Full(peer.Names()).Quick()
	cfg.Command = all.Command
	cfg.Bar = progress.New(os.Stderr, cfg.Length())
	if r, err = stampede.Run(ctx, cfg); err != nil {
		return err
	}
	r.Print(os.Stdout)
	all.Result = append(all.Result, r.Result...)
	fmt.Println(all.ResultLine())
	return nil
}

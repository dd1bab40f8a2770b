//go:build unix

// Command chaos runs the chaos suite: see docs/consistency.md, and package locks
// for what it does to locks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
	"github.com/fleetcache/fleetcache/internal/chaos/locks"
	"github.com/fleetcache/fleetcache/internal/chaos/suite"
)

func main() {
	if os.Getenv(instance.Env) != "" {
		os.Exit(instance.Main())
	}
	if os.Getenv(locks.Env) != "" {
		os.Exit(locks.Main())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// command is what the command line says.
type command struct {
	suite.Config
	out, version string
	// locks runs the phases of package locks, with that many processes and
	// names of Redlock.
	locks            bool
	processes, votes int
}

func parse(args []string) (*command, error) {
	c := &command{}
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	backend := f.String("backend", "auto", "`what` the nodes run in: auto, local or docker")
	f.StringVar(&c.Topology.Server, "server", "", "`program` of a local node (default redis-server)")
	f.StringVar(&c.Topology.Image, "image", "", "`image` of a docker node (default redis:8)")
	f.Uint64Var(&c.Seed, "seed", uint64(time.Now().UnixNano()), "decides what faults hit, and the combinations; default: the time")
	f.BoolVar(&c.Short, "short", false, "fewer combinations, for CI")
	f.DurationVar(&c.Soak, "soak", 0, "go on with combinations for that `long`")
	f.BoolVar(&c.Invalidation, "invalidation", false, "run the phases with tags, namespaces and patterns in place of the others")
	coherence := f.String("coherence", "tracking", "`how` instances hear of changes: tracking or broadcast")
	only := f.String("only", "", "only phases whose name matches the `regexp`")
	f.StringVar(&c.out, "out", "", "`directory` for consistency.md and its plot; empty writes none")
	f.StringVar(&c.version, "version", "", "what to `call` the library in the report (default the revision it was built from)")
	f.IntVar(&c.Instances, "instances", 3, "`number` of processes that use the cache")
	f.StringVar(&c.Mutant, "mutant", "", "take the mechanism of that `name` out of the library (internal/mutate): the checker must notice")
	f.BoolVar(&c.LateClients, "late-clients", false, "let every other instance notice silent connections after 10s, as rueidis does by default")
	f.DurationVar(&c.Bound, "bound", time.Second, "`MaxStaleness` of the instances")
	f.BoolVar(&c.locks, "locks", false, "run the phases of package lock in place of the others")
	f.IntVar(&c.processes, "processes", locks.DefaultProcesses, "with -locks, `number` of processes that hold locks")
	f.IntVar(&c.votes, "votes", 3, "with -locks, `number` of names of Redlock")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("chaos: %q is no flag", f.Args())
	}
	if c.Instances < 2 {
		return nil, fmt.Errorf("chaos: -instances is %d, want at least 2: one instance is no fleet", c.Instances)
	}
	if c.out != "" && (*only != "" || c.Mutant != "" || c.LateClients || c.Invalidation || c.locks || *coherence != "tracking") {
		return nil, errors.New("chaos: -out with -only, -mutant, -late-clients, -invalidation, -locks or -coherence: the report is of the whole suite and the library as it is")
	}
	if c.locks && (c.Invalidation || c.Soak != 0) {
		return nil, errors.New("chaos: -locks with -invalidation or -soak: those have other phases")
	}
	if c.processes < 2 {
		return nil, fmt.Errorf("chaos: -processes is %d, want at least 2: one process contends with nobody", c.processes)
	}
	switch *coherence {
	case "tracking", "broadcast":
		c.Broadcast = *coherence == "broadcast"
	default:
		return nil, fmt.Errorf("chaos: -coherence is %q, want tracking or broadcast", *coherence)
	}
	switch *backend {
	case "auto":
	case "local":
		c.Topology.Backend = clustertest.Local
	case "docker":
		c.Topology.Backend = clustertest.Docker
	default:
		return nil, fmt.Errorf("chaos: -backend is %q, want auto, local or docker", *backend)
	}
	if *only != "" {
		re, err := regexp.Compile(*only)
		if err != nil {
			return nil, fmt.Errorf("chaos: -only: %w", err)
		}
		c.Only = re
	}
	c.Topology.Primaries, c.Topology.ReplicasPerPrimary = 3, 1
	return c, nil
}

func run(ctx context.Context, args []string) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	began := time.Now()
	c.Log = func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		fmt.Fprintf(os.Stderr, "%8.3fs %s\n", time.Since(began).Seconds(), strings.TrimRight(text, "\n"))
	}
	if c.locks {
		return runLocks(ctx, c)
	}
	b, err := newBench(c)
	if err != nil {
		return err
	}
	c.Done = b.phase
	r, err := suite.Run(ctx, c.Config)
	if err != nil {
		b.tidy()
		return fmt.Errorf("%w; seed %d", err, c.Seed)
	}
	r.Command = "go run . " + strings.Join(args, " ")
	return b.end(r)
}

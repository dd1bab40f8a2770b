// Quickstart shows what the library promises, on four instances of one service
// over a real database, and checks each promise while it does so:
//
//	go run -C examples ./quickstart
//	go run -C examples ./quickstart -redis redis://127.0.0.1:6379
//
// The Redis is one in this process, or the standalone server or cluster of
// -redis, which it leaves alone but for keys that expire. How the library is
// used is in service.go.
//
// It takes about 20 s. The last line of its output is for machines. The exit
// status is 1 if a promise was not kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// config is what a run can be varied by.
type config struct {
	redis     string        // URL of a deployment; empty means in this process
	callers   int           // per instance, in the first act
	queryTime time.Duration // of the database
	ttl       time.Duration // of what expires while it is watched
	rounds    int           // of updates
	cold      int           // products nobody has cached when Redis fails
	healLimit time.Duration // for the fleet to agree again after a failure
	opTimeout time.Duration // of operations on Redis: a busy machine is no outage
	// database, if not nil, replaces what the service asks for products.
	database func(*Store) Database
}

var defaults = config{
	callers:   1000,
	queryTime: 30 * time.Millisecond,
	ttl:       1500 * time.Millisecond,
	rounds:    200,
	cold:      100,
	healLimit: 10 * time.Second,
	opTimeout: 2 * time.Second,
}

func main() {
	os.Exit(mainCode(os.Args[1:], &screen{w: os.Stdout, tty: isTerminal(os.Stdout)}, os.Stderr, defaults))
}

// mainCode runs the program and returns its exit status.
func mainCode(args []string, out *screen, stderr io.Writer, cfg config) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.redis, "redis", cfg.redis, "`URL` of a standalone server or of a member of a cluster (default: a Redis in this process)")
	flags.IntVar(&cfg.callers, "callers", cfg.callers, "concurrent callers per instance in the first act")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if cfg.callers < 1 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "quickstart: -callers must be at least 1, and there are no arguments")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	held, err := run(ctx, cfg, out)
	if err != nil {
		out.quiet()
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	if !held {
		return 1
	}
	return 0
}

// run performs the show and reports whether all claims held.
func run(ctx context.Context, cfg config, out *screen) (held bool, err error) {
	dir, err := os.MkdirTemp("", "quickstart-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is in the system's temporary directory
	store, err := OpenStore(ctx, dir, cfg.queryTime)
	if err != nil {
		return false, err
	}
	defer store.Close() //nolint:errcheck // its file goes next
	var db Database = store
	if cfg.database != nil {
		db = cfg.database(store)
	}
	f, err := newFleet(ctx, cfg, db)
	if err != nil {
		return false, err
	}
	defer f.close()
	s := &show{config: cfg, screen: out, store: store, fleet: f}
	return s.perform(ctx)
}

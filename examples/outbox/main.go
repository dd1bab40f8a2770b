// Outbox shows how a cache follows a database without losing a change: each
// transaction writes its row and an event into an outbox table, a relay appends
// the events to a Redis stream, and the caches consume the stream.
//
//	go run -C examples ./outbox
//	go run -C examples ./outbox -redis redis://127.0.0.1:6379
//
// The relay is a process of its own, and is killed (kill -9) again and again at
// every step of its work. An event may then be appended twice, which only costs
// a load, but none may be missing, and in the end every cache must show what the
// database has. How it is done is in database.go, relay.go and cache.go.
//
// It takes a few seconds. The last line of its output is for machines. The exit
// status is 1 if an event was lost or a cache is stale.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

// config is what a run can be varied by.
type config struct {
	redis   string // URL of a deployment; empty means in this process
	changes int    // of orders
	kills   int    // of the relay
	broken  bool   // the relay marks events as sent before it appends them
	// relay is the command that runs relayMain.
	relay []string
}

var defaults = config{changes: 300, kills: 30}

func main() {
	if os.Getenv(relayEnv) != "" {
		os.Exit(relayMain(os.Stdout, os.Stderr))
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "outbox:", err)
		os.Exit(1)
	}
	cfg := defaults
	cfg.relay = []string{self}
	os.Exit(mainCode(os.Args[1:], os.Stdout, os.Stderr, cfg))
}

// mainCode runs the program and returns its exit status.
func mainCode(args []string, stdout, stderr io.Writer, cfg config) int {
	flags := flag.NewFlagSet("outbox", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.redis, "redis", cfg.redis, "`URL` of a standalone server or of a member of a cluster (default: a Redis in this process)")
	flags.IntVar(&cfg.changes, "changes", cfg.changes, "changes of orders")
	flags.IntVar(&cfg.kills, "kills", cfg.kills, "how often the relay is killed")
	flags.BoolVar(&cfg.broken, "broken", cfg.broken, "let the relay mark events as sent before it appends them, and see what that loses")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if cfg.changes < 1 || cfg.kills < 0 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "outbox: -changes must be at least 1, -kills at least 0, and there are no arguments")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := run(ctx, cfg, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "outbox:", err)
		return 1
	}
	fmt.Fprintf(stdout, "\nRESULT orders=%d relay_kills=%d delivered=%d duplicates=%d lost=%d stale=%d\n",
		r.orders, r.kills, r.delivered, r.duplicates, r.lost, r.stale)
	if r.lost > 0 || r.stale > 0 {
		return 1
	}
	return 0
}

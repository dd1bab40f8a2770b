// Command lock measures the locks of package lock against others: alone, and with
// 64 waiters in 4 processes. It ends with a line that begins with RESULT. It
// needs redis-server on PATH, and takes about two minutes.
package main

import (
	"context"
	"flag"
	"os"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/command"
	"github.com/fleetcache/fleetcache/bench/internal/locks"
)

func main() {
	if os.Getenv(locks.Env) != "" {
		os.Exit(locks.Main())
	}
	cfg := locks.Config{Log: os.Stdout}
	flag.IntVar(&cfg.Rounds, "rounds", 8, "how often each has its turn")
	flag.DurationVar(&cfg.Lasts, "lasts", 1500*time.Millisecond, "how long processes fight for a lock in one turn")
	out := flag.String("out", "", "`directory` for lock.json; empty writes none")
	flag.Parse()
	command.Main("lock", func(ctx context.Context) error {
		r, err := locks.Run(ctx, cfg)
		if err != nil {
			return err
		}
		return r.Write(*out)
	})
}

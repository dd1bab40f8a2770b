// Package command is what the programs of this module have in common.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/fleetcache/fleetcache/bench/internal/record"
)

// Main runs the program name, and ends the process with 1 if that fails. The
// context ends with SIGINT and SIGTERM, so that servers and processes that the
// program has started are ended by it.
func Main(name string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := status(ctx, os.Stderr, name, run)
	stop()
	if code != 0 {
		os.Exit(code)
	}
}

// Record is [Main] for a program that makes a record: it is written to the
// directory, unless that is empty, and printed.
func Record(name string, dir *string, measure func(context.Context) (*record.Run, error)) {
	Main(name, func(ctx context.Context) error {
		r, err := measure(ctx)
		if err != nil {
			return err
		}
		if err := r.Write(*dir); err != nil {
			return err
		}
		r.Print(os.Stdout)
		return nil
	})
}

func status(ctx context.Context, stderr io.Writer, name string, run func(context.Context) error) int {
	err := run(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(stderr, "%s: %s\n", name, strings.TrimPrefix(err.Error(), name+": "))
	return 1
}

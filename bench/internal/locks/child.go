package locks

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Env is the environment variable that makes a process a child: its orders as
// JSON.
const Env = "FLEETCACHE_BENCH_LOCKS"

// orders are what a child is to do.
type orders struct {
	Contender string
	Addrs     []string
	Name      string
	Waiters   int
	// Hold is how long a holder keeps the lock, Pause how long it does without
	// it before it waits again.
	Hold, Pause time.Duration
	// Begin and End are times of the clock that all processes share.
	Begin, End int64
}

// A stay is one holder's time: from when Acquire returned until before Release
// was called. Waiter is its number in the process.
type stay struct {
	Waiter       int
	Enter, Leave int64
}

// now is the monotonic clock, which is the same in all processes of a machine.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("locks: no monotonic clock: " + err.Error()) // every unix has it
	}
	return ts.Nano()
}

// Main is the main function of a child. It returns its exit code.
func Main() int {
	if err := child(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "locks: child:", err)
		return 1
	}
	return 0
}

func child(ctx context.Context) error {
	var o orders
	if err := json.Unmarshal([]byte(os.Getenv(Env)), &o); err != nil {
		return err
	}
	c, err := Open(ctx, o.Contender, o.Addrs)
	if err != nil {
		return err
	}
	defer c.Close()
	time.Sleep(time.Duration(o.Begin - now()))
	// Waiters that are left at the end are called off.
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.End-now()))
	defer cancel()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // protects stays and failed
		stays  []stay
		failed error
	)
	for i := range o.Waiters {
		wg.Go(func() {
			for ctx.Err() == nil {
				release, err := c.Acquire(ctx, o.Name)
				if ctx.Err() != nil && err != nil {
					return
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				s := stay{Waiter: i, Enter: now()}
				time.Sleep(o.Hold)
				s.Leave = now()
				err = release()
				mu.Lock()
				stays = append(stays, s)
				if err != nil {
					failed = err
				}
				mu.Unlock()
				time.Sleep(o.Pause) // so that it does not take it again before anybody knows
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	return json.NewEncoder(os.Stdout).Encode(stays)
}

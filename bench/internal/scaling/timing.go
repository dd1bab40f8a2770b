package scaling

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

// callers is how many goroutines keep a connection busy.
const callers = 128

// errLoaded is what the loader of reads returns that must find a value.
var errLoaded = errors.New("a read that should hit ran its loader")

// serial returns the microseconds of one of n calls, one after the other.
func serial(n int, call func(i int) error) (float64, error) {
	began := time.Now()
	for i := range n {
		if err := call(i); err != nil {
			return 0, err
		}
	}
	return micros(time.Since(began)) / float64(n), nil
}

// parallel returns the microseconds that n calls take, divided by n.
func parallel(n int, call func(i int) error) (float64, error) {
	var (
		next atomic.Int64
		wg   sync.WaitGroup
		errs = make(chan error, callers) // one of each
	)
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := call(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	close(errs)
	return micros(took) / float64(n), <-errs
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// errOther is the error of calls that did not do what is measured.
var errOther = errors.New("something else was measured")

// A cache counts what it does.
type cache interface {
	Stats() rc.Stats
}

// expect runs f and fails unless a count of the service went up by n, at least
// by a share of it.
func expect(s cache, what string, count func(rc.Stats) uint64, n int, share float64, f func() error) error {
	before := count(s.Stats())
	if err := f(); err != nil {
		return err
	}
	if got := count(s.Stats()) - before; got > uint64(n) || float64(got) < share*float64(n) {
		return fmt.Errorf("%w: %d of %d calls were %s", errOther, got, n, what)
	}
	return nil
}

func l1Hits(s rc.Stats) uint64 { return s.L1Hits }
func l2Hits(s rc.Stats) uint64 { return s.L2Hits }
func fills(s rc.Stats) uint64  { return s.Fills }
func marks(s rc.Stats) uint64  { return s.Marks }

// opTimeout is raised: with more processes than cores the default ends
// operations that are only waiting for a core.
const opTimeout = 5 * time.Second

// config is that of services whose values do not end while they are measured.
func config[T any](l1 int) rc.Config[T] {
	return rc.Config[T]{TTL: subject.TTL, L1Size: l1, Jitter: rc.Off, EarlyBeta: rc.Off}
}

// await calls done until it reports true, and fails after a while.
func await(ctx context.Context, what string, done func() (bool, error)) error {
	const limit = 20 * time.Second
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(began) > limit {
			return fmt.Errorf("after %v still not: %s", limit, what)
		}
	}
}

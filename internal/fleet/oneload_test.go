//go:build unix

package fleet

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

const (
	oneLoadProcs   = 4
	oneLoadCallers = 50 // per process
)

// TestFleetOneLoad is promise G1: without faults one loader runs per key and
// freshness window, whoever asks. The operations on Redis get more time than
// usual, because a timeout is a fault.
func TestFleetOneLoad(t *testing.T) {
	t.Parallel()
	t.Run("cold keys", func(t *testing.T) { onBoth(t, testColdKeys) })
	t.Run("at each expiry", testEachExpiry)
	t.Run("behind the callers", testRefreshBehind)
}

func manyIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("key-", i)
	}
	return ids
}

// oneLoadFleet is four processes whose loads db answers.
func oneLoadFleet(t *testing.T, flavor localredis.Flavor, db *database, args openArgs) *testFleet {
	t.Helper()
	args.OpTimeout, args.MaxStaleness, args.LeaseTTL = patient, 2*patient, 3*patient
	f := newFleet(t, borrowCluster(t, flavor, false), args)
	f.onLoad = db.load
	f.spawn(oneLoadProcs)
	return f
}

// sweep lets all processes read, and returns the sum of what they saw.
func (f *testFleet) sweep(a sweepArgs) (sum sweepResult) {
	f.t.Helper()
	results := make(chan sweepResult, len(f.procs))
	f.inParallel(f.procs, func(p *proc) error {
		var res sweepResult
		err := p.try("sweep", a, &res)
		results <- res
		return err
	})
	for range f.procs {
		sum.add(<-results)
	}
	if sum.Errors > 0 {
		f.t.Errorf("%d reads failed: %s", sum.Errors, sum.Error)
	}
	return sum
}

func testColdKeys(t *testing.T, flavor localredis.Flavor) {
	const keys = 200
	db := newDatabase(20 * time.Millisecond)
	f := oneLoadFleet(t, flavor, db, openArgs{})
	sum := f.sweep(sweepArgs{IDs: manyIDs(keys), Callers: oneLoadCallers})
	t.Logf("%s: reads %d, loads %d (want %d)", flavor, sum.Reads, db.count(), keys)
	if want := uint64(keys * oneLoadProcs * oneLoadCallers); sum.Reads != want {
		t.Errorf("%d reads, want %d", sum.Reads, want)
	}
	if db.count() != keys {
		t.Errorf("%d loads of %d keys, want one each", db.count(), keys)
	}
	var fills uint64
	for _, p := range f.procs {
		fills += p.stats().Fills
	}
	if fills != keys {
		t.Errorf("%d fills of %d keys, want one each", fills, keys)
	}
}

// checkGaps fails the test for each load that began less than least after the
// one before it had ended: a value from that one was still fresh. A reader
// dates a value from before it asked for it, so a window may seem to end a
// round trip early; on a machine that is busy with 200 callers that can be many
// milliseconds, which is what a third of the time is left for.
func checkGaps(t *testing.T, db *database, least time.Duration) (shortest time.Duration) {
	t.Helper()
	gaps := db.gaps()
	if len(gaps) == 0 {
		t.Fatal("no key was loaded twice: nothing was tested")
	}
	slices.Sort(gaps)
	early, _ := slices.BinarySearch(gaps, least-least/3)
	if early > 0 {
		t.Errorf("%d of %d loads began while a fresh value was there; the worst %v after the load before, want %v",
			early, len(gaps), gaps[0], least)
	}
	return gaps[0]
}

func testEachExpiry(t *testing.T) {
	const keys, ttl, takes, during = 40, time.Second, 30 * time.Millisecond, 4500 * time.Millisecond
	db := newDatabase(takes)
	f := oneLoadFleet(t, localredis.Redis, db, openArgs{TTL: ttl})
	sum := f.sweep(sweepArgs{IDs: manyIDs(keys), Callers: oneLoadCallers, For: during, Pause: 5 * time.Millisecond})
	shortest := checkGaps(t, db, ttl)
	perKey := float64(db.count()) / keys
	t.Logf("reads %d, loads %d: %.2f per key in at most %.1f windows, shortest gap %v (TTL %v), slowest read %v",
		sum.Reads, db.count(), perKey, float64(during)/float64(ttl+takes)+1, shortest.Round(time.Millisecond), ttl, sum.Slowest.Round(time.Millisecond))
	// Who waits for another process is woken by its fill, not by the end of a
	// lease or of an operation's time.
	if sum.Slowest > takes+patient-500*time.Millisecond {
		t.Errorf("a read took %v though a load takes %v: a waiter overslept", sum.Slowest, takes)
	}
	if perKey < 4 {
		t.Errorf("%.2f loads per key, want at least 4: the keys did not expire, or nobody asked", perKey)
	}
}

func testRefreshBehind(t *testing.T) {
	const keys, ttl, takes = 40, 2400 * time.Millisecond, 1500 * time.Millisecond
	db := newDatabase(takes)
	f := oneLoadFleet(t, localredis.Redis, db, openArgs{TTL: ttl, StaleFor: 20 * time.Second, EarlyFraction: 0.5})
	a := sweepArgs{IDs: manyIDs(keys), Callers: keys}
	f.sweep(a) // those wait
	a.Callers, a.For, a.Pause, a.Slow = oneLoadCallers, 7*time.Second, 5*time.Millisecond, takes-100*time.Millisecond
	sum := f.sweep(a)
	shortest := checkGaps(t, db, ttl/2)
	t.Logf("reads %d, loads %d, shortest gap %v (due after %v), slowest read %v (a load takes %v)",
		sum.Reads, db.count(), shortest.Round(time.Millisecond), ttl/2, sum.Slowest.Round(time.Millisecond), takes)
	if sum.Slow > 0 {
		t.Errorf("%d reads waited for a load, the longest %v; want none", sum.Slow, sum.Slowest)
	}
	if db.count() < 3*keys {
		t.Errorf("%d loads, want at least 3 per key: nothing was refreshed", db.count())
	}
}

//go:build unix

package fleet

import (
	"os/exec"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// TestFleetClockSkew has a worker whose wall clock is wrong by a quarter of an
// hour: windows are as long as ever, for all. A program in Go reads the clock
// without the C library, which is where libfaketime sits, so the test asks the
// worker whether it was fooled before it believes anything.
func TestFleetClockSkew(t *testing.T) {
	if _, err := exec.LookPath("faketime"); err != nil {
		t.Skip("SKIPPED, NOT TESTED: faketime is not on PATH")
	}
	const ttl = 300 * time.Millisecond
	db := newDatabase(30 * time.Millisecond)
	f := oneLoadFleet(t, localredis.Redis, db, openArgs{TTL: ttl})
	skewed := startProc(t, "skewed", f.onLoad, "faketime", "-f", "+15m")
	var wall int64
	skewed.call("wall", nil, &wall)
	if off := time.Until(time.Unix(wall, 0)); off < 10*time.Minute {
		t.Skipf("SKIPPED, NOT TESTED: faketime moved the worker's clock by %v only", off)
	}
	skewed.call("open", f.args, nil)
	f.procs = append(f.procs, skewed)
	sum := f.sweep(sweepArgs{IDs: manyIDs(20), Callers: 10, For: 2 * time.Second, Pause: 5 * time.Millisecond})
	t.Logf("reads %d, loads %d, shortest gap %v (TTL %v)", sum.Reads, db.count(), checkGaps(t, db, ttl), ttl)
}

package judge

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

func TestSum(t *testing.T) {
	calm, storm := phase(), takeover()
	calm.FaultFree = true
	calm.Loads = []history.Load{loadAt(2000 * ms)}
	storm.Loads = []history.Load{loadAt(3000 * ms), loadAt(3001 * ms)}
	for i := range 100 {
		calm.Staleness.Record(time.Duration(i) * time.Millisecond)
		storm.Staleness.Record(time.Duration(i) * 10 * time.Millisecond)
	}
	suspect(storm, read(198, acked(199).Add(bound)+ms, history.FromL1))
	a, b := Phase(calm, Options{}), Phase(storm, Options{})
	before := a.P99
	sum := Sum("total", []Verdict{a, b})
	wantClean(t, sum)
	switch {
	case sum.Name != "total", sum.FaultFree, sum.Phases != 2, sum.Faults != 1, sum.Reads != 200:
		t.Errorf("sum is %+v", sum)
	case sum.MaxLoads != 2, sum.NoFaultLoads() != 1:
		t.Errorf("at most %d loads, %d without faults; want 2 and 1", sum.MaxLoads, sum.NoFaultLoads())
	case sum.Max != 990*time.Millisecond, sum.P50 < 80*time.Millisecond, sum.P50 > 105*time.Millisecond:
		t.Errorf("staleness p50 %v, max %v", sum.P50, sum.Max)
	case sum.Lost.Versions != 2, sum.Lost.Reads != 1:
		t.Errorf("lost %+v", sum.Lost)
	}
	a.Add(b)
	if c := Phase(calm, Options{}); c.P99 != before || calm.Staleness.N != 100 {
		t.Error("adding changed the facts")
	}
}

func TestSumKeepsViolations(t *testing.T) {
	p := phase()
	suspect(p, read(1, 9000*ms, history.FromL1))
	p.Unconverged = "x"
	sum := Sum("total", []Verdict{Phase(phase(), Options{}), Phase(p, Options{}), Phase(p, Options{})})
	bad := strings.Join(sum.Violations(), "\n")
	if !strings.Contains(bad, "total: 2 reads beyond") || !strings.Contains(bad, "did not converge: x; x") {
		t.Errorf("violations are %s", bad)
	}
}

func TestResultLine(t *testing.T) {
	p := takeover()
	p.Staleness.Record(1500 * time.Microsecond)
	p.Writes = append(p.Writes, quietWrite(1, 2000*ms, 2010*ms))
	got := Phase(p, Options{}).Result("local", 42)
	want := "RESULT backend=local seed=42 faults=1 reads=100 stale_beyond_bound=0 stale_fills=0 max_loads_per_window_no_fault=0 overdue_waits=0 " +
		"lost_by_async_replication=2 staleness_p99_ms=1.5 staleness_max_ms=1.5 own_writes_missed=0 "
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " violations=0") {
		t.Errorf("Result() = %s\nwant %s", got, want)
	}
}

// TestVerdictAsJSON: what is written to a file has the same violations when it
// is read again, and no findings.
func TestVerdictAsJSON(t *testing.T) {
	p := phase()
	suspect(p, read(1, 9000*ms, history.FromL1))
	v := Phase(p, Options{})
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var again Verdict
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if len(again.Violations()) != 1 || again.Max != v.Max || len(again.Findings) != 0 {
		t.Errorf("%+v of %s", again, raw)
	}
}

// TestStaleReadsApart: what most reads hide, that they are not stale at all,
// does not change the numbers of those that are.
func TestStaleReadsApart(t *testing.T) {
	p := phase()
	for range 10_000 {
		p.Staleness.Record(0)
	}
	for i := range 50 {
		p.Staleness.Record(time.Duration(i+1) * time.Millisecond)
	}
	v := Phase(p, Options{})
	near := func(got, want time.Duration) bool { return got >= want && float64(got) < 1.04*float64(want) }
	if v.P99 != 0 || v.Max != 50*time.Millisecond || v.Stale != 50 || !near(v.StaleP50, 26*time.Millisecond) || !near(v.StaleP99, 50*time.Millisecond) {
		t.Errorf("of all: p99 %v, max %v; %d stale: p50 %v, p99 %v", v.P99, v.Max, v.Stale, v.StaleP50, v.StaleP99)
	}
	if r := v.Result("local", 1); !strings.Contains(r, " staleness_p99_ms=0.0 ") || !strings.Contains(r, " stale_reads=50 stale_reads_p99_ms=50.0 versions_forgotten=0 ") {
		t.Errorf("Result() = %s", r)
	}
	if sum := Sum("total", []Verdict{v, v}); sum.Stale != 100 || !near(sum.StaleP50, 26*time.Millisecond) {
		t.Errorf("the sum has %d stale, p50 %v", sum.Stale, sum.StaleP50)
	}
}

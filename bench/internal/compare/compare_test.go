package compare

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// keepBenchtime keeps -benchtime, which tables set, for what runs after.
func keepBenchtime(t *testing.T) {
	before := flag.Lookup("test.benchtime").Value.String()
	t.Cleanup(func() {
		if err := flag.Set("test.benchtime", before); err != nil {
			t.Error(err)
		}
	})
}

// benchmarkOnce runs a benchmark with a b.N of 1.
func benchmarkOnce(t *testing.T, body subject.Bench) (res testing.BenchmarkResult, err error) {
	keepBenchtime(t)
	if err := flag.Set("test.benchtime", "1x"); err != nil {
		t.Fatal(err)
	}
	res = testing.Benchmark(func(b *testing.B) { err = body(b) })
	return res, err
}

// A section ends in a table with all its rows, and in its pairs.
func TestRunRecords(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for seconds")
	}
	localredis.Require(t, localredis.Redis)
	keepBenchtime(t)
	var log strings.Builder
	r, err := Run(t.Context(), Config{Quick: true, Rounds: 1, Log: &log, Only: "many"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tables) != 2 || r.Name != "compare" || !strings.HasPrefix(r.Server, "Redis ") {
		t.Fatalf("%d tables, name %q, server %q", len(r.Tables), r.Name, r.Server)
	}
	for _, tab := range r.Tables {
		for _, row := range tab.Rows {
			if len(row.Cells) != len(tab.Columns)-1 || row.Verdict == "" || row.Values["time"] <= 0 {
				t.Errorf("%s: row %+v for columns %q", tab.ID, row, tab.Columns)
			}
		}
	}
	if line := r.ResultLine(); !strings.Contains(line, " many1000_ratio_vs_mgetcache=") || !strings.Contains(line, " many1000_speedup_vs_loop=") {
		t.Errorf("%s", line)
	}
	if !strings.Contains(log.String(), "1000 identifiers at once, all in memory") {
		t.Errorf("the log has no table: %s", log.String())
	}
}

// What a table says of a row follows from the quartiles of its ratio.
func TestVerdict(t *testing.T) {
	for _, tc := range []struct {
		low, high float64
		why, want string
	}{
		{1.5, 1.7, "", "fleetcache is ahead"},
		{0.9, 1.3, "x", "no difference to be seen"},
		{1.01, 1.3, "x", "no difference to be seen"},
		{0.5, 0.7, "", "fleetcache is behind"},
		{0.5, 0.7, "it is small", "fleetcache is behind: it is small"},
	} {
		if got := verdict(tc.low, tc.high, tc.why); got != tc.want {
			t.Errorf("verdict(%v, %v, %q) = %q, want %q", tc.low, tc.high, tc.why, got, tc.want)
		}
	}
}

// The row that others are compared with names those that are quicker.
func TestSummaryNamesTheQuicker(t *testing.T) {
	keepBenchtime(t)
	table := &rounds.Table{Turn: 50 * time.Millisecond, Out: &strings.Builder{}}
	spin := func(d time.Duration) subject.Bench {
		return subject.Serial(func(int) error {
			for end := time.Now().Add(d); time.Now().Before(end); {
			}
			return nil
		})
	}
	table.Add(ours, "", spin(100*time.Microsecond))
	table.Add("slow", ours, spin(time.Millisecond))
	table.Add("quick", ours, spin(time.Microsecond))
	if err := table.Run(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if got := summary(table, ours); got != "behind quick" {
		t.Errorf("summary = %q, want %q", got, "behind quick")
	}
}

// A run that did less than it should, or went to Redis when it should not, is
// an error.
func TestBoundsNoticeWhatIsNotMeasured(t *testing.T) {
	localredis.Require(t, localredis.Redis)
	c, err := subject.StartCacheCluster(t.Context(), maxMemory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	open := func(name string) peer.Cache {
		p, err := peer.Open(t.Context(), name, peer.Settings{Addrs: c.Addrs(), Prefix: "bounds", OpTimeout: subject.OpTimeout})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		return p
	}
	ids := subject.IDs(hitKeys)
	// What these do a thousand times is more than what servers do by themselves.
	all := func(p peer.Cache) subject.Bench {
		return func(b *testing.B) error { return HitLoop(p, ids, len(ids)-1)(0) }
	}
	inMemory, onRedis := open(ours), open("rueidis GET")
	for _, p := range []peer.Cache{inMemory, onRedis} {
		if err := Fill(t.Context(), p, ids, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := Warm(t.Context(), inMemory, ids, c.Nodes()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		p    peer.Cache
		want subject.Bounds
		bad  bool
	}{
		{"memory, and should be", inMemory, subject.InMemory, false},
		{"memory, should be Redis", inMemory, subject.Bounds{Least: hitKeys, Most: -1}, true},
		{"Redis, and should be", onRedis, subject.Bounds{Least: hitKeys, Most: -1}, false},
		{"Redis, should be memory", onRedis, subject.InMemory, true},
	} {
		_, err := benchmarkOnce(t, subject.OnCluster(c.Nodes(), tc.want, all(tc.p)))
		if (err != nil) != tc.bad {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// Hits that run their load, and values that are there but should not, are
// errors.
func TestOpsNotice(t *testing.T) {
	c, err := peer.Open(t.Context(), "otter", peer.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // never fails
	ids := subject.IDs(4)
	if err := Hit(c, ids)(0); !errors.Is(err, errLoaded) {
		t.Errorf("Hit of what is not there = %v", err)
	}
	if err := Fill(t.Context(), c, ids, 0); err != nil {
		t.Fatal(err)
	}
	if err := Absent(c, ids)(0); err == nil {
		t.Error("Absent of what is there is no error")
	}
	if err := HitMany(c.(peer.Batcher), ids, 3)(1); err != nil {
		t.Errorf("HitMany: %v", err)
	}
	if _, err := c.GetOrLoad(t.Context(), ids[0], mustNotLoad); err != nil {
		t.Errorf("filled, but: %v", err)
	}
}

// An expiry of which each of two caches loads once is two loads.
func TestExpiryCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for values to expire")
	}
	var pair []peer.Cache
	for range 2 {
		c, err := peer.Open(context.WithoutCancel(t.Context()), "otter", ExpirySettings())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // never fails
		pair = append(pair, c)
	}
	got, err := benchmarkOnce(t, Expiry(pair))
	if err != nil {
		t.Fatal(err)
	}
	units := []string{LoadsPerExpiry, ExpiryP50, ExpiryP99, ExpiryMax, OtherP99}
	if slices.ContainsFunc(units, func(u string) bool { _, ok := got.Extra[u]; return !ok }) {
		t.Fatalf("reports %v, want %q", got.Extra, units)
	}
	if n := got.Extra[LoadsPerExpiry]; n < 1 || n > 2 {
		t.Errorf("%v loads for each expiry in two processes, want 2 or a little less", n)
	}
	if got.Extra[ExpiryMax] < float64(expiryTakes.Milliseconds()) {
		t.Errorf("those who met a load waited %v ms at most, and a load takes %v", got.Extra[ExpiryMax], expiryTakes)
	}
}

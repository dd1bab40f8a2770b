//go:build unix

package stampede

import (
	"os"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/crew"
	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

func TestMain(m *testing.M) {
	crew.Enter(map[string]crew.Role{origin.RoleName: origin.Role, RoleName: Role})
	os.Exit(m.Run())
}

// small is a run that a test has time for.
func small(peers ...string) Config {
	c := Full(peers)
	c.Processes, c.Callers, c.Expiring, c.Written = 2, 12, 3, 2
	c.Think, c.Service, c.TTL, c.Window = 8*time.Millisecond, 30*time.Millisecond, time.Second, 2500*time.Millisecond
	c.Failover = false
	return c
}

// TestRun: fleetcache loads once per expiry, what has no protection more often,
// and memory that is not told of changes serves old values.
func TestRun(t *testing.T) {
	localredis.Require(t, localredis.Redis)
	c := small("fleetcache", "rueidis DoCache", "otter")
	c.OpTimeout = 5 * time.Second
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.ResultLine())
	loads := column(t, r, "stampede-expiry", "loads per expiry")
	// A loaded machine may cost some: a lease that ran out.
	if l := loads["fleetcache"]; l < 1 || l > 1.3 {
		t.Errorf("fleetcache: %.2f loads per expiry, want 1", l)
	}
	if l := loads["rueidis DoCache"]; l < 2 {
		t.Errorf("without protection there were %.2f loads per expiry, want a stampede", l)
	}
	if l := loads["otter"]; l < 1.4 || l > 2.5 {
		t.Errorf("otter: %.2f loads per expiry in 2 processes, want about 2", l)
	}
	oldest := column(t, r, "stampede-stale", "oldest ms")
	if stale := column(t, r, "stampede-stale", "stale reads"); stale["otter"] == 0 || oldest["otter"] < 100 {
		t.Errorf("otter: %.0f stale reads, up to %.0f ms old: want those of a process that is told nothing", stale["otter"], oldest["otter"])
	}
	// Its bound is Options.MaxStaleness; without a failure it is that of a push.
	if o := oldest["fleetcache"]; o > 2000 {
		t.Errorf("fleetcache: a read was stale by %.0f ms", o)
	}
	for _, pair := range r.Result {
		if pair.Value == "" || pair.Value == "NaN" {
			t.Errorf("RESULT has %s=%q", pair.Key, pair.Value)
		}
	}
}

// TestFailover: a primary is killed, and callers of fleetcache do not see it.
func TestFailover(t *testing.T) {
	localredis.Require(t, localredis.Redis)
	c := small("fleetcache")
	c.Window = 5 * time.Second
	all, server, err := c.turns(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	o := all[0]
	t.Logf("%s: %d requests, slowest %v, no primary for %v, %d invalidations failed", server, o.All.TotalCount(), time.Duration(o.All.Max()), o.recovery, o.unannounced)
	if o.recovery <= 0 {
		t.Error("no primary was replaced")
	}
	if o.Failed != 0 {
		t.Errorf("%d requests failed: %s", o.Failed, o.errorText())
	}
	if n := len(c.failoverTable(all).Rows); n != 1 {
		t.Errorf("the table of failovers has %d rows", n)
	}
}

func TestBestOf(t *testing.T) {
	t.Parallel()
	all := []*outcome{
		{name: "fleetcache", expiries: 1, loads: 1}, {name: "otter", expiries: 1, loads: 2},
		{name: "rueidisaside", expiries: 1, loads: 3}, {name: "rockscache", expiries: 1, loads: 4},
	}
	if b := bestOf(all, (*outcome).loadsPerExpiry, nil); b != (best{"otter", 2}) {
		t.Errorf("the best peer is %+v, want otter", b)
	}
	if b := bestOf(all, (*outcome).loadsPerExpiry, coherent); b != (best{"rueidisaside", 3}) {
		t.Errorf("the best coherent peer is %+v, want rueidisaside: otter has no Redis", b)
	}
	if b := bestOf(all[:1], (*outcome).loadsPerExpiry, nil); b.name != "" {
		t.Errorf("without peers the best is %+v", b)
	}
}

// column returns a column of a table, by contender.
func column(t *testing.T, r *record.Run, table, name string) map[string]float64 {
	t.Helper()
	m := map[string]float64{}
	for _, tab := range r.Tables {
		for _, row := range tab.Rows {
			if v, ok := row.Values[name]; ok && tab.ID == table {
				m[row.Name] = v
			}
		}
	}
	if len(m) == 0 {
		t.Fatalf("no table %q with values of %q", table, name)
	}
	return m
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"no contender":                      func(c *Config) { c.Peers = nil },
		"a contender that is not there":     func(c *Config) { c.Peers = []string{"fleetcache", "nocache"} },
		"no process":                        func(c *Config) { c.Processes = 0 },
		"an expiry that runs into the next": func(c *Config) { c.TTL = 9 * c.Service },
		"a window without an expiry":        func(c *Config) { c.Window = c.TTL },
	} {
		c := small("fleetcache")
		change(&c)
		if c.validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := small("fleetcache").validate(); err != nil {
		t.Error(err)
	}
}

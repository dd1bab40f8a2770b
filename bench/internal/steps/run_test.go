//go:build unix

package steps

import (
	"os"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/crew"
	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

func TestMain(m *testing.M) {
	crew.Enter(map[string]crew.Role{origin.RoleName: origin.Role, RoleName: Role})
	os.Exit(m.Run())
}

// TestRun: without a cache each request is a query and the outage is everyone's;
// with all features there are few queries and no errors.
func TestRun(t *testing.T) {
	localredis.Require(t, localredis.Redis)
	c := Full().Quick()
	c.Callers, c.Only = 30, []string{"no cache", "shared loads", "stale at once"}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.ResultLine())
	value := func(row int, name string) float64 {
		v, ok := r.Tables[0].Rows[row].Values[name]
		if !ok {
			t.Fatalf("no value %q", name)
		}
		return v
	}
	if q := value(0, "queries counted"); q != float64(c.requests()) {
		t.Errorf("no cache: %.0f queries of %d requests", q, c.requests())
	}
	// What still waits for the slow database when it goes down fails, too. On a
	// machine that is too busy to keep up, the rest comes when it is up again.
	down := float64(c.requests()) * 3 / 10
	if value(0, "slowest ms") > 600e3 {
		down = 1
	}
	if e := value(0, "errors"); e < 0.5*down || e >= float64(c.requests()) {
		t.Errorf("no cache: %.0f errors of %d requests, want about %.0f, or more", e, c.requests(), down)
	}
	shared, last := value(1, "queries counted"), value(2, "queries counted")
	// One load per process, product and minute, and one per round while down.
	if most := float64(c.Nodes * c.Products * (12 + 19)); shared > most {
		t.Errorf("shared loads: %.0f queries, want at most %.0f", shared, most)
	}
	if last >= shared/2 || last < float64(c.Products*6) {
		t.Errorf("all features: %.0f queries, shared loads alone %.0f", last, shared)
	}
	if e := value(2, "errors"); e != 0 {
		t.Errorf("all features: %.0f requests failed", e)
	}
	if age := value(2, "oldest s"); age < 120 || age > 400 {
		t.Errorf("all features: a row was %.0f s old, want about the 3 minutes of the outage and a TTL", age)
	}
}

//go:build unix

package steps

import (
	"slices"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// TestScenario: what is executed is what the documentation of FusionCache
// describes.
func TestScenario(t *testing.T) {
	t.Parallel()
	lasts := map[string]time.Duration{}
	for i, s := range spells {
		end := scenarioLength
		if i+1 < len(spells) {
			end = spells[i+1].from
		}
		lasts[s.name] += end - s.from
	}
	if lasts["slow"] != 2*time.Minute || lasts["down"] != 3*time.Minute || lasts["fast"] != 5*time.Minute {
		t.Errorf("the database is %v, want slow for 2 minutes and down for 3 of 10", lasts)
	}
	c := Full()
	if n := int64(c.requests()) * c.factor(); n != 18_000_000 {
		t.Errorf("%d requests in all, want 18,000,000", n)
	}
	if scenarioLeast != 10_000 {
		t.Errorf("the least is %d queries, want 10,000", scenarioLeast)
	}
	if q := c.Quick(); int64(q.requests())*q.factor() != 18_000_000 {
		t.Errorf("the quick run has %d requests, times %d", q.requests(), q.factor())
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	c := Config{Faster: 20, Products: 10, Callers: 100, Nodes: 3, Connections: 1}
	if d := c.scaled(scenarioTTL); d != 3*time.Second {
		t.Errorf("a minute is %v, want 3s", d)
	}
	if d := c.unscaled(c.scaled(scenarioSlow)); d != scenarioSlow {
		t.Errorf("a slow query is %v when it is scaled back", d)
	}
	if got := c.shown(5 * time.Millisecond); got != "100 ms" {
		t.Errorf("5ms is shown as %q", got)
	}
	if got := c.shown(3500 * time.Millisecond); got != "1m10s" {
		t.Errorf("3.5s is shown as %q", got)
	}
	for name, bad := range map[string]Config{
		"rounds too close":       {Faster: 1000, Products: 1, Callers: 1, Nodes: 1, Connections: 1},
		"products do not divide": {Faster: 10, Products: 3, Callers: 1, Nodes: 1, Connections: 1},
		"no caller":              {Faster: 10, Products: 1, Nodes: 1, Connections: 1},
		"no such step":           {Faster: 10, Products: 1, Callers: 1, Nodes: 1, Connections: 1, Only: []string{"x"}},
	} {
		if bad.validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := c.validate(); err != nil {
		t.Error(err)
	}
}

// TestStepsAddUp: each step of fleetcache has the features of the one before.
func TestStepsAddUp(t *testing.T) {
	t.Parallel()
	all := allSteps()
	names := map[string]bool{}
	for i, s := range all {
		if names[s.Name] || s.Adds == "" {
			t.Errorf("step %d is called %q and adds %q", i, s.Name, s.Adds)
		}
		names[s.Name] = true
		if i == 0 || s.Kind != fleet || all[i-1].Kind != fleet {
			continue
		}
		b := all[i-1]
		if s.Throttle < b.Throttle || s.StaleFor < b.StaleFor || s.Early < b.Early || s.Soft < b.Soft || b.AtOnce && !s.AtOnce {
			t.Errorf("step %q lacks what %q has", s.Name, b.Name)
		}
	}
	last := all[len(all)-1]
	cfg := last.config(time.Minute)
	if cfg.TTL != time.Minute || cfg.ErrorBackoff != scenarioThrottle || cfg.StaleFor != scenarioStaleFor ||
		cfg.EarlyFraction != scenarioEarly || cfg.SoftTimeout != 0 {
		t.Errorf("the last step has %+v", cfg)
	}
	first := all[slices.IndexFunc(all, func(s step) bool { return s.Kind == fleet })].config(time.Minute)
	if first.ErrorBackoff != rc.Off || first.StaleFor != 0 || first.EarlyFraction != 0 || first.EarlyBeta != rc.Off || first.SoftTimeout != rc.Off {
		t.Errorf("the first step of fleetcache has %+v, want everything off", first)
	}
	if soft := all[len(all)-2].config(time.Minute).SoftTimeout; soft != scenarioSoftTimeout {
		t.Errorf("the soft timeout is %v", soft)
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 18_000_000: "18,000,000"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}

//go:build unix

package steps

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/hist"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// record makes the report of a run.
func (c Config) record(ctx context.Context, all []*outcome, cluster *localredis.Cluster) (*record.Run, error) {
	r := record.New("steps", "Step by step: a database that is slow, then down", c.Command)
	reply, err := cluster.Nodes()[0].Do(ctx, "INFO", "server")
	if err != nil {
		return nil, fmt.Errorf("steps: %w", err)
	}
	text, _ := reply.(string)
	_, version, _ := strings.Cut(text, "redis_version:")
	version, _, _ = strings.Cut(version, "\r\n")
	r.Server = fmt.Sprintf("Redis %s, a cluster of %d primaries", version, localredis.DefaultPrimaries)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/redis/rueidis", "modernc.org/sqlite", "golang.org/x/sync":
				r.Versions[d.Path] = d.Version
			}
		}
	}
	r.Text = c.text(all)
	r.Tables = []record.Table{c.table(all)}
	r.Plots = []record.Plot{c.plot(all)}
	c.result(r, all)
	return r, nil
}

func (c Config) text(all []*outcome) []string {
	late := time.Duration(0)
	for _, o := range all {
		late = max(late, o.late)
	}
	return []string{
		"The documentation of FusionCache (docs/StepByStep.md of ZiggyCreatures/FusionCache) calculates how many queries a database gets as features are added: " +
			"1,000 products, 100 requests at a time for each of them on each of 3 nodes, every 10 s for 10 minutes, a database that takes 100 ms, 1 s for 2 minutes, and is down for 3; " +
			fmt.Sprintf("values are cached for a minute. Its figures run from 18,000,000 queries to 11,000, and it names %s as the least there can be. Here the scenario is executed.", thousands(scenarioLeast)),
		fmt.Sprintf("Time runs %d times as fast and there are %d of the 1,000 products; rounds, callers and nodes are as many as there. So queries are shown as counted, and times %d for 1,000 products; "+
			"times are shown as they would be in the scenario, %d times what was measured. That makes what is not scaled look slower: a round trip to Redis, waking a goroutine. "+
			"The latest round began %v late (measured).", c.Faster, c.Products, c.factor(), c.Faster, late.Round(10*time.Microsecond)),
		fmt.Sprintf("The database is fast for 2 minutes, slow for 2, fast for 1, down for 3 (every query fails at once) and fast for 2. It runs %d queries at a time; the others wait, and nobody gives up waiting. "+
			"All nodes send their requests at the same moment, which is the hardest case for them to share a load. "+
			"FusionCache adds Redis last, fleetcache has it from its first step on; its figures stand where the same feature is added, and the last of them beside the last step.", c.Connections),
		"*Oldest* is the longest time between the moment the database read a row and the moment a caller got it. Without stale values it is bounded by the TTL and a query; " +
			"with them by the TTL, the outage and the time for which failures are throttled: 4m30s together, and a query.",
	}
}

func (c Config) table(all []*outcome) record.Table {
	t := record.Table{
		ID: "steps", Title: "One feature after the other",
		Columns: []string{"", "queries counted", "for 1,000 products", "of them while down", "FusionCache's calculation",
			"errors, of " + thousands(int64(c.requests())) + " requests", "p99", "slowest", "oldest"},
	}
	for i, o := range all {
		queries := int64(o.queries) * c.factor()
		theirs := "–"
		if o.Theirs > 0 {
			theirs = thousands(o.Theirs)
		}
		t.Rows = append(t.Rows, record.Row{
			Name: o.Name,
			Cells: []string{
				thousands(int64(o.queries)), thousands(queries), thousands(int64(o.whileDown()) * c.factor()), theirs,
				fmt.Sprintf("%s (%.1f%%)", thousands(int64(o.failed)), 100*float64(o.failed)/float64(c.requests())),
				c.shown(time.Duration(o.latency.ValueAtQuantile(99))), c.shown(o.slowest), c.shown(o.oldest),
			},
			Values: map[string]float64{
				"queries counted": float64(o.queries), "for 1,000 products": float64(queries), "errors": float64(o.failed),
				"p99 ms":     float64(o.latency.ValueAtQuantile(99)) / 1e6 * float64(c.Faster),
				"slowest ms": float64(o.slowest) / 1e6 * float64(c.Faster), "oldest s": c.unscaled(o.oldest).Seconds(),
			},
			Verdict: o.verdict(all[:i]),
		})
	}
	return t
}

// verdict says what the step adds, and what that costs if it costs errors.
func (o *outcome) verdict(before []*outcome) string {
	if n := len(before); n > 0 && o.failed > before[n-1].failed {
		return fmt.Sprintf("%s; %s more errors than in the step before: without an old value to serve, a remembered failure outlasts the outage",
			o.Adds, thousands(int64(o.failed-before[n-1].failed)))
	}
	return o.Adds
}

// whileDown is how many queries were begun while the database was down.
func (o *outcome) whileDown() (n int) {
	for i, sp := range spells[:len(o.inSpells)] {
		if sp.mode.Down {
			n += o.inSpells[i]
		}
	}
	return n
}

// shown is a measured time in the time of the scenario.
func (c Config) shown(d time.Duration) string {
	d = c.unscaled(d)
	if d < time.Second {
		return hist.Millis(int64(d)) + " ms"
	}
	return d.Round(100 * time.Millisecond).String()
}

// thousands writes a number with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (c Config) plot(all []*outcome) record.Plot {
	p := record.Plot{
		ID: "queries", Title: "Queries of the database in ten minutes",
		Text: "For 1,000 products. Steps are numbered in the order of the table, beginning with 0.",
		X:    "step", Y: "queries", LogY: true,
	}
	counted, theirs := record.Series{Name: "counted"}, record.Series{Name: "FusionCache's calculation"}
	least := record.Series{Name: "a query per product and minute"}
	for i, o := range all {
		x := float64(i)
		counted.X, counted.Y = append(counted.X, x), append(counted.Y, float64(int64(o.queries)*c.factor()))
		least.X, least.Y = append(least.X, x), append(least.Y, float64(scenarioLeast))
		if o.Theirs > 0 {
			theirs.X, theirs.Y = append(theirs.X, x), append(theirs.Y, float64(o.Theirs))
		}
	}
	p.Series = []record.Series{counted, theirs, least}
	return p
}

// result adds the pairs of the RESULT line, from the first step and the last.
func (c Config) result(r *record.Run, all []*outcome) {
	first, last := all[0], all[len(all)-1]
	r.Add("queries_first_step", "%d", int64(first.queries)*c.factor())
	r.Add("queries_last_step", "%d", int64(last.queries)*c.factor())
	r.Add("errors_first_step", "%d", first.failed)
	r.Add("errors_last_step", "%d", last.failed)
	r.Add("slowest_first_step_ms", "%.0f", float64(c.unscaled(first.slowest).Milliseconds()))
	r.Add("slowest_last_step_ms", "%.0f", float64(c.unscaled(last.slowest).Milliseconds()))
	r.Add("oldest_last_step_s", "%.0f", c.unscaled(last.oldest).Seconds())
}

//go:build unix

package stampede

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/hist"
	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/record"
)

// record makes the report of a run. failed is nil without failovers.
func (c Config) record(calm, failed []*outcome, server string) (*record.Run, error) {
	r := record.New("stampede", "Under load: expiry, invalidation, failover", c.Command)
	r.Server = server
	paths := []string{"modernc.org/sqlite"}
	for _, p := range c.Peers {
		t, err := peer.TraitsOf(p)
		if err != nil {
			return nil, err
		}
		paths = append(paths, t.Module)
	}
	r.Versions = moduleVersions(paths...)
	r.Text = c.text(calm)
	r.Tables = []record.Table{c.expiryTable(calm), c.costTable(calm), c.staleTable(calm)}
	if failed != nil {
		r.Tables = append(r.Tables, c.failoverTable(failed))
	}
	r.Plots = []record.Plot{c.plot(calm)}
	c.result(r, calm)
	return r, nil
}

func (c Config) text(calm []*outcome) []string {
	offered := float64(c.Processes*c.Callers) / c.Think.Seconds()
	text := []string{
		fmt.Sprintf("%d processes with %d callers each read %d keys that expire and %d keys that are updated, on a Redis Cluster and a SQLite database in a process of its own: "+
			"a query takes %v, %d run at a time and the others wait. TTL %v. Each contender has a cold cluster to itself and is measured for %v, %d time(s).",
			c.Processes, c.Callers, c.Expiring, c.Written, c.Service, c.Connections, c.TTL, c.Window, c.Rounds),
		fmt.Sprintf("Each caller waits for its answer, pauses for about %v, and asks for another key at random: %.0f requests per second if answers took no time. "+
			"A caller that waits asks for nothing meanwhile, so what is slow is asked less often: that flatters the slow.", c.Think, offered),
		fmt.Sprintf("A request *meets an expiry* if it began within %v (two service times) of the beginning of a query for its key, as the database saw it, or was under way then; "+
			"all others are *plain hits*. Queries for one key within %v of the first have the same cause. Loads are counted by the database, not by the contenders.",
			2*c.Service, c.TTL/2),
	}
	return append(text, c.generator(calm))
}

// generator says whether the machine was the limit of the measurement.
func (c Config) generator(calm []*outcome) string {
	busiest := slices.MaxFunc(calm, func(a, b *outcome) int { return cmp.Compare(a.busyPart(), b.busyPart()) })
	latest := slices.MaxFunc(calm, func(a, b *outcome) int { return cmp.Compare(a.late, b.late) })
	text := fmt.Sprintf("The processors were in use for at most %.0f%% of the time (%s), and pauses of callers were longer than asked for by at most %v in 99 of 100 cases (%s).",
		100*busiest.busyPart(), busiest.name, latest.late.Round(10*time.Microsecond), latest.name)
	if busiest.busyPart() > 0.9 {
		text += " Above 90% latencies say as much about the machine as about the contender."
	}
	return text
}

func quantile(h *hist.Histogram, q float64) float64 { return float64(h.ValueAtQuantile(q)) }

// quantiles are the cells of a histogram: p50, p99, p99.9 and the longest.
func quantiles(h *hist.Histogram) []string {
	return []string{hist.Millis(h.ValueAtQuantile(50)), hist.Millis(h.ValueAtQuantile(99)), hist.Millis(h.ValueAtQuantile(99.9)), hist.Millis(h.Max())}
}

func (c Config) expiryTable(all []*outcome) record.Table {
	t := record.Table{
		ID: "stampede-expiry", Title: "When a value expires",
		Text: "Milliseconds, of requests that met an expiry; next to it p99 of plain hits. *Loads per TTL* are all queries for a key in the time of a TTL: above 1 without a stampede if values are loaded before their end.",
		Columns: []string{"", "loads per expiry", "expiries", "loads per TTL", "queries at a time, most",
			"p50 ms", "p99 ms", "p99.9 ms", "max ms", "requests", "p99 ms of plain hits"},
	}
	for _, o := range all {
		t.Rows = append(t.Rows, record.Row{
			Name: o.name,
			Cells: slices.Concat([]string{
				fmt.Sprintf("%.2f", o.loadsPerExpiry()), fmt.Sprint(o.expiries), fmt.Sprintf("%.2f", o.perTTL(c)), fmt.Sprint(o.peak),
			}, quantiles(o.Expiry), []string{fmt.Sprint(o.Expiry.TotalCount()), hist.Millis(o.Plain.ValueAtQuantile(99))}),
			Values: map[string]float64{
				"loads per expiry": o.loadsPerExpiry(), "loads per TTL": o.perTTL(c), "queries at a time, most": float64(o.peak),
				"p99 ms": quantile(o.Expiry, 99) / 1e6, "p99 ms of plain hits": quantile(o.Plain, 99) / 1e6,
			},
			Verdict: c.expiryVerdict(o),
		})
	}
	return t
}

// expiryVerdict says in words what happened at the moment of expiry.
func (c Config) expiryVerdict(o *outcome) string {
	var who string
	switch l := o.loadsPerExpiry(); {
	case l < 1.1:
		who = "one load in the fleet"
	case l < 1.5:
		who = "mostly one load in the fleet"
	case l <= 1.1*float64(c.Processes):
		who = fmt.Sprintf("%.1f loads: processes load for themselves", l)
	default:
		who = fmt.Sprintf("%.0f loads: callers load for themselves", l)
	}
	service := float64(c.Service)
	switch p := quantile(o.Expiry, 99); {
	case p < service/2:
		return who + ", and hardly anybody waits for it"
	case p < 1.5*service:
		return who + ", and those who wait, wait for about one query"
	case o.peak > c.Connections:
		return who + fmt.Sprintf("; p99 is %.1f service times: the database is overrun", p/service)
	default:
		return who + fmt.Sprintf("; p99 is %.1f service times, spent waiting for whoever loads", p/service)
	}
}

func (c Config) costTable(all []*outcome) record.Table {
	t := record.Table{
		ID: "stampede-cost", Title: "All requests, and what they cost",
		Text: "Milliseconds of all requests of the window. Redis commands are what the servers executed, those within scripts and heartbeats included; bytes are both ways. " +
			"Processor time is that of the instances, think time and bookkeeping of the load test included.",
		Columns: []string{"", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "errors",
			"Redis commands per request", "Redis bytes per request", "µs of processor per request", "processors in use"},
	}
	for _, o := range all {
		n := float64(max(o.counted, 1))
		requests := o.rate() * o.ran.Seconds()
		row := record.Row{
			Name: o.name,
			Cells: slices.Concat([]string{fmt.Sprintf("%.0f", o.rate())}, quantiles(o.All), []string{
				fmt.Sprint(o.Failed), fmt.Sprintf("%.2f", float64(o.used.commands)/n), fmt.Sprintf("%.0f", float64(o.used.bytes)/n),
				fmt.Sprintf("%.0f", float64(o.cpu.Microseconds())/requests), fmt.Sprintf("%.0f%%", 100*o.busyPart()),
			}),
			Values: map[string]float64{
				"requests/s": o.rate(), "p99 ms": quantile(o.All, 99) / 1e6,
				"Redis commands per request": float64(o.used.commands) / n, "Redis bytes per request": float64(o.used.bytes) / n,
			},
		}
		if len(o.errors) > 0 {
			row.Verdict = o.errorText()
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (c Config) staleTable(all []*outcome) record.Table {
	t := record.Table{
		ID: "stampede-stale", Title: "After an invalidation",
		Text: fmt.Sprintf("Each of %d keys has one writer, which updates the database and then invalidates, about every %v per process. "+
			"A read is stale if it began after that invalidation had returned, in whatever process, and got an older version. Its age is counted from that return. "+
			"The TTL of %v ends what nobody was told of.", c.Written, c.WriteEvery, c.TTL),
		Columns: []string{"", "updates", "reads", "stale reads", "p50 ms of their age", "oldest ms", "invalidations that failed"},
	}
	for _, o := range all {
		t.Rows = append(t.Rows, record.Row{
			Name: o.name,
			Cells: []string{fmt.Sprint(o.writes), fmt.Sprint(o.Reads), fmt.Sprint(o.Stale), age(o, 50), age(o, 100),
				fmt.Sprint(o.unannounced)},
			Values:  map[string]float64{"stale reads": float64(o.Stale), "oldest ms": float64(o.Ages.Max()) / 1e6},
			Verdict: c.staleVerdict(o),
		})
	}
	return t
}

// age is a quantile of how old stale reads were, a dash if there were none.
func age(o *outcome, q float64) string {
	if o.Stale == 0 {
		return "–"
	}
	return hist.Millis(o.Ages.ValueAtQuantile(q))
}

func (c Config) staleVerdict(o *outcome) string {
	t, err := peer.TraitsOf(o.name)
	switch oldest := time.Duration(o.Ages.Max()); {
	case o.Stale == 0:
		return "none was seen"
	case err == nil && !t.Coherent:
		return fmt.Sprintf("%.1f%% of reads: other processes are not told", 100*float64(o.Stale)/float64(o.Reads))
	case oldest < 5*time.Millisecond:
		return "only while the announcement was on its way"
	default:
		return fmt.Sprintf("%.1f%% of reads, up to %v old", 100*float64(o.Stale)/float64(o.Reads), oldest.Round(time.Millisecond))
	}
}

func (c Config) failoverTable(all []*outcome) record.Table {
	t := record.Table{
		ID: "stampede-failover", Title: "A primary is killed",
		Text: fmt.Sprintf("The same, with a replica for each primary, and SIGKILL to the primary with most keys after a quarter of the window. "+
			"*Without a primary* is how long its slots had none. An invalidation that failed promises nothing: reads are held against the next one that succeeds. Callers wait for up to %v for an answer.", patience),
		Columns: []string{"", "errors", "of requests", "p99 ms", "p99.9 ms", "max ms", "queries", "queries at a time, most",
			"stale reads", "oldest ms", "invalidations that failed", "without a primary"},
	}
	for _, o := range all {
		row := record.Row{
			Name: o.name,
			Cells: []string{fmt.Sprint(o.Failed), fmt.Sprint(o.All.TotalCount()),
				hist.Millis(o.All.ValueAtQuantile(99)), hist.Millis(o.All.ValueAtQuantile(99.9)), hist.Millis(o.All.Max()),
				fmt.Sprint(o.queries), fmt.Sprint(o.peak), fmt.Sprint(o.Stale), age(o, 100),
				fmt.Sprint(o.unannounced), o.recovery.Round(10 * time.Millisecond).String()},
			Values: map[string]float64{
				"errors": float64(o.Failed), "max ms": float64(o.All.Max()) / 1e6, "queries": float64(o.queries),
				"stale reads": float64(o.Stale), "oldest ms": float64(o.Ages.Max()) / 1e6,
			},
			Verdict: "no errors",
		}
		if len(o.errors) > 0 {
			row.Verdict = o.errorText()
		}
		if t, err := peer.TraitsOf(o.name); err == nil && !t.Redis {
			row.Verdict = strings.TrimPrefix(row.Verdict+": it has no Redis to lose", "no errors: ")
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// plot has the latencies of requests that met an expiry, by how many were
// slower.
func (c Config) plot(all []*outcome) record.Plot {
	p := record.Plot{
		ID: "stampede-expiry", Title: "Latency of requests that met an expiry",
		Text: "The latency that one in so many requests exceeds: to the right are the slow ones, and lower is better. Where a curve is flat at the service time, callers wait for one query.",
		X:    "1 in so many requests is slower", Y: "ms", LogX: true, LogY: true,
	}
	for _, o := range all {
		s := record.Series{Name: o.name}
		n := float64(o.Expiry.TotalCount())
		for x := 2.0; x <= n; x *= 2 {
			s.X = append(s.X, x)
			s.Y = append(s.Y, math.Max(quantile(o.Expiry, 100*(1-1/x)), 1)/1e6)
		}
		p.Series = append(p.Series, s)
	}
	return p
}

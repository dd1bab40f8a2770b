package scaling

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/fleetcache/fleetcache/bench/internal/record"
)

// A chart is measures against the same size.
type chart struct {
	id, title string
	about     string // what was measured
	x, y      string // labels of the axes
	noun      string // what the size counts: one of them, and several
	nouns     string
	logX      bool
	logY      bool
	// linear is for sizes that may be 0, or where what one more costs says more
	// than an exponent.
	linear   bool
	measures []*measure
}

// measure adds a measure to a chart.
func (c *chart) measure(name, unit string) *measure {
	m := &measure{name: name, unit: unit}
	c.measures = append(c.measures, m)
	return m
}

// A limit is something that can be used up, and how much of it was.
type limit struct {
	what  string
	says  string // with the share in percent for %.1f
	share float64
}

// findings is what has been measured so far.
type findings struct {
	charts []*chart
	// What was used up while the largest number of instances worked as hard as
	// they could, and how many requests they made in a second.
	limits    []limit
	instances int
	rate      float64
	redisCPU  *measure // of a request, in µs
	// What one invalidation of a value that all hold costs Redis' processor, and
	// what it sends and receives for it.
	deleteCPU, deleteBytes *measure
	// Bytes of an entry, by the number of entries.
	processBytes, redisBytes, trackedBytes *measure
	result                                 []record.Pair
}

func (f *findings) add(key, format string, args ...any) {
	f.result = append(f.result, record.Pair{Key: key, Value: fmt.Sprintf(format, args...)})
}

// write puts everything into a run.
func (f *findings) write(run *record.Run) error {
	growth := record.Table{
		ID: "growth", Title: "How each cost grows",
		Text: "Medians at the smallest and the largest size, and the exponent *e* of the power law " +
			"*cost ~ size^e*, fitted to sizes above 0, with the share of the variance it explains. 0 is no growth, 1 is growth in proportion.",
		Columns: []string{"", "from", "to", "cost at first", "cost at last", "factor", "exponent", "R²"},
	}
	for _, c := range f.charts {
		var says []string
		for _, m := range c.measures {
			row, sentence, err := c.sentence(m)
			if err != nil {
				return err
			}
			growth.Rows, says = append(growth.Rows, row), append(says, sentence)
		}
		p := record.Plot{
			ID: c.id, Title: c.title, X: c.x, Y: c.y, LogX: c.logX, LogY: c.logY,
			Text: c.about + " " + strings.Join(says, " "),
		}
		for _, m := range c.measures {
			p.Series = append(p.Series, m.series())
		}
		run.Plots = append(run.Plots, p)
	}
	run.Tables = append(run.Tables, growth)
	run.Text = append(run.Text, f.fastest(), f.givesOut(), f.fanOut(), f.memory())
	run.Result = append(run.Result, f.result...)
	return nil
}

// sentence says how a measure grows, for the table and in words.
func (c *chart) sentence(m *measure) (row record.Row, text string, err error) {
	l, ok := m.fit()
	if !ok {
		return row, "", fmt.Errorf("scaling: %s of chart %s was not measured at two sizes", m.name, c.id)
	}
	from, to, low, high := m.ends()
	factor := "" // there is none from 0
	if low > 0 {
		factor = figure(high / low)
	}
	row = record.Row{
		Name: fmt.Sprintf("%s: %s", c.title, m.name),
		Cells: []string{
			thousands(float64(from)), thousands(float64(to)), figure(low) + " " + m.unit, figure(high) + " " + m.unit,
			factor, fmt.Sprintf("%.2f", l.exponent), fmt.Sprintf("%.2f", l.r2),
		},
		Values:  map[string]float64{"from": float64(from), "to": float64(to), "cost at first": low, "cost at last": high, "exponent": l.exponent, "R²": l.r2},
		Verdict: l.manner() + " with " + c.nouns,
	}
	if c.linear {
		return row, fmt.Sprintf("*%s*: %s %s at %s, %s %s at %s; by a straight line, one more %s adds %s %s.", m.name,
			figure(low), m.unit, thousands(float64(from)), figure(high), m.unit, thousands(float64(to)), c.noun, figure(m.slope()), m.unit), nil
	}
	return row, fmt.Sprintf("*%s* %s: %s %s at %s, %s %s at %s (exponent %.2f).", m.name, l.manner(),
		figure(low), m.unit, thousands(float64(from)), figure(high), m.unit, thousands(float64(to)), l.exponent), nil
}

// fastest names what grows fastest against each size, and of all.
func (f *findings) fastest() string {
	type growing struct {
		nouns, name string
		law         law
		factor      float64
	}
	best := map[string]growing{}
	var nouns []string
	for _, c := range f.charts {
		for _, m := range c.measures {
			l, ok := m.fit()
			_, _, low, high := m.ends()
			if !ok || low <= 0 || m.aside {
				continue
			}
			if b, seen := best[c.nouns]; !seen || l.exponent > b.law.exponent {
				if !seen {
					nouns = append(nouns, c.nouns)
				}
				best[c.nouns] = growing{c.nouns, fmt.Sprintf("%s (*%s*)", m.name, c.title), l, high / low}
			}
		}
	}
	all := make([]growing, 0, len(nouns))
	for _, n := range nouns {
		all = append(all, best[n])
	}
	slices.SortStableFunc(all, func(a, b growing) int { return cmp.Compare(b.law.exponent, a.law.exponent) })
	var b strings.Builder
	b.WriteString("What grows fastest, with an exponent fitted to the medians on logarithmic scales (0 is not at all, 1 in proportion): ")
	for i, g := range all {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "with **%s**, %s: %.2f, %s times over the range", g.nouns, g.name, g.law.exponent, figure(g.factor))
	}
	b.WriteString(".")
	return b.String()
}

// givesOut says what the largest number of instances used up first.
func (f *findings) givesOut() string {
	limits := slices.Clone(f.limits)
	slices.SortStableFunc(limits, func(a, b limit) int { return cmp.Compare(b.share, a.share) })
	var parts []string
	for _, l := range limits {
		parts = append(parts, fmt.Sprintf(l.says, 100*l.share))
	}
	_, _, _, each := f.redisCPU.ends()
	return fmt.Sprintf("What gives out first: while %d processes on %d cores made as many requests as they could (%s in a second, all together), %s. "+
		"So %s gives out first here. Where processes have cores of their own, Redis is what all of them share: at %s µs for a request of this mix, "+
		"one core of it carries %s of them in a second.",
		f.instances, runtime.NumCPU(), thousands(f.rate), strings.Join(parts, ", "), limits[0].what, figure(each), thousands(1e6/each))
}

// fanOut says what one more process that holds a value costs Redis.
func (f *findings) fanOut() string {
	from, to, low, high := f.deleteCPU.ends()
	each, bytes := f.deleteCPU.slope(), f.deleteBytes.slope()
	text := fmt.Sprintf("Push fan-out: one `Delete` of a value that all processes hold costs the processor of Redis %s µs with %d and %s µs with "+
		"%d: by a straight line, %s µs and %s bytes for each further process that holds it.",
		figure(low), from, figure(high), to, figure(each), figure(bytes))
	if each <= 0 {
		return text + " That is less than can be told from noise."
	}
	return text + fmt.Sprintf(" At that, one core of Redis is full with %s such `Delete`s in a second for %d processes; "+
		"extrapolated, %s for 100 and %s for 1,000.", thousands(1e6/high), to, thousands(1e6/(high+each*float64(100-to))), thousands(1e6/(high+each*float64(1000-to))))
}

// memory says where memory goes.
func (f *findings) memory() string {
	_, n, _, process := f.processBytes.ends()
	_, _, _, redis := f.redisBytes.ends()
	_, _, _, tracked := f.trackedBytes.ends()
	const mib = 1 << 20
	more := tracked - redis
	text := fmt.Sprintf("Memory: %s entries take %s MiB of each process that holds them all (%s bytes each, with the value), and %s MiB of "+
		"Redis (%s bytes each)", thousands(float64(n)), figure(process*float64(n)/mib), figure(process), figure(redis*float64(n)/mib), figure(redis))
	if more <= 0 {
		return text + "; that one process holds them is not to be seen in the memory of Redis."
	}
	return text + fmt.Sprintf("; that one process holds them adds %s bytes each to what Redis remembers. Redis forgets who has read what beyond "+
		"`tracking-table-max-keys` keys, which was lifted here.", figure(more))
}

package rounds

import (
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// A Table is a set of benchmarks that take turns.
type Table struct {
	Title string
	Turn  time.Duration // how long one benchmark runs at a time
	Limit time.Duration // no round is begun after that, once there are enough
	rows  []*Row
}

// A Row is one benchmark and what it measured.
type Row struct {
	name   string
	base   string // the row it is compared with; "" for none
	body   subject.Bench
	ns     []float64 // per operation, one for each round
	allocs int64     // per operation, the fewest of all rounds
	server []float64 // µs of the server for one operation, if it is measured
}

// Add adds a row. base is the name of the row it is compared with, "" for none.
func (t *Table) Add(name, base string, body subject.Bench) {
	t.rows = append(t.rows, &Row{name: name, base: base, body: body, allocs: math.MaxInt64})
}

// Row returns the row of that name. It panics if there is none.
func (t *Table) Row(name string) *Row {
	for _, r := range t.rows {
		if r.name == name {
			return r
		}
	}
	panic("rounds: no row " + name)
}

// Run measures all rows, in as many rounds as time allows and in no fewer than
// asked for, and prints them. The first round warms up and does not count.
func (t *Table) Run(ctx context.Context, rounds int) error {
	if err := flag.Set("test.benchtime", t.Turn.String()); err != nil {
		return err
	}
	began := time.Now()
	for n := 0; n <= rounds || time.Since(began) < t.Limit; n++ {
		order := slices.Clone(t.rows)
		if n%2 == 1 {
			slices.Reverse(order)
		}
		for _, r := range order {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.measure(n > 0); err != nil {
				return fmt.Errorf("%s: %s: %w", t.Title, r.name, err)
			}
		}
	}
	t.print()
	return nil
}

// measure runs the benchmark once.
func (r *Row) measure(count bool) error {
	var failed error
	res := testing.Benchmark(func(b *testing.B) {
		if err := r.body(b); err != nil {
			failed = err
			b.FailNow()
		}
	})
	switch {
	case failed != nil:
		return failed
	case res.N == 0:
		return fmt.Errorf("ran no operation")
	case count:
		r.ns = append(r.ns, float64(res.T.Nanoseconds())/float64(res.N))
		r.allocs = min(r.allocs, res.AllocsPerOp())
		if us, ok := res.Extra[subject.ServerCPU]; ok {
			r.server = append(r.server, us)
		}
	}
	return nil
}

// Median returns the nanoseconds of one operation.
func (r *Row) Median() float64 { return Median(r.ns) }

// Allocs returns the allocations of one operation, the fewest of all rounds.
func (r *Row) Allocs() int64 { return r.allocs }

// Median returns the median of some figures.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// ratios returns the quartiles of the ratio to another row, and the median,
// round by round: what slows down a whole round does not show in it.
func (r *Row) ratios(base *Row) (low, middle, high float64) {
	v := make([]float64, len(r.ns))
	for i := range v {
		v[i] = r.ns[i] / base.ns[i]
	}
	slices.Sort(v)
	n := len(v) - 1
	return v[n/4], Median(v), v[(3*n+3)/4]
}

// Ratio returns the median of the ratio between two rows, round by round.
func (t *Table) Ratio(name, base string) float64 {
	_, middle, _ := t.Row(name).ratios(t.Row(base))
	return middle
}

func (t *Table) print() {
	fmt.Printf("\n%s (median of %d rounds of %v)\n", t.Title, len(t.rows[0].ns), t.Turn)
	fmt.Printf("  %-34s %10s %7s %9s %7s  %s\n", "", "ns/op", "allocs", "server us", "ratio", "quartiles of the ratio, compared with")
	for _, r := range t.rows {
		server := ""
		if len(r.server) > 0 {
			server = fmt.Sprintf("%.1f", Median(r.server))
		}
		fmt.Printf("  %-34s %10.1f %7d %9s", r.name, r.Median(), r.allocs, server)
		if r.base != "" {
			low, middle, high := r.ratios(t.Row(r.base))
			fmt.Printf(" %7.2f  %.2f–%.2f, %s", middle, low, high, r.base)
		}
		fmt.Println()
	}
}

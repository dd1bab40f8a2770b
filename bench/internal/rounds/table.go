package rounds

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
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
	Out   io.Writer     // gets the table; os.Stdout if it is nil
	// Optional, if not nil, says of which rows the failure is no failure of the
	// table: they are left out of it.
	Optional func(name string) bool
	rows     []*Row
	left     []string
}

// A Row is one benchmark and what it measured.
type Row struct {
	name   string
	base   string // the row it is compared with; "" for none
	body   subject.Bench
	ns     []float64 // per operation, one for each round
	allocs int64     // per operation, the fewest of all rounds
	// extra is what the body reported beside that, by unit, one for each round.
	extra map[string][]float64
}

// Add adds a row. base is the name of the row it is compared with, "" for none.
func (t *Table) Add(name, base string, body subject.Bench) {
	t.rows = append(t.rows, &Row{name: name, base: base, body: body, allocs: math.MaxInt64, extra: map[string][]float64{}})
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
				if err = fmt.Errorf("%s: %w", r.name, err); !t.leave(r, err) {
					return fmt.Errorf("%s: %w", t.Title, err)
				}
			}
		}
	}
	t.print()
	return nil
}

// leave takes a row out of the table, if that is allowed, and no other row is
// compared with it.
func (t *Table) leave(r *Row, err error) bool {
	if t.Optional == nil || !t.Optional(r.name) {
		return false
	}
	for _, o := range t.rows {
		if o.base == r.name {
			return false
		}
	}
	t.rows = slices.DeleteFunc(t.rows, func(o *Row) bool { return o == r })
	t.left = append(t.left, err.Error())
	return true
}

// Left says which rows were left out, and why.
func (t *Table) Left() []string { return t.left }

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
		for unit, v := range res.Extra {
			r.extra[unit] = append(r.extra[unit], v)
		}
	}
	return nil
}

// Name returns the name it was added with.
func (r *Row) Name() string { return r.name }

// Base returns the name of the row it is compared with, "" for none.
func (r *Row) Base() string { return r.base }

// Extra returns the median of a metric that the body reports, and whether it
// does.
func (r *Row) Extra(unit string) (float64, bool) {
	v := r.extra[unit]
	if len(v) == 0 {
		return 0, false
	}
	return Median(v), true
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

// Rows returns the rows, in the order in which they were added.
func (t *Table) Rows() []*Row { return t.rows }

// Quartiles returns the quartiles of the ratio between two rows, and its
// median, round by round.
func (t *Table) Quartiles(name, base string) (low, middle, high float64) {
	return t.Row(name).ratios(t.Row(base))
}

// Rounds returns how many rounds were measured.
func (t *Table) Rounds() int { return len(t.rows[0].ns) }

// Ratio returns the median of the ratio between two rows, round by round.
func (t *Table) Ratio(name, base string) float64 {
	_, middle, _ := t.Row(name).ratios(t.Row(base))
	return middle
}

func (t *Table) print() {
	out := cmp.Or[io.Writer](t.Out, os.Stdout)
	fmt.Fprintf(out, "\n%s (median of %d rounds of %v)\n", t.Title, t.Rounds(), t.Turn)
	fmt.Fprintf(out, "  %-34s %10s %7s %9s %7s  %s\n", "", "ns/op", "allocs", "server us", "ratio", "quartiles of the ratio, compared with")
	for _, r := range t.rows {
		server := ""
		if us, ok := r.Extra(subject.ServerCPU); ok {
			server = fmt.Sprintf("%.1f", us)
		}
		fmt.Fprintf(out, "  %-34s %10.1f %7d %9s", r.name, r.Median(), r.allocs, server)
		if r.base != "" {
			low, middle, high := r.ratios(t.Row(r.base))
			fmt.Fprintf(out, " %7.2f  %.2f–%.2f, %s", middle, low, high, r.base)
		}
		fmt.Fprintln(out)
	}
}

package main

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

// A table is a set of benchmarks that take turns.
type table struct {
	title string
	turn  time.Duration // how long one benchmark runs at a time
	limit time.Duration // no round is begun after that, once there are enough
	rows  []*row
}

// A row is one benchmark and what it measured.
type row struct {
	name   string
	base   string // the row it is compared with; "" for none
	body   subject.Bench
	ns     []float64 // per operation, one for each round
	allocs int64     // per operation, the fewest of all rounds
	server []float64 // µs of the server for one operation, if it is measured
}

func (t *table) add(name, base string, body subject.Bench) {
	t.rows = append(t.rows, &row{name: name, base: base, body: body, allocs: math.MaxInt64})
}

func (t *table) row(name string) *row {
	for _, r := range t.rows {
		if r.name == name {
			return r
		}
	}
	panic("hit: no row " + name)
}

// run measures all rows, in as many rounds as time allows and in no fewer than
// asked for. The first round warms up and does not count.
func (t *table) run(ctx context.Context, rounds int) error {
	if err := flag.Set("test.benchtime", t.turn.String()); err != nil {
		return err
	}
	began := time.Now()
	for n := 0; n <= rounds || time.Since(began) < t.limit; n++ {
		order := slices.Clone(t.rows)
		if n%2 == 1 {
			slices.Reverse(order)
		}
		for _, r := range order {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.measure(n > 0); err != nil {
				return fmt.Errorf("%s: %s: %w", t.title, r.name, err)
			}
		}
	}
	t.print()
	return nil
}

// measure runs the benchmark once.
func (r *row) measure(count bool) error {
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

func (r *row) median() float64 { return median(r.ns) }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// ratios returns the quartiles of the ratio to another row, and the median,
// round by round: what slows down a whole round does not show in it.
func (r *row) ratios(base *row) (low, middle, high float64) {
	v := make([]float64, len(r.ns))
	for i := range v {
		v[i] = r.ns[i] / base.ns[i]
	}
	slices.Sort(v)
	n := len(v) - 1
	return v[n/4], median(v), v[(3*n+3)/4]
}

// ratio returns the median of the ratio between two rows, round by round.
func (t *table) ratio(name, base string) float64 {
	_, middle, _ := t.row(name).ratios(t.row(base))
	return middle
}

func (t *table) print() {
	fmt.Printf("\n%s (median of %d rounds of %v)\n", t.title, len(t.rows[0].ns), t.turn)
	fmt.Printf("  %-34s %10s %7s %9s %7s  %s\n", "", "ns/op", "allocs", "server us", "ratio", "quartiles of the ratio, compared with")
	for _, r := range t.rows {
		server := ""
		if len(r.server) > 0 {
			server = fmt.Sprintf("%.1f", median(r.server))
		}
		fmt.Printf("  %-34s %10.1f %7d %9s", r.name, r.median(), r.allocs, server)
		if r.base != "" {
			low, middle, high := r.ratios(t.row(r.base))
			fmt.Printf(" %7.2f  %.2f–%.2f, %s", middle, low, high, r.base)
		}
		fmt.Println()
	}
}

package scaling

import (
	"fmt"
	"math"
	"slices"

	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
)

// A measure is one figure against a size, with all its repetitions.
type measure struct {
	name, unit string
	aside      bool // no cost of ours: a throughput, or what a cost is compared with
	at         map[int][]float64
}

func (m *measure) add(size int, v float64) {
	if m.at == nil {
		m.at = map[int][]float64{}
	}
	m.at[size] = append(m.at[size], v)
}

func (m *measure) sizes() []int {
	var out []int
	for s := range m.at {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func (m *measure) median(size int) float64 { return rounds.Median(m.at[size]) }

// ends returns the medians at the smallest and the largest size.
func (m *measure) ends() (from, to int, low, high float64) {
	s := m.sizes()
	from, to = s[0], s[len(s)-1]
	return from, to, m.median(from), m.median(to)
}

// series is the curve of medians, with quartiles if there are repetitions.
func (m *measure) series() record.Series {
	out := record.Series{Name: m.name}
	bars := true
	for _, size := range m.sizes() {
		bars = bars && len(m.at[size]) > 1
	}
	for _, size := range m.sizes() {
		v := slices.Sorted(slices.Values(m.at[size]))
		out.X, out.Y = append(out.X, float64(size)), append(out.Y, rounds.Median(v))
		if n := len(v) - 1; bars {
			out.Low, out.High = append(out.Low, v[n/4]), append(out.High, v[(3*n+3)/4])
		}
	}
	return out
}

// A law is y = a·x^exponent, fitted to medians.
type law struct {
	exponent float64
	r2       float64 // share of the variance of log y that it explains
}

// fit fits a law. Sizes of 0 have no logarithm and are left out; ok is false if
// fewer than two are left.
func (m *measure) fit() (l law, ok bool) {
	var x, y []float64
	for _, size := range m.sizes() {
		if v := m.median(size); size > 0 && v > 0 {
			x, y = append(x, math.Log(float64(size))), append(y, math.Log(v))
		}
	}
	if len(x) < 2 {
		return l, false
	}
	slope, _, r2 := line(x, y)
	return law{slope, r2}, true
}

// slope is how much a size of one more costs, by a straight line through the
// medians.
func (m *measure) slope() float64 {
	var x, y []float64
	for _, size := range m.sizes() {
		x, y = append(x, float64(size)), append(y, m.median(size))
	}
	slope, _, _ := line(x, y)
	return slope
}

// line is the line of least squares.
func line(x, y []float64) (slope, intercept, r2 float64) {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	var sxx, sxy, syy float64
	for i := range x {
		sxx, sxy, syy = sxx+(x[i]-mx)*(x[i]-mx), sxy+(x[i]-mx)*(y[i]-my), syy+(y[i]-my)*(y[i]-my)
	}
	slope = sxy / sxx
	r2 = 1
	if syy > 0 {
		r2 = sxy * sxy / (sxx * syy)
	}
	return slope, my - slope*mx, r2
}

// manner says in words how something grows with what it is measured against.
func (l law) manner() string {
	switch e := l.exponent; {
	case e < -0.1 && l.r2 >= 0.5:
		return "falls"
	case e < -0.1:
		return "shows no law"
	case e <= 0.1:
		return "stays about the same"
	case l.r2 < 0.5:
		return "shows no law"
	case e < 0.9:
		return "grows slower than in proportion"
	case e <= 1.1:
		return "grows in proportion"
	}
	return "grows faster than in proportion"
}

// figure writes a number with three digits that mean something.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 9999.5:
		return thousands(v)
	case a >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.9995:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// thousands groups the digits of a whole number.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

package scaling

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/record"
)

// measured returns a measure of a power law, with two values around each
// median.
func measured(name string, factor, exponent float64, sizes ...int) *measure {
	m := &measure{name: name, unit: "µs"}
	for _, s := range sizes {
		y := factor * math.Pow(float64(s), exponent)
		for _, share := range []float64{1, 0.9, 1.1} {
			m.add(s, y*share)
		}
	}
	return m
}

func TestFitFindsTheExponent(t *testing.T) {
	for exponent, manner := range map[float64]string{
		-0.5: "falls", 0: "stays about the same", 0.5: "grows slower than in proportion",
		1: "grows in proportion", 1.5: "grows faster than in proportion",
	} {
		l, ok := measured("x", 3, exponent, 1, 2, 4, 8, 16).fit()
		if !ok || math.Abs(l.exponent-exponent) > 1e-9 || math.Abs(l.r2-1) > 1e-9 || l.manner() != manner {
			t.Errorf("fit of x^%v = %+v, %v, %q; want %q", exponent, l, ok, l.manner(), manner)
		}
	}
	noise := &measure{}
	for i, v := range []float64{1, 9, 1, 9, 3} {
		noise.add(1<<i, v)
	}
	if l, ok := noise.fit(); !ok || l.manner() != "shows no law" {
		t.Errorf("fit of noise = %+v, %v, %q", l, ok, l.manner())
	}
	one := &measure{}
	one.add(0, 1) // has no logarithm
	one.add(4, 2)
	if l, ok := one.fit(); ok {
		t.Errorf("fit of one size above 0 = %+v", l)
	}
	if got := one.slope(); got != 0.25 {
		t.Errorf("slope = %v, want 0.25", got)
	}
}

func TestSeriesHasQuartiles(t *testing.T) {
	m := &measure{name: "m"}
	for _, v := range []float64{5, 1, 4, 2, 3} {
		m.add(10, v)
		m.add(2, 10*v)
	}
	s := m.series()
	for what, got := range map[string][]float64{"X": s.X, "Y": s.Y, "Low": s.Low, "High": s.High} {
		want := map[string][]float64{"X": {2, 10}, "Y": {30, 3}, "Low": {20, 2}, "High": {40, 4}}[what]
		if !slices.Equal(got, want) {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	m.add(30, 1) // without a repetition there are no quartiles
	if s := m.series(); s.Low != nil || s.High != nil || len(s.Y) != 3 {
		t.Errorf("series with a single value = %+v", s)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0123: "0.0123", 1: "1.00", 9.99: "9.99", 12.34: "12.3", 99.96: "100", 1234.4: "1234", 9999.6: "10,000", 98765: "98,765", 1234567: "1,234,567", -1234567: "-1,234,567",
	} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
}

// synthetic returns findings as if something had been measured.
func synthetic() *findings {
	sizes := []int{1, 4, 16}
	f := &findings{
		instances: 16, rate: 50000,
		limits:    []limit{{"the processes", "the processes used %.0f %%", 0.5}, {"Redis", "Redis used %.0f %%", 0.9}},
		redisCPU:  measured("cpu", 4, 0.5, sizes...),
		deleteCPU: &measure{}, deleteBytes: &measure{},
		processBytes: measured("process", 800, 0, 1<<10, 1<<20), redisBytes: measured("redis", 400, 0, 1<<10, 1<<20), trackedBytes: measured("tracked", 500, 0, 1<<10, 1<<20),
	}
	for _, n := range sizes {
		f.deleteCPU.add(n, float64(20+4*n))
		f.deleteBytes.add(n, float64(100+50*n))
	}
	flat, steep := measured("flat", 2, 0, sizes...), measured("steep", 2, 1.25, sizes...)
	rate := measured("rate", 2, 2, sizes...)
	rate.aside = true
	tags := &measure{name: "fill", unit: "µs"}
	for _, n := range []int{0, 1, 2} {
		tags.add(n, float64(10+3*n))
	}
	f.charts = []*chart{
		{id: "a", title: "Chart A", about: "About A.", noun: "instance", nouns: "instances", measures: []*measure{flat, steep, rate}},
		{id: "b", title: "Chart B", about: "About B.", noun: "tag", nouns: "tags", linear: true, measures: []*measure{tags}},
	}
	f.add("answer", "%d", 42)
	return f
}

// What is said follows from the figures.
func TestWordsFollowFromFigures(t *testing.T) {
	run := &record.Run{Name: "scaling"}
	if err := synthetic().write(run); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ text, want string }{
		"fastest":  {run.Text[0], "with **instances**, steep (*Chart A*): 1.25, 32.0 times over the range; with **tags**, fill"},
		"first":    {run.Text[1], "Redis used 90 %, the processes used 50 %. So Redis gives out first here."},
		"shared":   {run.Text[1], "at 16.0 µs for a request of this mix, one core of it carries 62,500 of them"},
		"fan-out":  {run.Text[2], "24.0 µs with 1 and 84.0 µs with 16: by a straight line, 4.00 µs and 50.0 bytes for each"},
		"extra":    {run.Text[2], "full with 11,905 such `Delete`s in a second for 16 processes; extrapolated, 2,381 for 100 and 249 for 1,000"},
		"memory":   {run.Text[3], "1,048,576 entries take 800 MiB of each process that holds them all (800 bytes each, with the value), and 400 MiB of Redis (400 bytes each); that one process holds them adds 100 bytes"},
		"growing":  {run.Plots[0].Text, "About A. *flat* stays about the same: 2.00 µs at 1, 2.00 µs at 16 (exponent 0.00). *steep* grows faster than in proportion: 2.00 µs at 1, 64.0 µs at 16 (exponent 1.25)."},
		"straight": {run.Plots[1].Text, "*fill*: 10.0 µs at 0, 16.0 µs at 2; by a straight line, one more tag adds 3.00 µs."},
		"verdict":  {run.Tables[0].Rows[1].Verdict, "grows faster than in proportion with instances"},
		"result":   {run.ResultLine(), "RESULT answer=42"},
	} {
		if !strings.Contains(c.text, c.want) {
			t.Errorf("%s: %q does not contain %q", what, c.text, c.want)
		}
	}
	for _, row := range run.Tables[0].Rows {
		if len(row.Cells) != len(run.Tables[0].Columns)-1 || row.Verdict == "" {
			t.Errorf("row %q has %d cells and verdict %q", row.Name, len(row.Cells), row.Verdict)
		}
	}
	f := synthetic()
	f.deleteCPU = measured("falling", 50, -0.5, 1, 4, 16)
	if got := f.fanOut(); !strings.Contains(got, "less than can be told from noise") || strings.Contains(got, "extrapolated") {
		t.Errorf("fan-out of a cost that falls: %q", got)
	}
	f.charts[0].measures = append(f.charts[0].measures, &measure{name: "never"})
	if err := f.write(&record.Run{}); err == nil || !strings.Contains(err.Error(), "never") {
		t.Errorf("write with a measure of nothing = %v, want an error that names it", err)
	}
}

package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
)

// mostTicks is how many labels fit on an axis.
const mostTicks = 9

// scale sets the range and the marks of an axis for its values. Where they fit,
// the marks of a horizontal axis are at the very values that were measured.
func scale(a *plot.Axis, log bool, all []float64, horizontal bool) {
	lo, hi := slices.Min(all), slices.Max(all)
	if log {
		a.Scale = plot.LogScale{}
		if lo == hi {
			lo, hi = lo/2, hi*2
		}
	} else {
		lo = min(lo, 0) // lengths are to be seen in proportion
		if hi == lo {
			hi = lo + 1
		}
		if !horizontal {
			hi += (hi - lo) * 0.04
		}
	}
	var marks []float64
	if own := distinct(all); horizontal && apart(own, lo, hi, log) {
		marks = own
	} else if log {
		marks, lo, hi = logMarks(lo, hi)
	} else {
		marks = linearMarks(lo, hi)
	}
	a.Min, a.Max = lo, hi
	a.Tick.Marker = plot.TickerFunc(func(_, _ float64) []plot.Tick {
		out := make([]plot.Tick, len(marks))
		for i, v := range marks {
			out[i] = plot.Tick{Value: v, Label: short(v)}
			if !horizontal {
				out[i].Label += "  " // between the number and the axis
			}
		}
		return out
	})
}

func distinct(all []float64) []float64 {
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

// apart reports whether labels at all these values can be told apart.
func apart(marks []float64, lo, hi float64, log bool) bool {
	if len(marks) > mostTicks+3 {
		return false
	}
	at := func(v float64) float64 {
		if log {
			return math.Log(v/lo) / math.Log(hi/lo)
		}
		return (v - lo) / (hi - lo)
	}
	for i := 1; i < len(marks); i++ {
		if at(marks[i])-at(marks[i-1]) < 0.05 {
			return false
		}
	}
	return true
}

// logMarks returns marks at 1, 2 and 5 of each decade, or at 1 only if these are
// too many, and the range widened to the nearest of 1, 2 and 5.
func logMarks(lo, hi float64) (marks []float64, _, _ float64) {
	steps := []float64{1, 2, 5}
	var all []float64
	for e := math.Floor(math.Log10(lo)) - 1; e <= math.Ceil(math.Log10(hi))+1; e++ {
		for _, s := range steps {
			v, _ := strconv.ParseFloat(fmt.Sprintf("%ge%d", s, int(e)), 64) // exact, as Pow is not
			all = append(all, v)
		}
	}
	for i, v := range all { // ascending
		if v <= lo && all[i+1] > lo {
			lo = v
		}
		if v >= hi && all[i-1] < hi {
			hi = v
		}
	}
	for _, v := range all {
		if v >= lo && v <= hi {
			marks = append(marks, v)
		}
	}
	for skip := 1; len(marks) > mostTicks; skip++ {
		var decades []float64
		for _, v := range all {
			e := math.Round(math.Log10(v))
			if v >= lo && v <= hi && math.Abs(math.Log10(v)-e) < 1e-9 && int(math.Abs(e))%skip == 0 {
				decades = append(decades, v)
			}
		}
		marks = decades
	}
	return marks, lo, hi
}

// linearMarks returns marks at multiples of a round number.
func linearMarks(lo, hi float64) (marks []float64) {
	exp := int(math.Floor(math.Log10((hi - lo) / mostTicks)))
	for {
		for _, s := range []int{1, 2, 5} {
			step, _ := strconv.ParseFloat(fmt.Sprintf("%de%d", s, exp), 64)
			if (hi-lo)/step > mostTicks {
				continue
			}
			for n := math.Ceil(lo / step); n*step <= hi; n++ {
				marks = append(marks, n*step)
			}
			return marks
		}
		exp++
	}
}

// short writes a number with few signs.
func short(v float64) string {
	a := math.Abs(v)
	switch {
	case v == 0:
		return "0"
	case a >= 1024 && v == math.Trunc(v) && math.Mod(v, 1024) == 0 && a < 1<<20:
		return trim(v/1024) + " Ki"
	case a >= 1<<20 && math.Mod(v, 1<<20) == 0 && a < 1<<30:
		return trim(v/(1<<20)) + " Mi"
	case a >= 1e9:
		return trim(v/1e9) + " G"
	case a >= 1e6:
		return trim(v/1e6) + " M"
	case a >= 1e4:
		return trim(v/1e3) + " k"
	}
	return trim(v)
}

// trim writes a number with at most four digits that mean something.
func trim(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

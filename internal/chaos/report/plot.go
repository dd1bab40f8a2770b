package report

import (
	_ "embed"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"text/template"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/judge"
)

//go:embed plot.svg.tmpl
var plotText string

var plotTemplate = template.Must(template.New("plot").Funcs(template.FuncMap{
	"text": html.EscapeString,
	"px":   func(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") },
}).Parse(plotText))

// Sizes of the plot in pixels.
const (
	plotWidth  = 1100
	leftMargin = 62
	rightSpace = 12
	topSpace   = 64 // of the whole plot, for title and legend
	panelTall  = 150
	labelSpace = 36 // above each panel, for two rows of numbers
	axisSpace  = 34 // below each panel
	labelWide  = 17 // what a number needs
	labelRows  = 2
)

// The time axis is cut into panels below one another.
const (
	maxPanels  = 4
	shortPanel = 60 * time.Second
)

// The staleness axis is logarithmic, from and to these.
const (
	leastStale = 100 * time.Microsecond
	mostStale  = 10 * time.Second
)

// panel is one stretch of the time axis.
type panel struct {
	began, ended history.Time
	Top, Bottom  float64
	Left, Right  float64
	Shades       []shade
	Labels       []mark
	// Paths of dots: reads within the bound, at most leastStale, above the
	// bound and excused, above the bound.
	Within, Quiet, Excused, Over string
	Rows                         []mark // of the staleness axis
	Ticks                        []mark // of the time axis
	Bound                        float64
	BoundText                    string
}

// shade is a fault or its recovery.
type shade struct {
	X, Wide  float64
	Recovery bool
	Name     string
}

// mark is a text at a place.
type mark struct {
	X, Y float64
	Text string
}

// drawing is what the template shows.
type drawing struct {
	Width, Height int
	Title         string
	Panels        []panel
}

// Plot draws the staleness of reads over the time of a run as SVG, with the
// faults marked by the numbers of their rows in the table. It needs the Buckets
// and Spans of the phases, and the verdicts as [judge.Phase] returned them.
func Plot(w io.Writer, run *history.Run, verdicts []judge.Verdict) error {
	d := drawing{Width: plotWidth, Title: fmt.Sprintf("Staleness of reads, %s (%s), seed %d", run.Server, run.Backend, run.Seed)}
	number := map[string]int{}
	for i, v := range rowsOf(verdicts) {
		number[v.Name] = i + 1
	}
	top := float64(topSpace)
	for _, p := range panelsOf(run) {
		p.Left, p.Right = leftMargin, plotWidth-rightSpace
		p.Top = top + labelSpace
		p.Bottom = p.Top + panelTall
		top = p.Bottom + axisSpace
		p.draw(run, number)
		for _, v := range verdicts {
			p.above(v.Above)
		}
		d.Panels = append(d.Panels, p)
	}
	d.Height = int(top)
	if err := plotTemplate.Execute(w, d); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// panelsOf cuts the time of a run into stretches of the same length.
func panelsOf(run *history.Run) []panel {
	began, ended := run.Began, run.Ended
	for i, p := range run.Phases { // what the phases do not cover is not shown
		if i == 0 {
			began = p.Began
		}
		ended = p.Ended
	}
	total := max(ended.Sub(began), time.Second)
	n := min(max(int((total+shortPanel-1)/shortPanel), 1), maxPanels)
	each := total/time.Duration(n) + 1
	var all []panel
	for i := range n {
		from := began.Add(time.Duration(i) * each)
		all = append(all, panel{began: from, ended: from.Add(each)})
	}
	return all
}

func (p *panel) x(t history.Time) float64 {
	share := float64(t-p.began) / float64(p.ended-p.began)
	return p.Left + min(max(share, 0), 1)*(p.Right-p.Left)
}

func (p *panel) y(stale time.Duration) float64 {
	share := math.Log(float64(stale)/float64(leastStale)) / math.Log(float64(mostStale)/float64(leastStale))
	return p.Bottom - min(max(share, 0), 1)*(p.Bottom-p.Top)
}

func (p *panel) shows(from, to history.Time) bool { return to > p.began && from < p.ended }

func (p *panel) draw(run *history.Run, number map[string]int) {
	p.axes(run)
	var last [labelRows]float64 // right ends of the labels so far, by row
	for i := range run.Phases {
		ph := &run.Phases[i]
		if !p.shows(ph.Began, ph.Ended) {
			continue
		}
		p.dots(ph)
		p.shade(ph)
		p.label(ph, number[kind(ph.Name)], &last)
	}
}

// axes places the marks of both axes and the bound.
func (p *panel) axes(run *history.Run) {
	for d := leastStale; d <= mostStale; d *= 10 {
		p.Rows = append(p.Rows, mark{X: p.Left, Y: p.y(d), Text: d.String()})
	}
	var bound time.Duration
	start := p.began
	for i, ph := range run.Phases {
		bound = max(bound, ph.Bound)
		if i == 0 {
			start = ph.Began
		}
	}
	p.Bound, p.BoundText = p.y(bound), "bound "+bound.String()
	step := tickStep(p.ended.Sub(p.began))
	first := (p.began.Sub(start) + step - 1) / step * step
	for t := first; t < p.ended.Sub(start); t += step {
		p.Ticks = append(p.Ticks, mark{X: p.x(start.Add(t)), Y: p.Bottom, Text: fmt.Sprintf("%.0f s", t.Seconds())})
	}
}

// tickStep returns a round time of which about ten fit.
func tickStep(total time.Duration) time.Duration {
	for step := time.Second; ; step *= 10 {
		for _, f := range []time.Duration{1, 2, 5} {
			if total/(step*f) <= 12 {
				return step * f
			}
		}
	}
}

// shade marks the faults of a phase, and the time in which the cluster
// recovered from them.
func (p *panel) shade(ph *history.Phase) {
	for _, s := range ph.Spans {
		end := s.Ended
		if end == 0 {
			end = ph.Ended
		}
		p.addShade(s.Name, false, s.Began, end)
		if s.Recovered > end {
			p.addShade(s.Name, true, end, s.Recovered)
		}
	}
}

func (p *panel) addShade(name string, recovery bool, from, to history.Time) {
	if p.shows(from, to) || p.shows(from, from+1) {
		x := p.x(from)
		p.Shades = append(p.Shades, shade{X: x, Wide: max(p.x(to)-x, 1), Recovery: recovery, Name: name})
	}
}

// label puts the number of a phase above it, in the first row that has room;
// if none has, it is left out: on such a scale nobody could tell them apart.
func (p *panel) label(ph *history.Phase, number int, last *[labelRows]float64) {
	if ph.Began < p.began || number == 0 {
		return // it has its number in the panel before
	}
	x := p.x(ph.Began)
	for row := range last {
		if x >= last[row] {
			last[row] = x + labelWide
			p.Labels = append(p.Labels, mark{X: x, Y: p.Top - 6 - float64(row)*13, Text: fmt.Sprint(number)})
			return
		}
	}
}

// dots draws the stalest read of each tenth of a second; of those that share a
// pixel, the stalest.
func (p *panel) dots(ph *history.Phase) {
	stalest := map[int]time.Duration{}
	for _, b := range ph.Buckets {
		t := b.Start().Add(history.BucketWidth / 2)
		if b.Reads == 0 || t < p.began || t >= p.ended {
			continue
		}
		x := int(2 * p.x(t)) // half pixels
		stalest[x] = max(stalest[x], b.Stalest)
	}
	var within, quiet strings.Builder
	for x := int(2 * p.Left); x <= int(2*p.Right); x++ {
		d, ok := stalest[x]
		switch px := float64(x) / 2; {
		case !ok:
		case d > leastStale:
			within.WriteString(dot(px, p.y(d)))
		default:
			quiet.WriteString(dot(px, p.Bottom))
		}
	}
	p.Within, p.Quiet = p.Within+within.String(), p.Quiet+quiet.String()
}

// above draws the reads from beyond the bound.
func (p *panel) above(reads []judge.Above) {
	for _, a := range reads {
		switch {
		case a.At < p.began || a.At >= p.ended:
		case a.Excused:
			p.Excused += dot(p.x(a.At), p.y(a.Staleness))
		default:
			p.Over += dot(p.x(a.At), p.y(a.Staleness))
		}
	}
}

func dot(x, y float64) string { return fmt.Sprintf("M%.1f %.1fh0", x, y) }

package compare

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// A spec is a table to be measured.
type spec struct {
	id, title, text string
	turn            time.Duration // how long one benchmark runs at a time
	// most, if not 0, is how many rounds are enough: for turns of seconds.
	most int
	// extra is what rows report beside time.
	extra []metric
	// why says what makes a row quicker than fleetcache's, by its name.
	why map[string]string
	// plain has no verdicts: its rows are not peers, or time is not what counts.
	plain bool
	// noTime leaves out times, and what is made of them.
	noTime bool
}

// A metric is a figure that bodies report.
type metric struct{ unit, heading, format string }

var commandsPerOp = metric{subject.Commands, "commands", "%.2f"}

// decided is how far both quartiles of a ratio must be from 1 before anything
// is said of it.
const decided = 0.02

// start begins a table.
func (l *lab) start(s spec) *rounds.Table {
	t := &rounds.Table{Title: s.title, Turn: s.turn, Out: l.Log}
	// A peer that does not do what is measured is no reason to measure nothing.
	t.Optional = func(name string) bool { return !strings.HasPrefix(name, "fleetcache") }
	if s.noTime {
		t.Out = io.Discard
	}
	return t
}

// finish measures a table, and records it.
func (l *lab) finish(ctx context.Context, t *rounds.Table, s spec) error {
	n := l.Rounds
	if s.most > 0 {
		n = min(n, s.most)
	}
	if err := t.Run(ctx, n); err != nil {
		return err
	}
	out := record.Table{
		ID: s.id, Title: s.title,
		Text:    s.text + " " + pace(t) + leftOut(t),
		Columns: []string{""},
	}
	if !s.noTime {
		out.Columns = append(out.Columns, "time", "allocations")
	}
	for _, m := range s.extra {
		out.Columns = append(out.Columns, m.heading)
	}
	if !s.noTime {
		out.Columns = append(out.Columns, "ratio", "quartiles", "compared with")
	}
	for _, r := range t.Rows() {
		out.Rows = append(out.Rows, row(t, r, s))
	}
	l.run.Tables = append(l.run.Tables, out)
	if s.noTime {
		l.log(out)
	}
	return nil
}

// pace says how much a table has measured.
func pace(t *rounds.Table) string {
	if t.Turn < time.Millisecond*10 {
		return fmt.Sprintf("%d rounds.", t.Rounds())
	}
	return fmt.Sprintf("%d rounds of %v.", t.Rounds(), t.Turn)
}

// leftOut names the rows that failed.
func leftOut(t *rounds.Table) string {
	if len(t.Left()) == 0 {
		return ""
	}
	return " Left out, because it failed: " + strings.Join(t.Left(), "; ") + "."
}

// log prints a table of figures other than times.
func (l *lab) log(t record.Table) {
	fmt.Fprintf(l.Log, "\n%s\n  %-34s", t.Title, "")
	for _, c := range t.Columns[1:] {
		fmt.Fprintf(l.Log, "  %s", c)
	}
	fmt.Fprintln(l.Log)
	for _, r := range t.Rows {
		fmt.Fprintf(l.Log, "  %-34s", r.Name)
		for i, c := range r.Cells {
			fmt.Fprintf(l.Log, "  %*s", utf8.RuneCountInString(t.Columns[i+1]), c)
		}
		fmt.Fprintln(l.Log)
	}
}

func row(t *rounds.Table, r *rounds.Row, s spec) record.Row {
	out := record.Row{
		Name:   r.Name(),
		Values: map[string]float64{},
	}
	if !s.noTime {
		out.Cells = []string{duration(r.Median()), strconv.FormatInt(r.Allocs(), 10)}
		out.Values["time"], out.Values["allocations"] = r.Median(), float64(r.Allocs())
	}
	for _, m := range s.extra {
		v, ok := r.Extra(m.unit)
		if !ok {
			out.Cells = append(out.Cells, "")
			continue
		}
		out.Cells = append(out.Cells, fmt.Sprintf(m.format, v))
		out.Values[m.heading] = v
	}
	base := r.Base()
	switch {
	case s.noTime:
		return out
	case base == "":
		out.Cells = append(out.Cells, "", "", "")
		if !s.plain {
			out.Verdict = summary(t, r.Name())
		}
		return out
	}
	low, middle, high := t.Quartiles(r.Name(), base)
	out.Cells = append(out.Cells, ratio(middle), ratio(low)+"–"+ratio(high), base)
	out.Values["ratio"], out.Values["low"], out.Values["high"] = middle, low, high
	if !s.plain {
		out.Verdict = verdict(low, high, s.why[r.Name()])
	}
	return out
}

// verdict says what the quartiles of a peer's ratio to fleetcache mean.
func verdict(low, high float64, why string) string {
	switch {
	case low > 1+decided:
		return "fleetcache is ahead"
	case high >= 1-decided:
		return "no difference to be seen"
	case why == "":
		return "fleetcache is behind"
	}
	return "fleetcache is behind: " + why
}

// summary says which rows are quicker than the one they are compared with.
func summary(t *rounds.Table, base string) string {
	var quicker []string
	for _, r := range t.Rows() {
		if r.Base() != base {
			continue
		}
		if _, _, high := t.Quartiles(r.Name(), base); high < 1-decided {
			quicker = append(quicker, r.Name())
		}
	}
	slices.Sort(quicker)
	if len(quicker) == 0 {
		return "ahead of all, or even"
	}
	return "behind " + strings.Join(quicker, ", ")
}

// duration is a time of three digits or so.
func duration(ns float64) string {
	switch {
	case ns < 10:
		return fmt.Sprintf("%.1f ns", ns)
	case ns < 1e3:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.1f ms", ns/1e6)
	}
	return fmt.Sprintf("%.1f s", ns/1e9)
}

func ratio(r float64) string {
	if r >= 10 {
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.2f", r)
}

// result adds a pair to the RESULT line.
func (l *lab) result(key string, v float64) { l.run.Add(key, "%.2f", v) }

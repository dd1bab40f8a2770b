package report

import (
	_ "embed"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/judge"
)

//go:embed page.md.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"cell":  cell,
	"code":  code,
	"ms":    millis,
	"inc":   func(i int) int { return i + 1 },
	"count": count,
	"loads": loads,
	"whole": func(d time.Duration) time.Duration { return d.Round(time.Second) },
	"fate":  fate,
	"day":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") },
}).Parse(pageText))

// Page writes the page about runs, the first of which is the one in the plot.
func Page(w io.Writer, runs []Record) error {
	if err := pageTemplate.Execute(w, runs); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// cell makes text fit for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "*", `\*`, "_", `\_`, "`", "'").Replace(s)
}

// code makes text fit for a code span or block.
func code(s string) string { return strings.NewReplacer("`", "'", "\n", " ").Replace(s) }

// millis is a time in milliseconds, with as many digits as mean something.
func millis(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	if v != 0 && v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// count groups the digits of large numbers.
func count(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// loads says how many loads there were in a window, and what the bound is.
func loads(v judge.Verdict) string {
	if v.Windows == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", v.MaxLoads, v.LoadBound)
}

// fate says what became of the writes that failed.
func fate(f judge.Failed) string {
	if f.Total == 0 {
		return "0"
	}
	return fmt.Sprintf("%s: %d, %d, %d, %d", count(f.Total), f.Replayed, f.Superseded, f.Landed, f.Dropped)
}

package report

import (
	_ "embed"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/fleetcache/fleetcache/bench/internal/record"
)

//go:embed page.md.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"cell":  cell,
	"code":  code,
	"table": table,
}).Parse(pageText))

// A section is what the template shows of one run.
type section struct {
	*record.Run
	Heading  heading
	Tables   []tableSection
	Plots    []plotSection
	Versions []record.Pair // sorted
	Result   string        // the RESULT line, if it says anything
}

type tableSection struct {
	record.Table
	Heading heading
}

type plotSection struct {
	record.Plot
	Heading heading
	File    string
}

// A heading is a text with the anchor that it is linked by.
type heading struct{ Text, Anchor string }

// Page writes the page about runs, in their order.
func Page(w io.Writer, runs []*record.Run) error {
	used := headings{"contents": true, "how-to-read-it": true, "how-to-repeat-it": true, "benchmarks": true}
	var all []section
	for _, run := range runs {
		s := section{Run: run, Heading: used.add(run.Title)}
		for _, t := range run.Tables {
			s.Tables = append(s.Tables, tableSection{t, used.add(t.Title)})
		}
		for _, p := range run.Plots {
			s.Plots = append(s.Plots, plotSection{p, used.add(p.Title), plotFile(run, p)})
		}
		for _, path := range slices.Sorted(maps.Keys(run.Versions)) {
			s.Versions = append(s.Versions, record.Pair{Key: path, Value: run.Versions[path]})
		}
		if len(run.Result) > 0 {
			s.Result = run.ResultLine()
		}
		all = append(all, s)
	}
	if err := pageTemplate.Execute(w, all); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// headings are the anchors that a page has so far.
type headings map[string]bool

// add returns a heading that no other one of the page has the anchor of: links
// to the second of two would go to the first.
func (h headings) add(text string) heading {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, "<", "‹")), " ") // "&lt;" would be in some anchors
	for n := 1; ; n++ {
		t := text
		if n > 1 {
			t = fmt.Sprintf("%s (%d)", text, n)
		}
		if a := anchor(t); !h[a] {
			h[a] = true
			return heading{t, a}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchor is what a heading is linked by.
func anchor(text string) string {
	return strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
}

// table writes rows: names to the left, figures to the right, and verdicts, if
// there are any, in a column of their own.
func table(t record.Table) string {
	var b strings.Builder
	verdicts := slices.ContainsFunc(t.Rows, func(r record.Row) bool { return r.Verdict != "" })
	line := func(cells []string, verdict string) {
		for _, c := range cells {
			b.WriteString("| " + cell(c) + " ")
		}
		if verdicts {
			b.WriteString("| " + cell(verdict) + " ")
		}
		b.WriteString("|\n")
	}
	line(t.Columns, "verdict")
	b.WriteString("|---" + strings.Repeat("|--:", len(t.Columns)-1))
	if verdicts {
		b.WriteString("|---")
	}
	b.WriteString("|\n")
	for _, r := range t.Rows {
		line(append([]string{r.Name}, r.Cells...), r.Verdict)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// cell makes text fit for a cell of a table, and for a heading.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "*", `\*`, "_", `\_`, "`", "'", "[", `\[`).Replace(s)
}

// code makes text fit for a code span or block.
func code(s string) string { return strings.NewReplacer("`", "'", "\n", " ").Replace(s) }

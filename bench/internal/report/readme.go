package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetcache/fleetcache/bench/internal/record"
)

// The lines of README.md that enclose what is made here.
const (
	beginMark = "<!-- bench: begin -->"
	endMark   = "<!-- bench: end -->"
)

// A pick is a table of a record that the README shows, or a part of it.
type pick struct {
	run, table string
	rows       []string // by name; all if there are none
	columns    []string // by heading, without the first; all if there are none
	note       string   // how to read it (Markdown)
}

// readmeTable returns what the README says of the runs, and notes about picks
// that no record has.
func readmeTable(picks []pick, runs []*record.Run) (text []byte, notes []string) {
	var b bytes.Buffer
	var from []*record.Run // that something is shown of
	for _, p := range picks {
		run := find(runs, p.run)
		if run == nil {
			continue // a note of its own, see Make
		}
		t, missing := p.of(run)
		for _, m := range missing {
			notes = append(notes, fmt.Sprintf("README: %s has no %s", p.run, m))
		}
		if len(t.Rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n\n%s\n\n", strings.TrimSpace("**"+cell(t.Title)+".** "+p.note), table(t))
		if !slices.Contains(from, run) {
			from = append(from, run)
		}
	}
	for _, run := range from {
		fmt.Fprintf(&b, "- `%s` on %s: %s, %s, %s.\n", code(run.Command), run.Date, cell(run.Machine), cell(run.Go), cell(run.Server))
	}
	if len(from) > 0 {
		fmt.Fprintf(&b, "\nOnly ratios within one table mean something. All tables, the rows we lose, and how\nto repeat them: [%s](%s).\n", pageFile, pageFile)
	}
	return b.Bytes(), notes
}

// of returns the part of a run that is picked, and what is not there.
func (p pick) of(run *record.Run) (out record.Table, missing []string) {
	i := slices.IndexFunc(run.Tables, func(t record.Table) bool { return t.ID == p.table })
	if i < 0 {
		return out, []string{"table " + p.table}
	}
	t := run.Tables[i]
	out = record.Table{ID: t.ID, Title: t.Title, Columns: t.Columns[:1:1]}
	var cells []int
	for n, c := range t.Columns[1:] {
		if len(p.columns) == 0 || slices.Contains(p.columns, c) {
			cells, out.Columns = append(cells, n), append(out.Columns, c)
		}
	}
	for _, r := range t.Rows {
		if len(p.rows) > 0 && !slices.Contains(p.rows, r.Name) {
			continue
		}
		row := record.Row{Name: r.Name, Verdict: r.Verdict}
		for _, n := range cells {
			row.Cells = append(row.Cells, r.Cells[n])
		}
		out.Rows = append(out.Rows, row)
	}
	for _, c := range p.columns {
		if !slices.Contains(t.Columns[1:], c) {
			missing = append(missing, fmt.Sprintf("column %q in table %s", c, p.table))
		}
	}
	for _, name := range p.rows {
		if !slices.ContainsFunc(t.Rows, func(r record.Row) bool { return r.Name == name }) {
			missing = append(missing, fmt.Sprintf("row %q in table %s", name, p.table))
		}
	}
	return out, missing
}

// splice puts text between the marks of a README.
func splice(readme, text []byte) ([]byte, error) {
	begin, err := markLine(readme, beginMark)
	if err != nil {
		return nil, err
	}
	end, err := markLine(readme, endMark)
	if err != nil {
		return nil, err
	}
	begin += len(beginMark) + 1 // the line
	if end < begin {
		return nil, fmt.Errorf("report: %s: %s comes before %s", readmeFile, endMark, beginMark)
	}
	out := append([]byte{}, readme[:begin]...)
	if len(text) > 0 {
		out = append(append(append(out, '\n'), bytes.TrimSpace(text)...), "\n\n"...)
	}
	return append(out, readme[end:]...), nil
}

// markLine returns where a mark is, which has a line of its own and one only.
func markLine(readme []byte, mark string) (int, error) {
	line := []byte("\n" + mark + "\n")
	at := bytes.Index(readme, line)
	switch {
	case at < 0:
		return 0, fmt.Errorf("report: %s has no line %s: the table goes between %s and %s", readmeFile, mark, beginMark, endMark)
	case bytes.LastIndex(readme, line) != at:
		return 0, fmt.Errorf("report: %s has the line %s more than once", readmeFile, mark)
	}
	return at + 1, nil
}

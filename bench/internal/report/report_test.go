package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/record"
)

var update = flag.Bool("update", false, "write the golden files anew")

// repo is a copy of the synthetic repository in testdata.
func repo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/repo")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what %s has:\n%s", name, file, got)
	}
}

func TestPageOfSyntheticRecords(t *testing.T) {
	r, err := Make(repo(t))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "benchmarks.md", r.Files[pageFile])
	for _, name := range []string{"stampede", "steps", "lock"} {
		if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, name+".json is not there") }) {
			t.Errorf("no note says that there is no record of %s: %q", name, r.Notes)
		}
	}
}

// What Make returns is what is on disk after Write, and nothing else is; a second
// run changes nothing.
func TestWriteIsRepeatable(t *testing.T) {
	dir := repo(t)
	orphan := filepath.Join(dir, recordsDir, "compare-of-yesterday.svg")
	if err := os.WriteFile(orphan, []byte("<svg/>"), 0o644); err != nil {
		t.Fatal(err)
	}
	first, err := Make(dir)
	if err != nil {
		t.Fatal(err)
	}
	differ, err := first.Differences()
	if err != nil || len(differ) != 5 { // page, README, two plots, the orphan
		t.Errorf("before Write %q differ, %v; want 5 files", differ, err)
	}
	if err := first.Write(); err != nil {
		t.Fatal(err)
	}
	second, err := Make(dir)
	if err != nil {
		t.Fatal(err)
	}
	if differ, err := second.Differences(); err != nil || len(differ) > 0 {
		t.Errorf("after Write %q differ, %v", differ, err)
	}
	if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a plot of no record is still there: %v", err)
	}
	if len(second.Files) != 4 {
		t.Errorf("%d files, want 4", len(second.Files))
	}
}

func TestReadmeShowsWhatIsPicked(t *testing.T) {
	dir := repo(t)
	runs, err := load(filepath.Join(dir, recordsDir))
	if err != nil {
		t.Fatal(err)
	}
	picks := []pick{
		{run: "lock", table: "any"}, // no such record
		{run: "compare", table: "hit", rows: []string{"x_y*z", "fleetcache GetOrSet", "gone"}, columns: []string{"ns/op", "ratio", "lost"}, note: "Below 1 is *better*."},
		{run: "compare", table: "none"},
		{run: "compare", table: "plain"},
	}
	text, notes := readmeTable(picks, runs)
	readme, err := os.ReadFile(filepath.Join(dir, readmeFile))
	if err != nil {
		t.Fatal(err)
	}
	out, err := splice(readme, text)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "README.md", out)
	want := []string{
		`README: compare has no column "lost" in table hit`, `README: compare has no row "gone" in table hit`,
		"README: compare has no table none",
	}
	if !slices.Equal(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
	again, err := splice(out, text)
	if err != nil || !bytes.Equal(again, out) {
		t.Errorf("a second splice changes the README (%v):\n%s", err, again)
	}
	if empty, err := splice(out, nil); err != nil || !bytes.Contains(empty, []byte(beginMark+"\n"+endMark+"\n")) {
		t.Errorf("without text the marks are not next to each other (%v):\n%s", err, empty)
	}
}

func TestSpliceNeedsItsMarks(t *testing.T) {
	for name, c := range map[string]struct{ readme, want string }{
		"none":        {"# A\n\ntext\n", "has no line " + beginMark},
		"no end":      {"# A\n" + beginMark + "\n", "has no line " + endMark},
		"not a line":  {"# A\nsee " + beginMark + "\n" + endMark + "\n", "has no line " + beginMark},
		"twice":       {"# A\n" + beginMark + "\n\n" + beginMark + "\n" + endMark + "\n", "more than once"},
		"wrong order": {"# A\n" + endMark + "\n" + beginMark + "\n", "comes before"},
	} {
		out, err := splice([]byte(c.readme), []byte("x"))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), readmeFile) {
			t.Errorf("%s: splice = %q, %v, want an error with %q", name, out, err, c.want)
		}
	}
}

func TestRecordsThatAreNone(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"not JSON":   {"odd.json", "{", "odd"},
		"other name": {"odd.json", `{"Name": "even", "Title": "T"}`, `a record of "even"`},
		"no title":   {"odd.json", `{"Name": "odd"}`, "no title"},
		"cells":      {"odd.json", `{"Name": "odd", "Title": "T", "Tables": [{"ID": "t", "Columns": ["", "a"], "Rows": [{"Name": "r", "Cells": ["1", "2"]}]}]}`, `row "r" has 2 cells for 1`},
		"nothing":    {"odd.json", `{"Name": "odd", "Title": "T", "Tables": [{"ID": "t"}]}`, `table t has no columns`},
		"no heading": {"odd.json", `{"Name": "odd", "Title": "T", "Tables": [{"ID": "t", "Rows": [{"Name": "r"}]}]}`, `table t`},
		"plot":       {"odd.json", `{"Name": "odd", "Title": "T", "Plots": [{"ID": "p", "Series": [{"Name": "s", "X": [1], "Y": []}]}]}`, `plot p of odd: series "s"`},
		"same file":  {"odd.json", `{"Name": "odd", "Title": "T", "Plots": [{"ID": "p"}, {"ID": "odd-p"}]}`, `plot "odd-p"`},
		"same plot":  {"odd.json", `{"Name": "odd", "Title": "T", "Plots": [{"ID": "p"}, {"ID": "p"}]}`, `plot "p"`},
	} {
		dir := repo(t)
		if err := os.WriteFile(filepath.Join(dir, recordsDir, c.file), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Make(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Make = %v, want an error with %q", name, err, c.want)
		}
	}
	if _, err := Make(t.TempDir()); !errors.Is(err, ErrNoRecords) {
		t.Errorf("Make without records = %v, want ErrNoRecords", err)
	}
}

func TestPlotIsDrawn(t *testing.T) {
	runs, err := load("testdata/repo/docs/benchmarks")
	if err != nil {
		t.Fatal(err)
	}
	p := find(runs, "scaling").Plots[0]
	var a, b bytes.Buffer
	notes, err := Draw(&a, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Draw(&b, p); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("the second plot of the same curves is another one (%v)", err)
	}
	if want := []string{`1 points of "until all have <evicted> it" are not positive, and not on a logarithmic axis`}; !slices.Equal(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
	texts := map[string]bool{}
	for d := xml.NewDecoder(&a); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := tok.(xml.CharData); ok {
			texts[strings.TrimSpace(string(c))] = true
		}
	}
	for _, want := range []string{p.Title, p.X, p.Y, "1", "2", "4", "8", "16", "100", "1000", "until the reply", "until all have <evicted> it"} {
		if !texts[want] {
			t.Errorf("the plot has no text %q", want)
		}
	}
}

func TestPlotsThatCannotBe(t *testing.T) {
	for name, p := range map[string]record.Plot{
		"nothing":      {},
		"bars missing": {Series: []record.Series{{X: []float64{1}, Y: []float64{1}, Low: []float64{1}}}},
		"below bar":    {Series: []record.Series{{X: []float64{1}, Y: []float64{1}, Low: []float64{2}, High: []float64{3}}}},
		"all hidden":   {LogY: true, Series: []record.Series{{X: []float64{1, 2}, Y: []float64{0, 0}}}},
	} {
		if _, err := Draw(io.Discard, p); err == nil {
			t.Errorf("%s: Draw returned no error", name)
		}
	}
}

func TestMarksOfAxes(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		log    bool
		want   string
	}{
		{90, 1800, true, "50 100 200 500 1000 2000"},
		{1, 1e6, true, "1 10 100 1000 10 k 100 k 1 M"},
		{100, 100.5, true, "100 200"},
		{0, 270, false, "0 50 100 150 200 250"},
		{0, 0.9, false, "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9"},
		{0, 65536, false, "0 10 k 20 k 30 k 40 k 50 k 60 k"},
	} {
		marks, lo, hi := linearMarks(c.lo, c.hi), c.lo, c.hi
		if c.log {
			marks, lo, hi = logMarks(c.lo, c.hi)
		}
		var got []string
		for _, m := range marks {
			got = append(got, short(m))
		}
		if s := strings.Join(got, " "); s != c.want || lo > c.lo || hi < c.hi {
			t.Errorf("marks from %v to %v: %s, range %v to %v, want %s", c.lo, c.hi, s, lo, hi, c.want)
		}
	}
	for v, want := range map[float64]string{0: "0", 100: "100", 4096: "4 Ki", 262144: "256 Ki", 1 << 20: "1 Mi", 1000: "1000", 1e5: "100 k", 0.25: "0.25", 2.5e9: "2.5 G"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %q, want %q", v, got, want)
		}
	}
}

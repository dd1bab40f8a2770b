package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/judge"
)

const second = history.Time(time.Second)

// aRun has n phases of 6 s with a fault of 3 s in the middle of each, and reads
// that are stale by ever more milliseconds.
func aRun(n int) (*history.Run, []judge.Verdict) {
	run := &history.Run{
		Backend: "local", Server: "redis-server 7.0.15", Seed: 42, Command: "go run . -seed 42", Instances: 3,
		Began: 100 * second, Date: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	var verdicts []judge.Verdict
	at := run.Began
	for i := range n {
		p := history.Phase{
			Name: fmt.Sprintf("fault <%c> & %d", 'a'+i%26, i/26), What: "a | b\nc", Began: at, Ended: at + 6*second, Bound: 2 * time.Second, Instances: 3,
			Keys:   []history.Key{{ID: "k", Class: history.ClassQuiet}},
			Writes: []history.Write{{Key: 0, Version: 1, Committed: at, Began: at, Ended: at + 1, Acked: at + 1}},
			Spans:  []history.Span{{Name: "fault <x>", Began: at + 2*second, Ended: at + 4*second, Recovered: at + 5*second}},
		}
		for tenth := range history.Time(60) {
			stale := time.Duration(i*int(tenth)) * time.Millisecond
			p.Buckets = append(p.Buckets, history.Bucket{At: int64(at/second)*10 + int64(tenth), Reads: 100, Stalest: stale})
			p.Staleness.Record(stale)
			p.Reads += 100
		}
		run.Phases = append(run.Phases, p)
		verdicts = append(verdicts, judge.Phase(&p, judge.Options{}))
		at += 7 * second
	}
	run.Ended = at
	return run, verdicts
}

func plotOf(t *testing.T, run *history.Run, verdicts []judge.Verdict) string {
	t.Helper()
	var b bytes.Buffer
	if err := Plot(&b, run, verdicts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// wellFormed fails the test if text is no XML.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlot(t *testing.T) {
	run, verdicts := aRun(20)
	svg := plotOf(t, run, verdicts)
	wellFormed(t, svg)
	for what, want := range map[string]int{
		`fill-opacity=".45"><title>fault &lt;x&gt;</title>`: 20, // one per fault, unless cut by the end of a panel
		`fill-opacity=".16"><title>fault &lt;x&gt;</title>`: 20,
		`>bound 2s</text>`: 3, // one per panel: 140 s
	} {
		if n := strings.Count(svg, what); n < want || n > want+2 {
			t.Errorf("%d times %s, want %d or a little more", n, what, want)
		}
	}
	for i := range 20 {
		if n := strings.Count(svg, fmt.Sprintf(`font-size="10">%d</text>`, i+1)); n != 1 {
			t.Errorf("number %d is there %d times, want once", i+1, n)
		}
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Error("a place is not a number")
	}
}

// TestPlotLabelsDoNotOverlap: a long run has more phases than room for numbers.
func TestPlotLabelsDoNotOverlap(t *testing.T) {
	run, verdicts := aRun(600)
	svg := plotOf(t, run, verdicts)
	wellFormed(t, svg)
	at := map[string][]float64{}
	labels := regexp.MustCompile(`<text x="([\d.]+)" y="([\d.]+)" dx="2"`).FindAllStringSubmatch(svg, -1)
	if len(labels) < 50 {
		t.Fatalf("%d labels, want many", len(labels))
	}
	for _, m := range labels {
		x, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range at[m[2]] {
			if x-other < labelWide-0.2 && other-x < labelWide-0.2 {
				t.Fatalf("labels at %v and %v of row %s overlap", other, x, m[2])
			}
		}
		at[m[2]] = append(at[m[2]], x)
	}
}

// TestPlotShowsWhatIsBeyondTheBound in its place: above the line of the bound.
func TestPlotShowsWhatIsBeyondTheBound(t *testing.T) {
	run, verdicts := aRun(1)
	verdicts[0].Above = []judge.Above{
		{At: run.Began + 3*second, Staleness: 10 * time.Second},
		{At: run.Began, Staleness: 5 * time.Second, Excused: true},
		{At: run.Began + 90*second, Staleness: 5 * time.Second}, // in no panel
	}
	svg := plotOf(t, run, verdicts)
	middle := leftMargin + (plotWidth-leftMargin-rightSpace)/2.0
	top := topSpace + labelSpace
	if want := fmt.Sprintf(`<path d="M%.1f %d.0h0" stroke="#c4161c"`, middle, top); !strings.Contains(svg, want) {
		t.Errorf("there is no %s", want)
	}
	if want := fmt.Sprintf(`<path d="M%d.0 `, leftMargin); !strings.Contains(svg, want) || !strings.Contains(svg, `h0" stroke="#7b3fa0"`) {
		t.Errorf("there is no %s of the excused read", want)
	}
}

func TestPlotOfNothing(t *testing.T) {
	svg := plotOf(t, &history.Run{}, nil)
	wellFormed(t, svg)
	if strings.Contains(svg, "NaN") {
		t.Error("a place is not a number")
	}
}

// TestPlotOfAFaultThatDidNotEnd: it goes on to the end of its phase.
func TestPlotOfAFaultThatDidNotEnd(t *testing.T) {
	run, verdicts := aRun(1)
	run.Phases[0].Spans[0].Ended, run.Phases[0].Spans[0].Recovered = 0, 0
	svg := plotOf(t, run, verdicts)
	wide := float64(plotWidth-leftMargin-rightSpace) * 4 / 6 // of 6 s
	if !strings.Contains(svg, fmt.Sprintf(`width="%.0f" height="150"`, wide)) {
		t.Errorf("no shade is %.0f wide", wide)
	}
}

func TestWriteAddsToWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	run, verdicts := aRun(3)
	if err := Write(dir, run, verdicts, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	run.Server, run.Date = "valkey-server 8.0.1", run.Date.Add(time.Hour)
	for range 2 { // the second replaces the first
		if err := Write(dir, run, verdicts, ""); err != nil {
			t.Fatal(err)
		}
	}
	page := read(t, filepath.Join(dir, "consistency.md"))
	valkey, redis := strings.Index(page, "### valkey-server 8.0.1 (local)"), strings.Index(page, "### redis-server 7.0.15 (local)")
	if valkey < 0 || redis < valkey {
		t.Errorf("the sections are at %d and %d, want the newer first", valkey, redis)
	}
	if !strings.Contains(page, "The plot is of the run with valkey-server 8.0.1") || !strings.Contains(page, "library v1.2.3") {
		t.Error("the page does not say what it shows")
	}
	wellFormed(t, read(t, filepath.Join(dir, "consistency.svg")))
	files, err := filepath.Glob(filepath.Join(dir, "consistency", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v; want two", files, err)
	}
	for _, f := range files {
		if len(read(t, f)) > 50_000 {
			t.Errorf("%s is large", f)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPageTables: every row has as many cells as its head, whatever the names.
func TestPageTables(t *testing.T) {
	run, verdicts := aRun(30)
	rec := NewRecord(run, verdicts, "v1")
	rec.Violations = []string{"a: 1 reads beyond the bound | x"}
	var b bytes.Buffer
	if err := Page(&b, []Record{rec}); err != nil {
		t.Fatal(err)
	}
	cells, rows := 0, 0
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if cells == 0 {
			cells = n
		}
		if n != cells {
			t.Errorf("%d bars, want %d: %s", n, cells, line)
		}
		rows++
	}
	if want := 30; rows < want {
		t.Errorf("%d rows of tables, want more than %d", rows, want)
	}
	for _, want := range []string{
		"**Promises were broken:**", rec.Result, `a \| b c`, "| fault &lt;a> & |", "| 0 of ", "`go run . -seed 42`", "2030-01-02 03:04 UTC",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
}

func TestRowsSumUpKinds(t *testing.T) {
	var verdicts []judge.Verdict
	for _, name := range []string{"combination 1", "kill", "combination 2", "soak 10"} {
		verdicts = append(verdicts, judge.Verdict{Name: name, Phases: 1, Reads: 1, What: "what of " + name})
	}
	rows := rowsOf(verdicts)
	if len(rows) != 3 || rows[0].Name != "combination" || rows[0].Reads != 2 || rows[0].What != "what of combination 1" || rows[2].Name != "soak" {
		t.Errorf("rows are %+v", rows)
	}
}

func TestRecordAsJSON(t *testing.T) {
	run, verdicts := aRun(2)
	rec := NewRecord(run, verdicts, "v1")
	raw, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	var again Record
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := errors.Join(Page(&a, []Record{rec}), Page(&b, []Record{again})); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Error("the page of a record that was stored is another")
	}
}

func TestRenderSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if err := Render(dir); err == nil || !strings.Contains(err.Error(), "there is no run in") {
		t.Errorf("Render of an empty directory: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "consistency"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "consistency", "x.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Render(dir); err == nil || !strings.Contains(err.Error(), "x.json is no record") {
		t.Errorf("Render of a broken record: %v", err)
	}
}

func TestNumbersForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{count(uint64(1234567)), "1,234,567"}, {count(999), "999"}, {count(0), "0"},
		{millis(0), "0"}, {millis(1500 * time.Microsecond), "1.5"}, {millis(1234 * time.Millisecond), "1234"},
		{fate(judge.Failed{}), "0"}, {fate(judge.Failed{Total: 1000, Replayed: 1, Superseded: 998, Landed: 1}), "1,000: 1, 998, 1, 0"},
		{Record{Backend: "docker", Server: "Redis:8 x/y"}.slug(), "docker-redis-8-x-y"},
		{kind("combination 12"), "combination"}, {kind("kill"), "kill"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	if tickStep(100*time.Second) != 10*time.Second || tickStep(time.Hour) != 500*time.Second {
		t.Errorf("steps %v, %v", tickStep(100*time.Second), tickStep(time.Hour))
	}
}

// Package record is the form in which the programs of this module leave what
// they measured: tables and curves, with all that is needed to repeat the run.
// Programs write it, cmd/report turns it into docs/benchmarks.md.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A Run is what one program measured in one go. Figures of different runs are
// not to be compared.
type Run struct {
	// Name is the name of the file without .json, and the anchor of the section.
	Name string
	// Title is the heading of the section, Text the paragraphs below it (Markdown).
	Title string
	Text  []string
	// Command repeats the run.
	Command string
	// Date is the UTC day, Machine what it ran on, Server the version of Redis.
	Date, Machine, Go, Server string
	// Versions are those of the modules measured, by module path.
	Versions map[string]string
	Tables   []Table
	Plots    []Plot
	// Result is the pairs of the RESULT line, in order.
	Result []Pair
}

// A Table has one row per contender and one cell per column after the first.
type Table struct {
	ID, Title string
	// Text says what was measured and how to read it (Markdown).
	Text    string
	Columns []string // the first is the heading of the names
	Rows    []Row
}

// A Row is a contender.
type Row struct {
	Name  string
	Cells []string
	// Values are the numbers behind the cells, by column name, for those who
	// compute with them.
	Values map[string]float64 `json:",omitempty"`
	// Verdict says in words what follows, for rows that are lost too.
	Verdict string `json:",omitempty"`
}

// A Plot is a set of curves.
type Plot struct {
	ID, Title  string
	Text       string // what is to be seen (Markdown)
	X, Y       string // labels with units
	LogX, LogY bool
	Series     []Series
}

// A Series is a curve: Y[i] at X[i]. Low and High, if there, are the ends of
// error bars.
type Series struct {
	Name      string
	X, Y      []float64
	Low, High []float64 `json:",omitempty"`
}

// A Pair is one key=value of a RESULT line.
type Pair struct{ Key, Value string }

// New returns a Run with what the program knows of where it runs.
func New(name, title, command string) *Run {
	return &Run{
		Name: name, Title: title, Command: command,
		Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(),
		Machine:  machine(),
		Versions: map[string]string{},
	}
}

// machine says what the program runs on.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), model)
}

// Add adds a pair to the RESULT line.
func (r *Run) Add(key, format string, args ...any) {
	r.Result = append(r.Result, Pair{key, fmt.Sprintf(format, args...)})
}

// ResultLine is the last line a program prints.
func (r *Run) ResultLine() string {
	var b strings.Builder
	b.WriteString("RESULT")
	for _, p := range r.Result {
		fmt.Fprintf(&b, " %s=%s", p.Key, p.Value)
	}
	return b.String()
}

// Write writes the run to dir, as <name>.json. An empty dir writes nothing.
func (r *Run) Write(dir string) error {
	if dir == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("record: %s: %w", r.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, r.Name+".json"), append(b, '\n'), 0o644)
}

// Read reads a run from dir. It returns nil and no error if there is none.
func Read(dir, name string) (*Run, error) {
	b, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r := &Run{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("record: %s: %w", name, err)
	}
	return r, nil
}

package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fleetcache/fleetcache/bench/internal/record"
)

// Names in a repository.
const (
	pageFile   = "docs/benchmarks.md"
	recordsDir = "docs/benchmarks"
	readmeFile = "README.md"
)

// order is the order of the sections. Records of other names come behind.
var order = []string{"compare", "stampede", "steps", "scaling", "lock"}

// ErrNoRecords is the error of [Make] when there is nothing to report.
var ErrNoRecords = errors.New("report: there are no records in " + recordsDir)

// A Report is what is made of the records of a repository.
type Report struct {
	// Files are the contents of all files, by their path in the repository.
	Files map[string][]byte
	// Notes say what was left out, a line each.
	Notes []string
	root  string
}

// Make reads the records of the repository at root, and its README.md. It
// writes nothing. Without records the error is [ErrNoRecords].
func Make(root string) (*Report, error) {
	runs, err := load(filepath.Join(root, recordsDir))
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, ErrNoRecords
	}
	r := &Report{Files: map[string][]byte{}, root: root}
	for _, name := range order {
		if find(runs, name) == nil {
			r.note("%s/%s.json is not there: no section about it", recordsDir, name)
		}
	}
	for _, run := range runs {
		for _, p := range run.Plots {
			var svg bytes.Buffer
			notes, err := Draw(&svg, p)
			if err != nil {
				return nil, fmt.Errorf("report: plot %s of %s: %w", p.ID, run.Name, err)
			}
			for _, n := range notes {
				r.note("plot %s of %s: %s", p.ID, run.Name, n)
			}
			r.Files[recordsDir+"/"+plotFile(run, p)] = svg.Bytes()
		}
	}
	var page bytes.Buffer
	if err := Page(&page, runs); err != nil {
		return nil, err
	}
	r.Files[pageFile] = page.Bytes()
	text, err := os.ReadFile(filepath.Join(root, readmeFile))
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	table, notes := readmeTable(shown, runs)
	r.Notes = append(r.Notes, notes...)
	if r.Files[readmeFile], err = splice(text, table); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Write writes the files, and removes plots that are of no record.
func (r *Report) Write() error {
	old, err := filepath.Glob(filepath.Join(r.root, recordsDir, "*.svg"))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, path := range old {
		if _, made := r.Files[recordsDir+"/"+filepath.Base(path)]; made {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	for name, text := range r.Files {
		if err := os.WriteFile(filepath.Join(r.root, name), text, 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// Differences says which files on disk are not what the report has.
func (r *Report) Differences() ([]string, error) {
	var out []string
	for name, want := range r.Files {
		got, err := os.ReadFile(filepath.Join(r.root, name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			out = append(out, name+" is not there")
		case err != nil:
			return nil, fmt.Errorf("report: %w", err)
		case !bytes.Equal(got, want):
			out = append(out, name+" is not what cmd/report makes of the records")
		}
	}
	plots, err := filepath.Glob(filepath.Join(r.root, recordsDir, "*.svg"))
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	for _, path := range plots {
		if name := recordsDir + "/" + filepath.Base(path); r.Files[name] == nil {
			out = append(out, name+" is of no record")
		}
	}
	slices.Sort(out)
	return out, nil
}

// load reads all records of a directory, in the order of the page.
func load(dir string) ([]*record.Run, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	place := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(names, func(a, b string) int { return place(a) - place(b) }) // Glob sorts by name
	var runs []*record.Run
	for _, name := range names {
		run, err := record.Read(dir, name)
		switch {
		case err != nil:
			return nil, err
		case run == nil:
			return nil, fmt.Errorf("report: %s.json has gone", name)
		case run.Name != name:
			return nil, fmt.Errorf("report: %s.json is a record of %q", name, run.Name)
		}
		if err := check(run); err != nil {
			return nil, fmt.Errorf("report: %s.json: %w", name, err)
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// check returns what makes a record unfit for the page: without it, cells would
// end up under the wrong heading.
func check(run *record.Run) error {
	if run.Title == "" {
		return errors.New("it has no title")
	}
	for _, t := range run.Tables {
		if len(t.Columns) == 0 {
			return fmt.Errorf("table %s has no columns", t.ID)
		}
		for _, row := range t.Rows {
			if len(row.Cells)+1 != len(t.Columns) {
				return fmt.Errorf("table %s: row %q has %d cells for %d columns after the first", t.ID, row.Name, len(row.Cells), len(t.Columns)-1)
			}
		}
	}
	seen := map[string]bool{}
	for _, p := range run.Plots {
		file := plotFile(run, p)
		if p.ID == "" || strings.ContainsAny(p.ID, "/ ") || seen[file] {
			return fmt.Errorf("plot %q: an ID is the name of a file, and there is one of each", p.ID)
		}
		seen[file] = true
	}
	return nil
}

func find(runs []*record.Run, name string) *record.Run {
	for _, r := range runs {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// plotFile is the name of the file of a plot.
func plotFile(run *record.Run, p record.Plot) string {
	return run.Name + "-" + strings.TrimPrefix(p.ID, run.Name+"-") + ".svg"
}

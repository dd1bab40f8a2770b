package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/judge"
)

// Names in the directory of documentation.
const (
	pageName = "consistency.md"
	plotName = "consistency.svg"
	records  = "consistency" // directory of the JSON files
)

// Write adds a run to a directory of documentation: its record replaces that of
// the same backend and server, the plot shows this run, and the page is made
// anew from all records. The run needs what [Plot] needs; the verdicts are those
// of its phases, in their order. An empty version is that of the build, which
// "go run" does not know: pass that of git describe.
func Write(dir string, run *history.Run, verdicts []judge.Verdict, version string) error {
	rec := NewRecord(run, verdicts, version)
	if err := save(dir, rec); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var plot bytes.Buffer
	if err := Plot(&plot, run, verdicts); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, plotName), plot.Bytes(), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return Render(dir)
}

// Render makes the page in a directory of documentation from the records there.
// It leaves the plot as it is.
func Render(dir string) error {
	all, err := load(dir)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var page bytes.Buffer
	if err := Page(&page, all); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, pageName), page.Bytes(), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func save(dir string, rec Record) error {
	raw, err := json.MarshalIndent(rec, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, records), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, records, rec.slug()+".json"), append(raw, '\n'), 0o644)
}

// load reads all records, the newest first.
func load(dir string) ([]Record, error) {
	files, err := filepath.Glob(filepath.Join(dir, records, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("there is no run in " + filepath.Join(dir, records))
	}
	var all []Record
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var rec Record
		if err := json.Unmarshal(raw, &rec); err != nil {
			return nil, fmt.Errorf("%s is no record of a run: %w", file, err)
		}
		all = append(all, rec)
	}
	slices.SortFunc(all, func(a, b Record) int {
		return cmp.Or(b.Date.Compare(a.Date), cmp.Compare(a.slug(), b.slug()))
	})
	return all, nil
}

package bench

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/report"
)

// The page, its plots and the table in README.md are what cmd/report makes of
// the records; without records there is none of them. All of them are outside of
// this module, so that go test does not notice by itself when they change: what
// it has cached is of no use after that, -count=1 is.
func TestReportIsOfTheRecords(t *testing.T) {
	r, err := report.Make("..")
	if errors.Is(err, report.ErrNoRecords) {
		if _, err := os.Stat("../docs/benchmarks.md"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("docs/benchmarks.md is there without a record: %v", err)
		}
		readme := must(os.ReadFile("../README.md"))(t)
		if !strings.Contains(string(readme), "\n<!-- bench: begin -->\n<!-- bench: end -->\n") {
			t.Error("README.md has something between the marks, or no marks, without a record")
		}
		return
	}
	ok(t, err)
	for _, n := range r.Notes {
		if strings.HasPrefix(n, "README") {
			t.Errorf("%s: what README.md shows is listed in bench/internal/report/shown.go", n)
		}
	}
	for _, d := range must(r.Differences())(t) {
		t.Error(d + ": run make bench-report")
	}
}

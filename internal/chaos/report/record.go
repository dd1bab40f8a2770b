package report

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/judge"
)

// Record is what is kept of a run: verdicts, no samples.
type Record struct {
	Backend, Server string // "local", "redis-server 7.0.15"
	Seed            uint64
	Command         string
	Version         string // of the library
	Date            time.Time
	Took            time.Duration
	Short           bool
	Instances       int
	Machine         Machine
	// Rows are the verdicts of each kind of phase, in the order in which they
	// first came: "combination 1" and "combination 2" are one kind.
	Rows  []judge.Verdict
	Total judge.Verdict
	// Result is the line that the run ended with.
	Result     string
	Violations []string
}

// Machine is where a run took place.
type Machine struct {
	Cores                    int
	OS, Arch, Kernel, GoVers string
}

// NewRecord sums up a run with the verdicts of its phases. An empty version is
// that of the build; see [Version].
func NewRecord(run *history.Run, verdicts []judge.Verdict, version string) Record {
	total := judge.Sum("total", verdicts)
	return Record{
		Backend: run.Backend, Server: run.Server, Seed: run.Seed, Command: run.Command,
		Version: cmp.Or(version, Version()), Date: run.Date, Took: run.Ended.Sub(run.Began),
		Short: run.Short, Instances: run.Instances, Machine: thisMachine(),
		Rows: rowsOf(verdicts), Total: total, Result: total.Result(run.Backend, run.Seed), Violations: violations(verdicts),
	}
}

// violations returns those of all phases, which say in which they were found.
func violations(verdicts []judge.Verdict) (all []string) {
	for _, v := range verdicts {
		all = append(all, v.Violations()...)
	}
	return all
}

// rowsOf sums up the phases of each kind.
func rowsOf(verdicts []judge.Verdict) []judge.Verdict {
	var names []string
	byKind := map[string][]judge.Verdict{}
	for _, v := range verdicts {
		k := kind(v.Name)
		if byKind[k] == nil {
			names = append(names, k)
		}
		byKind[k] = append(byKind[k], v)
	}
	var rows []judge.Verdict
	for _, name := range names {
		row := judge.Sum(name, byKind[name])
		row.What = byKind[name][0].What
		rows = append(rows, row)
	}
	return rows
}

// kind is the name of a phase without its number.
func kind(name string) string {
	return strings.TrimRight(strings.TrimRight(name, "0123456789"), " ")
}

// Version returns the version of the library in this build: that of the module
// if there is one, else the revision of the working tree, else "unknown".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision != "" {
		return revision + dirty
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "unknown"
}

func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, GoVers: runtime.Version()}
	// Systems without this file have no kernel version in the report.
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	return m
}

// slug is the file name of a record.
func (r Record) slug() string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-':
			return c
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return '-'
	}, r.Backend+"-"+r.Server)
}

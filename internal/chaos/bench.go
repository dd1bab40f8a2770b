//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/judge"
	"github.com/fleetcache/fleetcache/internal/chaos/report"
)

// bench is where phases are judged as they end.
type bench struct {
	command  *command
	verdicts []judge.Verdict
	evidence string // a directory for facts and drawings
}

// newBench makes the directory for evidence, which tidy removes if there is none.
func newBench(c *command) (*bench, error) {
	dir, err := os.MkdirTemp("", fmt.Sprintf("chaos-evidence-%d-", c.Seed))
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	return &bench{command: c, evidence: dir}, nil
}

// tidy removes the directory for evidence if nothing is in it; one that has
// something cannot be removed this way.
func (b *bench) tidy() { _ = os.Remove(b.evidence) }

// phase judges a phase, says what it found, and keeps the facts of one that
// broke a promise.
func (b *bench) phase(p *history.Phase) {
	v := judge.Phase(p, judge.Options{Drawings: b.evidence})
	b.verdicts = append(b.verdicts, v)
	b.command.Log("  reads %d, %d stale, of these p99 %v max %v, writes %d (%d failed), loads per window %d, convergence %v, versions lost %d, forgotten %d",
		v.Reads, v.Stale, v.StaleP99, v.Max, v.WritesAcked, v.Failed.Total, v.MaxLoads, v.Convergence, v.Lost.Versions, v.Forgotten.Versions)
	if c := v.Calls; b.command.Invalidation {
		b.command.Log("  invalidations %d (%d of groups), replayed %d, resent %d, gaps %d of %d injected, lost %d, by replication %d",
			c.Total, c.Grouped, c.Replayed, c.Resent, c.GapsDetected, c.GapsInjected, c.Missed, c.LostByReplication)
	}
	violations := v.Violations()
	for _, text := range violations {
		b.command.Log("  VIOLATION %s", text)
	}
	if len(violations) > 0 {
		b.command.Log("  facts and findings: %s", b.keep(p, v))
	}
	forget(p)
}

// forget drops what is only needed to judge, so that a run may take hours.
func forget(p *history.Phase) {
	p.Loads, p.Fills, p.Ops, p.Writes, p.Regressions, p.Peeks = nil, nil, nil, nil, nil, nil
}

// keep writes the facts of a phase to a file, and returns its name, or why there
// is none.
func (b *bench) keep(p *history.Phase, v judge.Verdict) string {
	return keep(b.evidence, p.Name, struct {
		Findings []judge.Finding
		*history.Phase
	}{v.Findings, p})
}

// keep writes what is known of a phase to a file, as JSON.
func keep(dir, phase string, facts any) string {
	text, err := json.MarshalIndent(facts, "", " ")
	if err != nil {
		return err.Error()
	}
	file := filepath.Join(dir, strings.ReplaceAll(phase, " ", "-")+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err.Error()
	}
	return file
}

// result returns the line that the run ends with.
func (b *bench) result(r *history.Run) string {
	total := judge.Sum("total", b.verdicts)
	switch {
	case !b.command.Invalidation:
		return total.Result(r.Backend, r.Seed)
	case b.command.Broadcast:
		return total.InvalidationResult("broadcast", r.Backend, r.Seed)
	}
	return total.InvalidationResult("tracking", r.Backend, r.Seed)
}

// end prints the result of the run, writes the report, and returns an error if a
// promise was broken.
func (b *bench) end(r *history.Run) error {
	b.tidy()
	if b.command.out != "" {
		if err := report.Write(b.command.out, r, b.verdicts, b.command.version); err != nil {
			return err
		}
	}
	fmt.Println(b.result(r))
	var violations []string
	for _, v := range b.verdicts {
		violations = append(violations, v.Violations()...)
	}
	if len(violations) > 0 {
		return errors.New("chaos: promises were broken:\n" + strings.Join(violations, "\n"))
	}
	return nil
}

//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fleetcache/fleetcache/internal/chaos/locks"
)

// lockBench is where phases of locks are judged as they end.
type lockBench struct {
	command  *command
	verdicts []locks.Verdict
	evidence string // a directory for facts
}

// runLocks runs the phases of locks, prints the result, and returns an error if
// a promise was broken.
func runLocks(ctx context.Context, c *command) error {
	dir, err := os.MkdirTemp("", fmt.Sprintf("chaos-evidence-%d-", c.Seed))
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	defer func() { _ = os.Remove(dir) }() // fails if there is something in it
	b := &lockBench{command: c, evidence: dir}
	err = locks.Run(ctx, locks.Config{
		Topology: c.Topology, Seed: c.Seed, Short: c.Short, Only: c.Only, Processes: c.processes, Votes: c.votes,
		Mutant: c.Mutant, Log: c.Log, Done: b.phase,
	})
	if err != nil {
		return fmt.Errorf("%w; seed %d", err, c.Seed)
	}
	return b.end()
}

// phase judges a phase, says what it found, and keeps the facts of one that
// broke a promise.
func (b *lockBench) phase(p *locks.Phase) {
	v := locks.Judge(p)
	b.verdicts = append(b.verdicts, v)
	lease, explained := v.Count(locks.Lease)
	redlock, _ := v.Count(locks.Redlock)
	b.command.Log("  locks %d and %d, lost %d, overlaps of Redlock %d, of leases %d (%d explained), writes refused %d (%d late), leaked %d",
		v.Locks[locks.Lease], v.Locks[locks.Redlock], v.Lost, redlock, lease, explained, v.Refused, v.LateRefused, v.Leaked)
	const shown = 3
	for i, o := range v.Overlaps {
		if i == shown {
			b.command.Log("  and %d more", len(v.Overlaps)-i)
			break
		}
		b.command.Log("  overlap of %v", o)
	}
	for _, text := range v.Violations() {
		b.command.Log("  VIOLATION %s", text)
	}
	if len(v.Violations()) > 0 {
		b.command.Log("  facts: %s", keep(b.evidence, p.Name, struct {
			Violations []string
			*locks.Phase
		}{v.Violations(), p}))
	}
}

// end prints the result, and returns an error if a promise was broken.
func (b *lockBench) end() error {
	total := locks.Sum(b.verdicts)
	fmt.Println(total.Result(b.command.processes, b.command.Seed))
	if all := total.Violations(); len(all) > 0 {
		return errors.New("chaos: promises were broken:\n" + strings.Join(all, "\n"))
	}
	return nil
}

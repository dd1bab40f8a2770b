//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/locks"
)

// stays is a phase of two stays under one lock of Redlock, of which the first
// ends at 200, and of one write that the fence refused.
func stays(name string, second history.Time) *locks.Phase {
	return &locks.Phase{
		Name: name,
		Stays: []locks.Stay{
			{ID: 1, Process: 1, Kind: locks.Redlock, Name: "a", Entry: 100, Exit: 200, Until: 250},
			{ID: 2, Process: 2, Kind: locks.Redlock, Name: "a", Entry: second, Exit: 300, Until: 350},
			{ID: 3, Process: 2, Kind: locks.Lease, Name: "n", Token: 2, Since: 1, Entry: 2, Exit: 3, Until: 4},
			{ID: 4, Process: 1, Kind: locks.Lease, Name: "n", Token: 1, Entry: 1, Exit: 2, Until: 2},
		},
		Writes: []locks.Write{{Stay: 3, Name: "n", Token: 2, Accepted: true}, {Stay: 4, Name: "n", Token: 1}},
	}
}

func TestLockBench(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		second history.Time
		broken bool
	}{{"one after the other", 200, false}, {"at once", 199, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd, err := parse([]string{"-locks", "-seed", "7"})
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			cmd.Log = func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) }
			b := &lockBench{command: cmd, evidence: t.TempDir()}
			b.phase(stays("some phase", c.second))
			if err := b.end(); (err != nil) != c.broken {
				t.Errorf("end = %v, want an error: %t", err, c.broken)
			}
			text, err := os.ReadFile(filepath.Join(b.evidence, "some-phase.json"))
			if (err == nil) != c.broken || c.broken && !strings.Contains(string(text), "overlap") {
				t.Errorf("facts: %v %s", err, text)
			}
			if strings.Contains(said.String(), "VIOLATION") != c.broken {
				t.Errorf("said %s", said.String())
			}
		})
	}
}

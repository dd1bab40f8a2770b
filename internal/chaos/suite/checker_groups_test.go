//go:build unix

package suite

import (
	"regexp"
	"testing"

	"github.com/fleetcache/fleetcache/internal/chaos/judge"
)

// TestCheckerSeesGroups is TestCheckerSees for tags, namespaces and the bus.
func TestCheckerSeesGroups(t *testing.T) {
	stale := func(v judge.Verdict) int { return v.StaleBeyondBound }
	staleOrOwn := func(v judge.Verdict) int { return v.StaleBeyondBound + v.OwnWritesMissed }
	for _, c := range []struct {
		mutant, only string
		broadcast    bool
		broken       func(judge.Verdict) int
	}{
		{"tokens-never-compared", "^no fault$", false, staleOrOwn},
		{"tokens-never-doubted", "^no fault$", false, stale},
		{"guard-never-asked", "^no fault$", false, staleOrOwn},
		{"namespace-read-after-the-load", "^no fault$", false, staleOrOwn},
		{"nothing-sent-again", "^lose writes$", false, func(v judge.Verdict) int { return v.Lost.Late }},
		{"gaps-ignored", "^lost messages$", true, stale},
	} {
		t.Run(c.mutant, func(t *testing.T) {
			for seed := range uint64(tries) {
				all := judged(t, Config{
					Mutant: c.mutant, Only: regexp.MustCompile(c.only), Seed: seed + 2, Invalidation: true, Broadcast: c.broadcast,
				})
				if len(all) != 1 {
					t.Fatalf("%d phases, want 1", len(all))
				}
				if n := c.broken(all[0]); n > 0 {
					t.Logf("noticed %d times, %d invalidations missed", n, all[0].Calls.Missed)
					return
				}
				t.Logf("nothing was noticed: %d reads, %d stale, at most %v", all[0].Reads, all[0].Stale, all[0].Max)
			}
			t.Errorf("nothing was noticed without %s in %d phases", c.mutant, tries)
		})
	}
}

//go:build unix

package suite

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/judge"
)

// verdicts runs some phases on local servers, and judges them.
func verdicts(t *testing.T, mutant, only string, late bool, seed uint64) []judge.Verdict {
	t.Helper()
	return judged(t, Config{Mutant: mutant, Only: regexp.MustCompile(only), LateClients: late, Seed: seed})
}

// judged is verdicts of any run.
func judged(t *testing.T, cfg Config) (out []judge.Verdict) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a cluster and several processes for some seconds")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cfg.Topology = clustertest.Topology{Primaries: 3, ReplicasPerPrimary: 1, Backend: clustertest.Local}
	cfg.Short, cfg.Log = true, t.Logf
	cfg.Done = func(p *history.Phase) { out = append(out, judge.Phase(p, judge.Options{})) }
	_, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range out {
		for _, f := range v.Violations() {
			t.Log(f)
		}
	}
	return out
}

// tries is how many phases a mutant gets to show itself. What it breaks is a race
// or needs a value that happens to be old, so one short phase may pass.
const tries = 4

// TestCheckerSees takes one mechanism of the library away at a time, and wants
// the checker to report what then goes wrong. Without that, a run with no
// violation would say nothing.
func TestCheckerSees(t *testing.T) {
	for _, c := range []struct {
		name, mutant, only string
		late               bool
		broken             func(judge.Verdict) int
	}{
		{"a fence that is open", "fill-without-fence", "^no fault$", false,
			func(v judge.Verdict) int { return v.StaleFills }},
		{"a lease that is granted to all", "acquire-grants-to-all", "^no fault$", false,
			func(v judge.Verdict) int { return v.LoadsAboveBound }},
		{"values served whatever was heard of the server", "fresh-ignores-heard", "^blackhole link$", true,
			func(v judge.Verdict) int { return v.StaleBeyondBound }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(tries) {
				all := verdicts(t, c.mutant, c.only, c.late, seed+2)
				if len(all) != 1 {
					t.Fatalf("%d phases, want 1", len(all))
				}
				if c.broken(all[0]) > 0 {
					return
				}
				t.Logf("nothing was noticed without %s: %d reads, %d stale, at most %v", c.mutant, all[0].Reads, all[0].Stale, all[0].Max)
			}
			t.Errorf("nothing was noticed without %s in %d phases", c.mutant, tries)
		})
	}
}

// TestCheckerIsQuiet is the other side: with everything in place there is
// nothing to report.
func TestCheckerIsQuiet(t *testing.T) {
	var err error
	for _, v := range verdicts(t, "", "^(no fault|registers.*|drop clients|kill instance)$", false, 2) {
		for _, f := range v.Violations() {
			err = errors.Join(err, errors.New(f))
		}
		if v.Reads+uint64(v.Linear.Ops) == 0 {
			t.Errorf("phase %s did nothing", v.Name)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

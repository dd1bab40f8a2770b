//go:build unix

package locks

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/rebuilt"
)

// judged runs some phases on local servers, and judges them.
func judged(t *testing.T, mutant, only string, seed uint64) Verdict {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a cluster and several processes for some seconds")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all []Verdict
	err := Run(ctx, Config{
		Topology: clustertest.Topology{Backend: clustertest.Local}, Mutant: mutant, Only: regexp.MustCompile(only), Seed: seed,
		Short: true, Log: t.Logf, Done: func(p *Phase) { all = append(all, Judge(p)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return Sum(all)
}

// TestLocksCheckerSeesABrokenQuorum lets one vote decide, and wants the judge to
// report it without any fault. Without that, a run with no overlap would say
// nothing.
func TestLocksCheckerSeesABrokenQuorum(t *testing.T) {
	v := judged(t, "one-vote-decides", "^no fault$", 2)
	redlock, _ := v.Count(Redlock)
	if lease, _ := v.Count(Lease); redlock == 0 || lease != 0 || v.Leaked != 0 || len(v.Violations()) == 0 {
		t.Errorf("%d overlaps of Redlock and %d of leases in %v locks, %d leaked, violations %q; want some, and none",
			redlock, lease, v.Locks, v.Leaked, v.Violations())
	}
}

// TestLocksCheckerSeesNodesThatDoNotAbstain lets nodes vote that have forgotten
// their votes, and makes two of three forget.
func TestLocksCheckerSeesNodesThatDoNotAbstain(t *testing.T) {
	const tries = 3 // a holder may extend, and get its votes back, before anybody asks
	for seed := range uint64(tries) {
		v := judged(t, "nobody-abstains", "^two shards$", seed+2)
		if redlock, _ := v.Count(Redlock); redlock > 0 {
			return
		}
	}
	t.Errorf("nothing was noticed in %d phases", tries)
}

// TestLocksCheckerSeesTokensThatRepeat lets tokens grow by the counter alone,
// which is lost with the lock. A second holder then has the token of the first.
func TestLocksCheckerSeesTokensThatRepeat(t *testing.T) {
	const tries = 3 // a shard may be found out to have lost a lock before it grants it anew
	for seed := range uint64(tries) {
		if v := judged(t, "tokens-without-the-clock", "^lose locks$", seed+2); v.Disorder > 0 {
			return
		}
	}
	t.Errorf("nothing was noticed in %d phases", tries)
}

// TestLocksCheckerIsQuiet is the other side: without faults, and with a holder
// that is frozen, there is nothing to report.
func TestLocksCheckerIsQuiet(t *testing.T) {
	v := judged(t, "", "^(no fault|freeze holder)$", 2)
	if len(v.Overlaps) != 0 || len(v.Violations()) != 0 {
		t.Errorf("overlaps %v, violations %q", v.Overlaps, v.Violations())
	}
	if v.Locks[Lease] == 0 || v.Locks[Redlock] == 0 || v.Refused == 0 || v.Lost == 0 {
		t.Errorf("%v locks, %d lost, %d writes refused: nothing was tried", v.Locks, v.Lost, v.Refused)
	}
}

func TestMutantsAreInTheCode(t *testing.T) {
	t.Parallel()
	for _, m := range ours {
		text, err := os.ReadFile(filepath.Join(rebuilt.Library(), m.File))
		if err != nil {
			t.Error(err)
		} else if n := strings.Count(string(text), m.Old); n != 1 {
			t.Errorf("%s: its text is %d times in %s, want once", m.Name, n, m.File)
		}
	}
	if _, err := findMutant("no such"); err == nil {
		t.Error("a mutant that does not exist was found")
	}
}

// What a phase draws does not depend on which others are run, and a short run
// has no phase that the full one lacks.
func TestPlan(t *testing.T) {
	t.Parallel()
	all := plan(Config{})
	names := map[string]int{}
	for i, p := range all {
		if names[p.name] != 0 || p.number != i+1 {
			t.Errorf("phase %d is %q with number %d, and there are others of that name: %d", i, p.name, p.number, names[p.name])
		}
		names[p.name] = p.number
	}
	short := plan(Config{Short: true})
	if len(short) == 0 || len(short) >= len(all) {
		t.Errorf("%d of %d phases are short", len(short), len(all))
	}
	for _, p := range append(short, plan(Config{Only: regexp.MustCompile("^two shards$"), Short: true})...) {
		if names[p.name] != p.number {
			t.Errorf("phase %q has number %d, want %d", p.name, p.number, names[p.name])
		}
	}
}

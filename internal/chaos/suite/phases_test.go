//go:build unix

package suite

import (
	"regexp"
	"testing"
)

// TestPhaseIsTheSameAlone: what a phase draws depends on its number and the
// seed, so it must have the same one whatever else is run.
func TestPhaseIsTheSameAlone(t *testing.T) {
	numbers := map[string]int{}
	taken := map[int]string{}
	for _, p := range plan(Config{Seed: 7}) {
		if other, ok := taken[p.number]; ok || p.number == 0 {
			t.Errorf("%s has number %d, as has %q", p.name, p.number, other)
		}
		numbers[p.name], taken[p.number] = p.number, p.name
	}
	short := plan(Config{Seed: 7, Short: true})
	if len(short) < 30 || len(short) >= len(numbers) {
		t.Errorf("%d phases of a short run, %d of a long one", len(short), len(numbers))
	}
	for _, p := range short {
		if p.number != numbers[p.name] {
			t.Errorf("%s of a short run has number %d, want %d", p.name, p.number, numbers[p.name])
		}
	}
	only := plan(Config{Seed: 7, Only: regexp.MustCompile("^(blackhole link|combination 2)$")})
	if len(only) != 2 {
		t.Fatalf("%d phases, want 2", len(only))
	}
	for _, p := range only {
		if p.number != numbers[p.name] {
			t.Errorf("%s alone has number %d, want %d", p.name, p.number, numbers[p.name])
		}
	}
	if a, b := soak(Config{Seed: 7}, 0), soak(Config{Seed: 7}, 1); a.number == b.number || a.what == b.what || taken[a.number] != "" {
		t.Errorf("soaks %+v and %+v", a, b)
	}
}

// TestInvalidationPhases: those of both modes have the same numbers, and the bus
// has phases of its own.
func TestInvalidationPhases(t *testing.T) {
	tracking := plan(Config{Seed: 7, Invalidation: true})
	broadcast := plan(Config{Seed: 7, Invalidation: true, Broadcast: true})
	if len(tracking) < 10 || len(broadcast) != len(tracking)+2 {
		t.Errorf("%d phases with tracking, %d with the bus", len(tracking), len(broadcast))
	}
	for i, p := range broadcast {
		if !p.groups || p.number != i+1 || i < len(tracking) && tracking[i].name != p.name {
			t.Errorf("phase %d of the bus is %q with number %d, groups: %v", i, p.name, p.number, p.groups)
		}
	}
}

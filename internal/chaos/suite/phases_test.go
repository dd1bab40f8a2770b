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

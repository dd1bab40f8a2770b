//go:build unix

package suite

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/fleetcache/fleetcache/internal/chaos/rebuilt"
	"github.com/fleetcache/fleetcache/internal/mutate/mutants"
)

// A process' wall clock cannot be set without setting the machine's. So the
// instance with the wrong clock is this program built again, with a time.Now
// that is a quarter of an hour fast, then as slow, in turns of two seconds.
const (
	rightClock = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {\n\t\treturn Time{uint64(nsec), sec + unixToInternal, Local}\n\t}\n\tmono -= startNano\n"
	wrongLines = "\tif mono/2e9%2 == 0 {\n\t\tsec += 900\n\t} else {\n\t\tsec -= 900\n\t}\n"
)

// buildWithWrongClock builds the program in dir and returns its path.
func buildWithWrongClock(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("chaos: the wrong clock needs the go command: %w", err)
	}
	m := mutants.Mutant{Name: "wrong clock", File: "src/time/time.go", Old: rightClock, New: rightClock + wrongLines}
	return rebuilt.Program(ctx, m, strings.TrimSpace(string(root)), dir)
}

// buildMutant builds the program without a mechanism of the library.
func buildMutant(ctx context.Context, name, dir string) (string, error) {
	m, err := findMutant(name)
	if err != nil {
		return "", fmt.Errorf("chaos: %w", err)
	}
	return rebuilt.Program(ctx, m, rebuilt.Library(), dir)
}

// wrongClock lets the instance with the wrong clock work for a while.
func wrongClock(ctx context.Context, e *env) error {
	s := span{detail: fmt.Sprintf("instance %d, 15 minutes fast, then slow, every 2 s", e.victim)}
	return e.during(ctx, "wrong clock", s, func() error { return nil }, 4*e.bound, nil)
}

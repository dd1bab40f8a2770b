//go:build unix

package suite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

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
	return build(ctx, m, strings.TrimSpace(string(root)), dir)
}

// buildMutant builds the program without a mechanism of the library.
func buildMutant(ctx context.Context, name, dir string) (string, error) {
	m, err := findMutant(name)
	if err != nil {
		return "", fmt.Errorf("chaos: %w", err)
	}
	return build(ctx, m, filepath.Dir(filepath.Dir(moduleDir())), dir)
}

// moduleDir is where the sources of this module are.
func moduleDir() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(here))
}

// build builds the program in a new directory below dir, with a file below root
// changed, and returns its path. It needs the go command and the sources, as
// `go run` has them.
func build(ctx context.Context, m mutants.Mutant, root, dir string) (string, error) {
	dir, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("chaos: %w", err)
	}
	overlay, err := m.Overlay(root, dir)
	if err != nil {
		return "", fmt.Errorf("chaos: %s: %w", m.Name, err)
	}
	program := filepath.Join(dir, "chaos")
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", program, ".")
	cmd.Dir = moduleDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("chaos: build the program with %s in %s: %w\n%s", m.Name, cmd.Dir, err, out)
	}
	return program, nil
}

// wrongClock lets the instance with the wrong clock work for a while.
func wrongClock(ctx context.Context, e *env) error {
	s := span{detail: fmt.Sprintf("instance %d, 15 minutes fast, then slow, every 2 s", e.victim)}
	return e.during(ctx, "wrong clock", s, func() error { return nil }, 4*e.bound, nil)
}

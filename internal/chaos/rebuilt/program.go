package rebuilt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/fleetcache/fleetcache/internal/mutate/mutants"
)

// Module is where the sources of the suite are.
func Module() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(here))
}

// Library is where the sources of the library are.
func Library() string { return filepath.Dir(filepath.Dir(Module())) }

// Program builds the program in a new directory below dir, with a file below
// root changed, and returns its path. It needs the go command and the sources,
// as `go run` has them.
func Program(ctx context.Context, m mutants.Mutant, root, dir string) (string, error) {
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
	cmd.Dir = Module()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("chaos: build the program with %s in %s: %w\n%s", m.Name, cmd.Dir, err, out)
	}
	return program, nil
}

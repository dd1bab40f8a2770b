// Command mutate shows that the tests of this module can fail: it breaks one
// mechanism at a time and runs the tests that are there for it.
//
//	go run ./internal/mutate [-run regexp] [-v]
//
// For each mutant of the table it prints its name, its file, and the test
// that failed ("killed by"), or SURVIVED. It exits with status 1 if one
// survived, if the text it replaces is not in its file any more, or if the
// mutated code does not compile. The source tree is not touched: the mutated
// file is laid over it with go test -overlay.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/mutate/mutants"
)

// limit bounds the run of one mutant. A test that hangs is a test that fails.
const limit = 3 * time.Minute

func main() {
	run := flag.String("run", "", "run only mutants whose name matches `regexp`")
	verbose := flag.Bool("v", false, "print the output of the tests")
	flag.Parse()
	re, err := regexp.Compile(*run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	root, err := moduleRoot()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	bad, ran := 0, 0
	for _, m := range mutants.All {
		if !re.MatchString(m.Name) {
			continue
		}
		ran++
		began := time.Now()
		by, out, err := try(m, root)
		took := time.Since(began).Round(100 * time.Millisecond)
		switch {
		case err != nil:
			bad++
			fmt.Printf("%-28s %-34s BROKEN: %v\n", m.Name, m.File, err)
		case by == "":
			bad++
			fmt.Printf("%-28s %-34s SURVIVED %s in %v\n", m.Name, m.File, m.Tests, took)
		default:
			fmt.Printf("%-28s %-34s killed by %s in %v\n", m.Name, m.File, by, took)
		}
		if *verbose {
			fmt.Println(out)
		}
	}
	fmt.Printf("%d mutants, %d not killed\n", ran, bad)
	if bad > 0 || ran == 0 {
		os.Exit(1)
	}
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// try runs the tests of a mutant. It returns the first test that failed, or
// "" if none did, and the output.
func try(m mutants.Mutant, root string) (by, out string, _ error) {
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(dir)
	overlay, err := m.Overlay(root, dir)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-run", m.Tests, "-count=1",
		"-failfast", "-timeout", "90s", "-v", m.Pkg)
	cmd.Dir = root
	b, err := cmd.CombinedOutput()
	out = string(b)
	if err == nil {
		if strings.Contains(out, "no tests to run") {
			return "", out, fmt.Errorf("no test of %s matches %s", m.Pkg, m.Tests)
		}
		return "", out, nil
	}
	if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
		return "", out, fmt.Errorf("does not compile:\n%s", out)
	}
	return failed(out), out, nil
}

var failLine = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// failed returns the name of the deepest test that failed first.
func failed(out string) string {
	best := ""
	for _, m := range failLine.FindAllStringSubmatch(out, -1) {
		if best == "" || strings.HasPrefix(m[1], best+"/") {
			best = m[1]
		}
	}
	switch {
	case best != "":
		return best
	case strings.Contains(out, "panic: test timed out"):
		return "the time limit"
	case strings.Contains(out, "panic:") || strings.Contains(out, "fatal error:"):
		return "a crash of the test process"
	}
	return "a failure without a test's name"
}

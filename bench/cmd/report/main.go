// Command report makes docs/benchmarks.md, its plots and the table in README.md
// from the records in docs/benchmarks, says what it has left out, and ends with
// a line that begins with RESULT.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fleetcache/fleetcache/bench/internal/report"
)

func main() {
	root := flag.String("root", "", "the repository; the one that the working directory is in if empty")
	check := flag.Bool("check", false, "write nothing, and fail if the files are not what would be written")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	if root == "" {
		var err error
		if root, err = repository(); err != nil {
			return err
		}
	}
	r, err := report.Make(root)
	if err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Println("left out:", n)
	}
	if check {
		differ, err := r.Differences()
		if err != nil {
			return err
		}
		if len(differ) > 0 {
			return fmt.Errorf("report: %d files differ, the first: %s", len(differ), differ[0])
		}
	} else if err := r.Write(); err != nil {
		return err
	}
	fmt.Printf("RESULT files=%d left_out=%d\n", len(r.Files), len(r.Notes))
	return nil
}

// repository returns the root of the repository that the working directory is
// in.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("report: %s is in no repository: name it with -root", dir)
		}
	}
}

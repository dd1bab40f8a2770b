// Package leak finds goroutines that outlive the tests that began them.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Patience is how long goroutines that are on their last lines get. Clients of
// rueidis close their connections some seconds late.
const Patience = 15 * time.Second

// Goroutines returns the stacks in which a function's name contains of, those
// of running tests left out, once there are none or wait is over.
func Goroutines(of string, wait time.Duration) (left []string) {
	for end := time.Now().Add(wait); ; time.Sleep(time.Millisecond) {
		left = nil
		for _, g := range stacks() {
			if strings.Contains(g, of) && !strings.Contains(g, "testing.tRunner") && !strings.Contains(g, "main.main") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || !time.Now().Before(end) {
			return left
		}
	}
}

func stacks() []string {
	for buf := make([]byte, 1<<20); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return strings.Split(string(buf[:n]), "\n\n")
		}
	}
}

// Main runs the tests of a package, and then stop if that is not nil. It ends
// the process, with 1 if goroutines of that name outlived the tests.
func Main(m *testing.M, of string, stop func()) {
	code := m.Run()
	if stop != nil {
		stop()
	}
	if left := Goroutines(of, Patience); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines outlived the tests:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

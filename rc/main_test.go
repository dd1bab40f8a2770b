package rc_test

import (
	"fmt"
	"os"
	"testing"
)

// TestMain fails the package if goroutines of this module outlive its tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leaked(leakDeadline); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines of this module outlived the tests:\n\n", len(left))
		for _, g := range left {
			fmt.Fprintf(os.Stderr, "%s\n\n", g)
		}
		code = 1
	}
	os.Exit(code)
}

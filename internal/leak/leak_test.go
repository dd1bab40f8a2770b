package leak

import "testing"

const here = "github.com/fleetcache/fleetcache/internal/leak"

// A goroutine that is left behind is seen, and one that has ended is not.
func TestGoroutines(t *testing.T) {
	if left := Goroutines(here, 0); len(left) != 0 {
		t.Fatalf("left before the test: %v", left)
	}
	stop := make(chan struct{})
	for range 100 { // more stacks than the first buffer would need not hold
		go func() { <-stop }()
	}
	if left := Goroutines(here, 0); len(left) != 100 {
		t.Errorf("%d goroutines with 100 left behind", len(left))
	}
	if left := Goroutines("github.com/nobody/", 0); len(left) != 0 {
		t.Errorf("goroutines of nobody: %v", left)
	}
	close(stop)
	if left := Goroutines(here, Patience); len(left) != 0 {
		t.Errorf("left after they have ended: %v", left)
	}
}

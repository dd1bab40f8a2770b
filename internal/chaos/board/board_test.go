//go:build unix

package board

import (
	"errors"
	"path/filepath"
	"testing"
)

// open2 maps one board twice, as two processes do.
func open2(t *testing.T) (a, b *Board) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "board")
	for _, p := range []**Board{&a, &b} {
		var err error
		if *p, err = Open(path, 3, 2); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := (*p).Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return a, b
}

func TestSuperseded(t *testing.T) {
	a, b := open2(t)
	for want := uint64(1); want <= 4; want++ {
		if v, err := a.Commit(1); v != want || err != nil {
			t.Fatalf("Commit = %d, %v; want %d", v, err, want)
		}
	}
	b.Acknowledge(1, 4, 400) // told out of order
	b.Acknowledge(1, 3, 500)
	b.Acknowledge(1, 3, 600) // too late to count
	b.Acknowledge(1, 1, 100)
	for v, want := range []int64{100, 400, 400, 400, 0} {
		if got := int64(a.Superseded(1, uint64(v))); got != want {
			t.Errorf("Superseded(%d) = %d, want %d", v, got, want)
		}
	}
	if got := a.Acknowledged(1, 3); got != 500 {
		t.Errorf("Acknowledged(3) = %d, want 500", got)
	}
	if a.Current(0) != 0 || a.Current(2) != 0 || a.Superseded(0, 0) != 0 || a.Superseded(2, 0) != 0 {
		t.Error("another key has changed")
	}
}

func TestSeenGrowsOnly(t *testing.T) {
	a, b := open2(t)
	for _, v := range []uint64{2, 5, 3} {
		a.See(1, 2, v)
	}
	for instance, want := range []uint64{0, 5} {
		if got := b.Seen(instance, 2); got != want {
			t.Errorf("Seen(%d) = %d, want %d", instance, got, want)
		}
	}
}

func TestCommitEnds(t *testing.T) {
	a, _ := open2(t)
	for range Versions {
		if _, err := a.Commit(2); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := a.Commit(2); !errors.Is(err, ErrFull) {
		t.Errorf("Commit = %d, %v; want %v", v, err, ErrFull)
	}
	if a.Acknowledged(2, Versions) != 0 || a.Seen(0, 0) != 0 {
		t.Error("the last version is that of another key")
	}
}

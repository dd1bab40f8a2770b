package envelope

import (
	"errors"
	"math"
	"syscall"
	"testing"
)

// The memory is mapped, not allocated: pages nobody touches cost nothing, while
// the race detector would shadow every byte of a Go slice.
func TestPayloadLimit(t *testing.T) {
	t.Parallel()
	// A variable: as a constant it would not compile where int has 32 bits.
	size := uint64(HeaderSize + MaxPayload + 1)
	if size > math.MaxInt {
		t.Skip("no such slice on this architecture")
	}
	b, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		t.Skipf("cannot map %d bytes: %v", size, err)
	}
	defer syscall.Munmap(b)
	copy(b, Begin(nil, Header{}, "k"))
	if _, err := Finish(b, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("Finish with %d bytes of payload = %v, want ErrLimit", size-HeaderSize, err)
	}
	b = b[:len(b)-1]
	if _, err := Finish(b, 0); err != nil {
		t.Fatalf("Finish with the longest payload = %v", err)
	}
	if _, p, err := Parse(b, "k"); err != nil || uint64(len(p)) != MaxPayload {
		t.Errorf("Parse of the longest payload = %d bytes, %v", len(p), err)
	}
}

package progress

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := &Bar{w: &out, total: 4 * time.Second}
	failure := errors.New("failure")
	if err := b.During("first", time.Second, func() error { return failure }); err != failure {
		t.Errorf("During = %v, want what the part returned", err)
	}
	if err := b.During("second", 3*time.Second, func() error { return nil }); err != nil {
		t.Error(err)
	}
	b.End()
	if got, want := out.String(), "  0% first\n 25% second\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	b := &Bar{total: 10 * time.Second, done: 4 * time.Second}
	got := b.line("part", time.Second)
	for _, want := range []string{strings.Repeat("#", 15) + strings.Repeat(".", 15), " 50% ", "5s left", "part"} {
		if !strings.Contains(got, want) {
			t.Errorf("line = %q, want %q in it", got, want)
		}
	}
	if p := b.percent(time.Hour); p != 100 {
		t.Errorf("a part that takes longer than said is at %v%%", p)
	}
}

// TestTerminal: the line is drawn while the part runs, not after it.
func TestTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := &Bar{w: &out, tty: true, total: time.Second}
	if err := b.During("part", time.Second, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	b.End()
	if got := out.String(); !strings.Contains(got, "part") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("printed %q, want a line that is removed in the end", got)
	}
	var none *Bar
	if err := none.During("part", time.Second, func() error { return nil }); err != nil {
		t.Error(err)
	}
	none.End()
}

//go:build unix

package workers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

// linked returns two ends that call each other, and how to end the second's
// output.
func linked(t *testing.T, serve Serve) (a *Link, end func()) {
	t.Helper()
	ra, wb := io.Pipe()
	rb, wa := io.Pipe()
	a = NewLink(wa, nil)
	b := NewLink(wb, serve)
	done := make(chan struct{}, 2)
	go func() { a.Read(ra); done <- struct{}{} }()
	go func() { b.Read(rb); done <- struct{}{} }()
	end = func() { _ = wb.Close() }
	t.Cleanup(func() {
		end()
		_ = wa.Close()
		<-done
		<-done
	})
	return a, end
}

func TestCall(t *testing.T) {
	t.Parallel()
	a, end := linked(t, func(op string, body json.RawMessage) (any, error) {
		if op != "double" {
			return nil, errors.New("no such call")
		}
		n, err := Decode[int](body)
		return 2 * n, err
	})
	var n int
	if err := a.Call(t.Context(), "double", 21, &n); err != nil || n != 42 {
		t.Errorf("Call = %d, %v; want 42", n, err)
	}
	if err := a.Call(t.Context(), "halve", 1, nil); err == nil || err.Error() != "no such call" {
		t.Errorf("Call = %v, want the error of the other side", err)
	}
	if err := a.Call(t.Context(), "double", "x", &n); err == nil {
		t.Error("a call with a body of the wrong type succeeded")
	}
	end()
	if err := a.Call(t.Context(), "double", 1, &n); !errors.Is(err, ErrGone) {
		t.Errorf("Call = %v after the end, want %v", err, ErrGone)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	a, _ := linked(t, func(string, json.RawMessage) (any, error) { <-release; return nil, nil })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Call(ctx, "x", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Call = %v, want %v", err, context.Canceled)
	}
	if len(a.waiting) != 0 {
		t.Error("the call is still waited for")
	}
}

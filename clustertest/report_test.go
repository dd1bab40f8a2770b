package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fakeTB is a test that can fail without failing anything.
type fakeTB struct {
	failed   bool
	cleanups []func()
	logged   strings.Builder
}

func (f *fakeTB) Helper()                         {}
func (f *fakeTB) Failed() bool                    { return f.failed }
func (f *fakeTB) Cleanup(cleanup func())          { f.cleanups = append(f.cleanups, cleanup) }
func (f *fakeTB) Logf(format string, args ...any) { fmt.Fprintf(&f.logged, format, args...) }

func (f *fakeTB) end() {
	for _, cleanup := range slices.Backward(f.cleanups) {
		cleanup()
	}
	f.cleanups = nil
}

func TestReport(t *testing.T) {
	t.Parallel()
	on := anyLocal(t)
	c := Start(t, on)
	must(t, "Freeze", c.Node(1).Freeze(within(t)))

	passed := &fakeTB{}
	c.Attach(passed)
	must(t, "Kill", c.Node(2).Kill(within(t)))
	passed.end()
	if passed.logged.Len() > 0 {
		t.Errorf("a test that passed has logged:\n%s", &passed.logged)
	}

	outer, inner := &fakeTB{failed: true}, &fakeTB{failed: true}
	c.Attach(outer)
	c.Attach(inner)
	must(t, "FlushAll", c.FlushAll(within(t)))
	_ = c.MoveSlot(within(t), -1, c.Node(0)) // for the timeline
	inner.end()
	got := inner.logged.String()
	for _, want := range []string{
		c.Version(), "flush all", "move slot -1 to " + c.Node(0).String() + ": FAILED",
		"== " + c.Node(0).String() + ", reached at " + c.Node(0).Addr() + ": role [master",
		"CLUSTER NODES:", "myself,master", "Ready to accept connections",
		"== " + c.Node(1).String() + ", reached at " + c.Node(1).Addr() + ": frozen",
		"== " + c.Node(2).String() + ", reached at " + c.Node(2).Addr() + ": killed",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if strings.Contains(got, "kill node") {
		t.Error("the timeline begins before the test")
	}
	if limit := len(c.Nodes()) * (reportedLog + 4<<10); len(got) > limit {
		t.Errorf("the report has %d bytes, want at most %d", len(got), limit)
	}
	if t.Failed() {
		t.Log(got)
	}
	outer.end()
	if outer.logged.Len() > 0 {
		t.Error("the test around the one that failed has reported, too")
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"a\nb\n", 10, "a\nb"},
		{"first\nsecond\nthird\n", 10, "third"},
		{"one long line", 4, "line"},
		{"", 4, ""},
	} {
		if got := tail(tt.text, tt.n); got != tt.want {
			t.Errorf("tail(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.want)
		}
	}
}

// TestStopIsForGood uses a deployment that has been stopped.
func TestStopIsForGood(t *testing.T) {
	t.Parallel()
	on := anyLocal(t)
	on.Mode = Replicated
	c, err := Run(t.Context(), on)
	must(t, "Run", err)
	link := c.Link()
	must(t, "Stop", c.Stop())
	must(t, "Stop again", c.Stop())
	ctx := within(t)
	if err := c.Node(0).Start(ctx); err == nil {
		t.Error("a node can be started after Stop")
	}
	if conn, err := link.DialContext(ctx, "tcp", c.Node(0).Announced()); err == nil {
		_ = conn.Close()
		t.Error("a node can be reached after Stop")
	}
	if !strings.Contains(c.Node(0).Log(), "Ready to accept connections") {
		t.Error("the log cannot be read after Stop")
	}
}

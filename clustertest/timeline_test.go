package clustertest

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTimeline(t *testing.T) {
	t.Parallel()
	l := newTimeline()
	first := l.begin("kill node 1")
	second := l.begin("isolate node 2")
	second(errors.New("no"))
	if e := l.snapshot()[0]; e.Ended != 0 || !strings.HasSuffix(e.String(), "kill node 1 (under way)") {
		t.Errorf("open event: %v", e)
	}
	first(nil)
	events := l.snapshot()
	if len(events) != 2 || events[0].Ended < events[0].Began || events[0].Ended == 0 || events[0].Err != nil {
		t.Errorf("events: %+v", events)
	}
	if s := events[1].String(); events[1].Err == nil || !strings.Contains(s, "isolate node 2: FAILED after ") || !strings.HasSuffix(s, ": no") {
		t.Errorf("failed event: %v", events[1])
	}
}

func TestEventText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		event Event
		want  string
	}{
		{Event{Began: 1500 * time.Millisecond, Ended: 1500*time.Millisecond + 1, What: "heal"}, "    +1.500s heal"},
		{Event{Began: time.Second, Ended: 3 * time.Second, What: "reset"}, "    +1.000s reset (took 2s)"},
	} {
		if got := tt.event.String(); got != tt.want {
			t.Errorf("%+v = %q, want %q", tt.event, got, tt.want)
		}
	}
}

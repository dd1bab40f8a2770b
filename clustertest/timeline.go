package clustertest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Event is one entry of a timeline: something that was done to the cluster.
type Event struct {
	// Began is when it began, counted from the start of the timeline on the
	// monotonic clock.
	Began time.Duration

	// Ended is when it had taken effect or failed, counted likewise. It is 0
	// while the call is under way.
	Ended time.Duration

	// What says what was done to which node, for people.
	What string

	// Err is why it failed; nil if it did not, or is under way.
	Err error
}

// String returns the event in one line, with times in seconds.
func (e Event) String() string {
	text := fmt.Sprintf("%+10.3fs %s", e.Began.Seconds(), e.What)
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%s: FAILED after %s: %v", text, roundMS(e.Ended-e.Began), e.Err)
	case e.Ended == 0:
		return text + " (under way)"
	case e.Ended-e.Began >= time.Millisecond:
		return fmt.Sprintf("%s (took %s)", text, roundMS(e.Ended-e.Began))
	}
	return text
}

func roundMS(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// timeline collects events. The zero value is of no use; see newTimeline.
type timeline struct {
	start time.Time

	mu     sync.Mutex // protects events
	events []Event
}

func newTimeline() *timeline { return &timeline{start: time.Now()} }

// begin enters an event and returns how to end it.
func (t *timeline) begin(what string) (end func(error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := len(t.events)
	t.events = append(t.events, Event{Began: time.Since(t.start), What: what})
	return func(err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		// An event that took no time by the clock has ended all the same.
		t.events[i].Ended, t.events[i].Err = max(time.Since(t.start), 1), err
	}
}

func (t *timeline) snapshot() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Event(nil), t.events...)
}

func (t *timeline) String() string {
	var b strings.Builder
	for _, e := range t.snapshot() {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

package rc_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/invalidation"
	"github.com/fleetcache/fleetcache/rc"
)

// orderShipped is the event of these tests.
type orderShipped struct {
	Order string `json:"order"`
	User  string `json:"user"`
}

// orderPaid says itself what it is called.
type orderPaid struct{ Order string }

func (orderPaid) EventName() string { return "orders.paid" }

type generic[T any] struct{ V T }

// on registers a mapping that must be right.
func on[E any](t *testing.T, m *rc.Manager, f func(E) []rc.Target, opts ...rc.EventOpt) func() {
	t.Helper()
	stop, err := rc.On(m, f, opts...)
	if err != nil {
		t.Fatalf("On: %v", err)
	}
	return stop
}

func TestEmit(t *testing.T) {
	t.Parallel()
	m, s := instance(t, start(t), rc.Options{}, rc.Config[string]{})
	on(t, m, func(e orderShipped) []rc.Target { return []rc.Target{s.Target(e.Order)} })
	on(t, m, func(e orderShipped) []rc.Target { return []rc.Target{rc.TagTarget("user:" + e.User)} })
	stop := on(t, m, func(e orderShipped) []rc.Target { return []rc.Target{s.AllTarget()} })
	stop()
	set(t, s, "1", "one")
	set(t, s, "2", "two")
	if err := s.Set(t.Context(), "3", "three", rc.WithTags("user:7")); err != nil {
		t.Fatal(err)
	}
	if err := rc.Emit(t.Context(), m, orderShipped{"1", "7"}); err != nil {
		t.Errorf("Emit = %v", err)
	}
	cached(t, s, "1", "")
	cached(t, s, "2", "two") // the mapping that was stopped would have cleared it
	cached(t, s, "3", "")
	if st := m.EventStats(); st.Emitted != 1 || st.Failed != 0 {
		t.Errorf("EventStats = %+v, want 1 emitted", st)
	}
}

func TestEmitNothingMapped(t *testing.T) {
	t.Parallel()
	m, s := instance(t, start(t), rc.Options{}, rc.Config[string]{})
	if err := rc.Emit(t.Context(), m, orderShipped{}); !errors.Is(err, rc.ErrNoMapping) {
		t.Errorf("Emit without a mapping = %v, want ErrNoMapping", err)
	}
	on(t, m, func(orderShipped) []rc.Target { return nil })
	if err := rc.Emit(t.Context(), m, orderShipped{}); err != nil {
		t.Errorf("Emit with a mapping to nothing = %v", err)
	}
	if err := rc.Emit(t.Context(), m, &orderShipped{}); !errors.Is(err, rc.ErrNoMapping) {
		t.Errorf("Emit of a pointer = %v, want ErrNoMapping", err)
	}
	_ = s
	m.Close()
	if err := rc.Emit(t.Context(), m, orderShipped{}); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("Emit after Close = %v, want ErrClosed", err)
	}
	if _, err := rc.On(m, func(orderShipped) []rc.Target { return nil }); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("On after Close = %v, want ErrClosed", err)
	}
}

// What cannot be sent is an error, and does not keep the rest from being sent.
func TestEmitBadTargetAndGoodOne(t *testing.T) {
	t.Parallel()
	m, s := instance(t, start(t), rc.Options{}, rc.Config[string]{})
	on(t, m, func(e orderShipped) []rc.Target { return []rc.Target{rc.TagTarget(""), s.Target(e.Order)} })
	set(t, s, "1", "one")
	err := rc.Emit(t.Context(), m, orderShipped{Order: "1"})
	if !errors.Is(err, rc.ErrTarget) || !errors.Is(err, rc.ErrTag) {
		t.Errorf("Emit = %v, want ErrTarget and ErrTag", err)
	}
	cached(t, s, "1", "")
}

func TestEmitFailureIsQueued(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, rc.Options{}, rc.Config[string]{})
	on(t, m, func(e orderShipped) []rc.Target {
		return []rc.Target{s.Target(e.Order), rc.TagTarget("t"), s.AllTarget().Soft()}
	})
	set(t, s, "1", "one")
	srv.Refuse(true)
	err := rc.Emit(t.Context(), m, orderShipped{Order: "1"})
	var ie *rc.InvalidationError
	if !errors.As(err, &ie) || !ie.Queued {
		t.Errorf("Emit without Redis = %v, want a queued InvalidationError", err)
	}
	if st := m.Stats(); st.QueueLen != 3 || m.EventStats().Failed != 1 {
		t.Errorf("QueueLen = %d, Failed = %d, want 3 and 1", st.QueueLen, m.EventStats().Failed)
	}
	srv.Refuse(false)
	if err := m.Flush(t.Context()); err != nil {
		t.Errorf("Flush = %v", err)
	}
	cached(t, s, "1", "")
}

func TestOnRefuses(t *testing.T) {
	t.Parallel()
	m := open(t, start(t), rc.Options{})
	none := func(orderShipped) []rc.Target { return nil }
	for _, tt := range []struct {
		name string
		call func() error
		want string
	}{
		{"nil function", func() error { _, err := rc.On[orderShipped](m, nil); return err }, "needs a function"},
		{"empty name", func() error { _, err := rc.On(m, none, rc.EventName("")); return err }, "has 0 bytes"},
		{"long name", func() error { _, err := rc.On(m, none, rc.EventName(strings.Repeat("x", 257))); return err }, "has 257 bytes"},
		{"zero option", func() error { _, err := rc.On(m, none, rc.EventOpt{}); return err }, "zero EventOpt"},
		{"option of another call", func() error { _, err := rc.On(m, none, rc.StreamMaxLen(1)); return err }, "for AppendEvent"},
		{"no type name", func() error {
			_, err := rc.On(m, func(struct{ A int }) []rc.Target { return nil })
			return err
		}, "no name of its own"},
		{"type parameters", func() error {
			_, err := rc.On(m, func(generic[int]) []rc.Target { return nil })
			return err
		}, "no name of its own"},
		{"interface", func() error { _, err := rc.On(m, func(error) []rc.Target { return nil }); return err }, "interface"},
		{"announce what has no JSON", func() error {
			return rc.Announce(t.Context(), m, make(chan int), rc.EventName("x"))
		}, "encode x"},
		{"append what has no JSON", func() error {
			_, err := rc.AppendEvent(t.Context(), m, "s", func() {}, rc.EventName("x"))
			return err
		}, "encode x"},
		{"append to no stream", func() error { _, err := rc.AppendEvent(t.Context(), m, "", orderShipped{}); return err }, "name of a stream"},
	} {
		if err := tt.call(); !errors.Is(err, rc.ErrEvent) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrEvent with %q", tt.name, err, tt.want)
		}
	}
	on(t, m, func(generic[int]) []rc.Target { return nil }, rc.EventName("g"))
	on(t, m, func(*orderShipped) []rc.Target { return nil })
}

// hear makes a Manager listen, and counts the gaps.
func hear(t *testing.T, m *rc.Manager) (gaps *atomic.Int32) {
	t.Helper()
	gaps = new(atomic.Int32)
	if _, err := m.Listen(t.Context(), func() { gaps.Add(1) }); err != nil {
		t.Fatalf("Listen: %v", err)
	}
	return gaps
}

func TestAnnounce(t *testing.T) {
	t.Parallel()
	srv := start(t)
	a, _ := instance(t, srv, rc.Options{}, rc.Config[string]{})
	b, sb := instance(t, srv, rc.Options{}, rc.Config[string]{})
	on(t, b, func(e orderShipped) []rc.Target { return []rc.Target{sb.Target(e.Order)} })
	on(t, b, func(e orderPaid) []rc.Target { return []rc.Target{sb.Target(e.Order)} })
	on(t, b, func(e *generic[string]) []rc.Target { return []rc.Target{sb.Target(e.V)} }, rc.EventName("g"))
	hear(t, b)
	for id := range 3 {
		set(t, sb, string(rune('1'+id)), "v")
	}
	for _, err := range []error{
		rc.Announce(t.Context(), a, orderShipped{Order: "1"}),
		rc.Announce(t.Context(), a, orderPaid{Order: "2"}),
		rc.Announce(t.Context(), a, generic[string]{"3"}, rc.EventName("g")),
	} {
		if err != nil {
			t.Errorf("Announce = %v", err)
		}
	}
	until(t, "all three to be applied", func() bool { return b.EventStats().Applied == 3 })
	for id := range 3 {
		cached(t, sb, string(rune('1'+id)), "")
	}
	if st := a.EventStats(); st.Announced != 3 || st.Heard != 0 {
		t.Errorf("EventStats of who announced = %+v", st)
	}
}

// What comes over the bus and is no good is counted; what comes after it is
// applied.
func TestListenBadEvents(t *testing.T) {
	t.Parallel()
	m, s := instance(t, start(t), rc.Options{}, rc.Config[string]{})
	on(t, m, func(e orderShipped) []rc.Target {
		switch e.Order {
		case "panic":
			panic("boom")
		case "exit":
			runtime.Goexit()
		}
		return []rc.Target{s.Target(e.Order)}
	})
	hear(t, m)
	set(t, s, "good", "v")
	for _, e := range []invalidation.Event{
		{Kind: invalidation.User, Name: "nobody knows it"},
		{Kind: invalidation.User, Namespace: "the application's", Name: "orderShipped"},
		{Kind: invalidation.Key, Name: "orderShipped"},
		{Kind: invalidation.User, Name: "orderShipped"},
		{Kind: invalidation.User, Name: "orderShipped", Payload: []byte(`{"order":`)},
		{Kind: invalidation.User, Name: "orderShipped", Payload: []byte(`{"order":"panic"}`)},
		{Kind: invalidation.User, Name: "orderShipped", Payload: []byte(`{"order":"exit"}`)},
		{Kind: invalidation.User, Name: "orderShipped", Payload: []byte(`{"order":""}`)},
		{Kind: invalidation.User, Name: "orderShipped", Payload: []byte(`{"order":"good"}`)},
	} {
		if _, err := m.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the last one to be applied", func() bool { return m.EventStats().Applied == 1 })
	until(t, "all of them to be counted", func() bool {
		st := m.EventStats()
		return st.Heard == 7 && st.Unknown == 1 && st.Undecodable == 2 && st.Poisoned == 3 && st.Panics == 2
	})
	cached(t, s, "good", "")
}

func TestListenGap(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, rc.Options{Heartbeat: 20 * time.Millisecond})
	gaps := hear(t, m)
	until(t, "the bus to be heard", func() bool { b, err := m.Bus(t.Context()); return err == nil && b.Stats().Beats > 0 })
	before := gaps.Load()
	srv.DropConnections()
	until(t, "a gap to be told", func() bool { return gaps.Load() > before && m.EventStats().Gaps > 0 })
}

func TestListenTwiceAndStop(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, rc.Options{}, rc.Config[string]{})
	var calls atomic.Int32
	on(t, m, func(orderShipped) []rc.Target { calls.Add(1); return nil })
	stop, err := m.Listen(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Listen(t.Context(), nil); err == nil {
		t.Error("a second Listen gave no error")
	}
	stop()
	stop()
	hear(t, m)
	if err := rc.Announce(t.Context(), m, orderShipped{}); err != nil {
		t.Fatal(err)
	}
	until(t, "the event to be applied", func() bool { return m.EventStats().Applied == 1 })
	if n := calls.Load(); n != 1 {
		t.Errorf("the mapping was called %d times, want once", n)
	}
	_ = s
	m.Close()
	if _, err := m.Listen(context.Background(), nil); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("Listen after Close = %v, want ErrClosed", err)
	}
}

// waitsInClose checks that a call of Close waits for events that are being
// handled.
func waitsInClose(t *testing.T, m *rc.Manager, closing *future) {
	t.Helper()
	until(t, "Close to wait for events", func() bool {
		select {
		case <-closing.done:
			t.Fatal("Close has returned while a mapping runs")
		default:
		}
		stop, err := rc.On(m, func(orderPaid) []rc.Target { return nil })
		if err == nil {
			stop()
		}
		return errors.Is(err, rc.ErrClosed) // from the moment on that Close tells them to end
	})
}

// Close waits for a mapping that runs, and nothing runs after it.
func TestListenStopsWithClose(t *testing.T) {
	t.Parallel()
	m := open(t, start(t), rc.Options{})
	in, out := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var after atomic.Bool
	on(t, m, func(orderShipped) []rc.Target {
		once.Do(func() { close(in); <-out })
		after.Store(true)
		return nil
	})
	hear(t, m)
	if err := rc.Announce(t.Context(), m, orderShipped{}); err != nil {
		t.Fatal(err)
	}
	event(t, in, "the mapping to run")
	closed := async(func() (string, error) { return "", m.Close() })
	waitsInClose(t, m, closed)
	close(out)
	if _, err := closed.get(t); err != nil || !after.Load() {
		t.Errorf("Close = %v, mapping done = %v", err, after.Load())
	}
}

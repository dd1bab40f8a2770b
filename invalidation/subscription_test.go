package invalidation

import (
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// send delivers an event as if it had arrived.
func send(b *Bus, e Event) { b.deliver(&e) }

// gate is a handler that waits until it is opened.
type gate struct {
	inbox
	entered chan struct{}
	open    chan struct{}
}

func newGate(b *Bus, opts ...SubscribeOption) *gate {
	g := &gate{entered: make(chan struct{}, 1), open: make(chan struct{})}
	g.Subscription = b.Subscribe(func(e Event) {
		select {
		case g.entered <- struct{}{}:
		default:
		}
		<-g.open
		g.mu.Lock()
		defer g.mu.Unlock()
		g.events = append(g.events, e)
	}, opts...)
	return g
}

func named(p int, name string) Event { return Event{Kind: Key, Name: name, Partition: p} }

func TestOverflowIsAGap(t *testing.T) {
	t.Parallel()
	b := offline(t, Config{})
	slow, fast := newGate(b, WithQueue(3)), subscribe(b)
	send(b, named(1, "in hand"))
	<-slow.entered
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		send(b, named(1, name))
	}
	send(b, named(2, "f"))
	fast.waitName(t, "f")
	if got := fast.names(Key); len(got) != 7 || fast.gaps(1) != 0 {
		t.Errorf("a fast subscription got %v and %d gaps because of a slow one", got, fast.gaps(1))
	}
	close(slow.open)
	slow.waitName(t, "c")
	if got := slow.names(Key); !slices.Equal(got, []string{"in hand", "a", "b", "c"}) {
		t.Errorf("delivered %v", got)
	}
	if slow.gaps(1) != 1 || slow.gaps(2) != 1 || slow.gaps(3) != 0 {
		t.Errorf("gaps of partitions 1, 2, 3 = %d, %d, %d, want 1, 1, 0", slow.gaps(1), slow.gaps(2), slow.gaps(3))
	}
	if n := b.Stats().Overflows; n != 3 {
		t.Errorf("Overflows = %d, want 3", n)
	}
	send(b, named(1, "after"))
	slow.waitName(t, "after")
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	b := offline(t, Config{})
	g := newGate(b)
	send(b, named(1, "in hand"))
	<-g.entered
	for range 40 {
		send(b, Event{Kind: User, Name: "big", Payload: make([]byte, MaxPayload), Partition: 1})
	}
	if n := b.Stats().Overflows; n < 8 || n > 10 {
		t.Errorf("%d of 40 events of 1 MiB did not fit, want about 8", n)
	}
	close(g.open)
	until(t, "the gap", func() bool { return g.gaps(1) == 1 })
}

// A gap of everything is one event, and it is never lost.
func TestGapsCoalesce(t *testing.T) {
	t.Parallel()
	b := offline(t, Config{})
	g := newGate(b, WithQueue(1))
	send(b, named(1, "in hand"))
	<-g.entered
	send(b, named(1, "fills the queue"))
	for range 3 {
		for p := range b.parts {
			b.gap(p)
		}
	}
	close(g.open)
	g.waitName(t, "fills the queue")
	if got := g.all(); len(got) != 3 || got[1].Kind != Gap || got[1].Partition != AllPartitions {
		t.Errorf("delivered %+v, want one gap of all partitions", got)
	}
}

// The feed of a handler is as current as what it has handled, not as what has
// arrived.
func TestHeardWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	b := offline(t, Config{})
	g := newGate(b)
	if g.Heard(1) != Never || g.Heard(-1) != Never || g.Heard(99) != Never {
		t.Errorf("Heard = %d, %d, %d at first, want Never", g.Heard(1), g.Heard(-1), g.Heard(99))
	}
	send(b, named(1, "a"))
	<-g.entered
	b.proven(1, 5)
	send(b, named(1, "b"))
	b.proven(1, 7)
	if g.Heard(1) != Never {
		t.Errorf("Heard = %d while an event before it is being handled", g.Heard(1))
	}
	g.open <- struct{}{}
	until(t, "the first proof", func() bool { return g.Heard(1) == 5 })
	g.open <- struct{}{}
	until(t, "the second proof", func() bool { return g.Heard(1) == 7 })
}

// A proof that comes after a lost event is not believed before the gap.
func TestHeardWaitsForTheGap(t *testing.T) {
	t.Parallel()
	b := offline(t, Config{})
	g := newGate(b, WithQueue(1))
	send(b, named(1, "a"))
	<-g.entered
	send(b, named(1, "b"))
	send(b, named(1, "does not fit"))
	b.proven(1, 7)       // does not fit either
	g.open <- struct{}{} // a is handled; the gap is next
	b.proven(1, 9)
	if g.Heard(1) != Never {
		t.Errorf("Heard = %d before the gap was handled", g.Heard(1))
	}
	g.open <- struct{}{} // the gap
	g.open <- struct{}{} // b
	until(t, "the gap and b", func() bool { return len(g.all()) == 3 && g.all()[1].Kind == Gap })
}

func TestPanicsAreCounted(t *testing.T) {
	t.Parallel()
	b := offline(t, Config{})
	var calls atomic.Int32
	s := b.Subscribe(func(e Event) {
		switch calls.Add(1); e.Name {
		case "panic":
			panic("on purpose")
		case "exit":
			runtime.Goexit()
		}
	})
	after := subscribe(b)
	send(b, named(1, "panic"))
	send(b, named(1, "exit"))
	send(b, named(1, "fine"))
	after.waitName(t, "fine")
	until(t, "a call after the panics", func() bool { return calls.Load() >= 3 })
	if n := b.Stats().Panics; n != 2 {
		t.Errorf("Panics = %d, want 2", n)
	}
	s.Close()
	<-s.Done()
}

func TestFilters(t *testing.T) {
	t.Parallel()
	b := offline(t, Config{})
	tags, shop, all := subscribe(b, WithKinds(Tag, User)), subscribe(b, WithNamespace("shop")), subscribe(b)
	for _, e := range []Event{
		{Kind: Key, Namespace: "shop", Name: "1"}, {Kind: Tag, Namespace: "shop", Name: "2"},
		{Kind: Tag, Name: "3"}, {Kind: User, Namespace: "other", Name: "4"},
	} {
		send(b, e)
	}
	b.gap(2)
	send(b, Event{Kind: User, Namespace: "shop", Name: "last"})
	for _, c := range []struct {
		in   *inbox
		want string
	}{{tags, "2 3 4 last"}, {shop, "1 2 last"}, {all, "1 2 3 4 last"}} {
		c.in.waitName(t, "last")
		c.in.waitGap(t, 2, 1)
		var got []string
		for _, e := range c.in.all() {
			if e.Kind != Gap {
				got = append(got, e.Name)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("delivered %q, want %q", s, c.want)
		}
	}
}

func TestSubscriptionClose(t *testing.T) {
	t.Parallel()
	b := offline(t, Config{})
	g := newGate(b)
	send(b, named(1, "in hand"))
	<-g.entered
	send(b, named(1, "waits"))
	send(b, named(1, "waits too"))
	g.open <- struct{}{}
	until(t, "the first call to end", func() bool { return len(g.all()) == 1 })
	<-g.entered // the handler has the next one, and the one behind it in hand
	g.Close()   // does not wait for the handler
	g.Close()
	select {
	case <-g.Done():
		t.Error("Done while the handler runs")
	default:
	}
	close(g.open)
	<-g.Done()
	if got := g.names(Key); !slices.Equal(got, []string{"in hand", "waits"}) {
		t.Errorf("delivered %v after Close", got)
	}
	closed := make(chan struct{})
	var self *Subscription
	set := make(chan struct{})
	self = b.Subscribe(func(Event) { <-set; self.Close(); close(closed) })
	close(set)
	send(b, named(1, "x"))
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("Close in the handler hangs")
	}
	<-self.Done()
}

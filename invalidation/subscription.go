package invalidation

import (
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// queueBytes limits what the events in a queue refer to.
const queueBytes = 32 << 20

// SubscribeOption is an option of [Bus.Subscribe].
type SubscribeOption func(*Subscription)

// WithKinds delivers events of these kinds only, and every [Gap].
func WithKinds(kinds ...Kind) SubscribeOption {
	return func(s *Subscription) { s.kinds = append(s.kinds, kinds...) }
}

// WithNamespace delivers events of this namespace only, and every [Gap].
func WithNamespace(namespace string) SubscribeOption {
	return func(s *Subscription) { s.namespace, s.oneNamespace = namespace, true }
}

// WithQueue lets up to n events wait while the handler is busy, instead of
// Config.Queue. Those that do not fit, or with which the queue would hold more
// than 32 MiB, are dropped, and a [Gap] of their partition is delivered instead.
// An n below 1 counts as 1.
func WithQueue(n int) SubscribeOption {
	return func(s *Subscription) { s.limit = max(n, 1) }
}

// WithHeard calls f whenever [Subscription.Heard] of a partition has moved on, in
// the goroutine that calls the handler, between its calls. It must not block.
func WithHeard(f func(partition int, at int64)) SubscribeOption {
	return func(s *Subscription) { s.onHeard = f }
}

// Subscription delivers events to one handler. [Bus.Subscribe] makes it.
type Subscription struct {
	bus          *Bus
	fn           func(Event)
	kinds        []Kind // none: all
	namespace    string
	oneNamespace bool
	limit        int
	onHeard      func(partition int, at int64) // may be nil
	heard        []atomic.Int64                // by partition; written by the delivering goroutine
	done         chan struct{}                 // closed when the delivering goroutine has ended
	wake         chan struct{}                 // buffer 1

	mu     sync.Mutex // protects what follows
	items  []item
	bytes  int
	lost   []bool // the partitions a Gap is due for
	gaps   int    // how many of them
	closed bool
}

// item is an event in a queue or, without one, the proof that the events before
// it are all of its partition up to a time.
type item struct {
	event     *Event
	partition int
	asked     int64
}

// Subscribe makes a goroutine that calls fn with each event that arrives from
// now on, its own included, one at a time. Events of a partition come in the
// order in which they were published, each once, but twice if a publisher that
// did not get the reply published it again. It does not block.
//
// What fn derives from data should be derived after Subscribe has returned: the
// first event can come before. A [Gap] stands for whatever is missing, and can
// overtake events that arrived before it.
//
// If fn is slow, only its own events wait, and if too many do they become a
// Gap. A panic in fn is logged and counted, and the next event is delivered. On
// a closed Bus nothing is ever delivered.
func (b *Bus) Subscribe(fn func(Event), opts ...SubscribeOption) *Subscription {
	s := &Subscription{
		bus:   b,
		fn:    fn,
		limit: b.cfg.Queue,
		heard: make([]atomic.Int64, len(b.parts)),
		lost:  make([]bool, len(b.parts)),
		done:  make(chan struct{}),
		wake:  make(chan struct{}, 1),
	}
	for i := range s.heard {
		s.heard[i].Store(Never)
	}
	for _, o := range opts {
		o(s)
	}
	b.subMu.Lock()
	defer b.subMu.Unlock()
	if b.subsClosed {
		s.closed = true
		close(s.done)
		return s
	}
	all := append(slices.Clone(*b.subs.Load()), s)
	b.subs.Store(&all)
	go s.run() // ends with Close of the subscription or the Bus, which waits for it
	return s
}

// Close ends the subscription. After it has returned no further call of the
// handler begins, but one may still be running; [Subscription.Done] says when
// it is over. Events that wait are dropped. It does not block, may be called
// from the handler, and more than once.
func (s *Subscription) Close() {
	b := s.bus
	b.subMu.Lock()
	left := slices.DeleteFunc(slices.Clone(*b.subs.Load()), func(o *Subscription) bool { return o == s })
	b.subs.Store(&left)
	b.subMu.Unlock()
	s.stop()
}

// Done is closed when the subscription is closed and no call of the handler is
// running.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Heard returns how current the handler is: it has returned from every event of
// the partition that was published before this time of Config.Clock, or a [Gap]
// in its place. It is [Never] at first, and for a partition there is not. What
// was derived before is current up to that time; if it lies too far back, the
// feed is not alive, or the handler cannot keep up. It costs one atomic load.
func (s *Subscription) Heard(partition int) int64 {
	if partition < 0 || partition >= len(s.heard) {
		return Never
	}
	return s.heard[partition].Load()
}

// stop lets the goroutine end.
func (s *Subscription) stop() {
	s.mu.Lock()
	s.closed = true
	s.items = nil
	s.mu.Unlock()
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// wants reports whether the event is to be delivered here.
func (s *Subscription) wants(e *Event) bool {
	if s.oneNamespace && e.Namespace != s.namespace {
		return false
	}
	return len(s.kinds) == 0 || slices.Contains(s.kinds, e.Kind)
}

// put queues an item, or notes that it was lost. Proofs that do not fit are
// dropped: a later one says more.
func (s *Subscription) put(it item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	if it.event != nil {
		size = len(it.event.Namespace) + len(it.event.Name) + len(it.event.Payload)
	}
	switch {
	case s.closed:
		return
	case len(s.items) < s.limit && s.bytes+size <= queueBytes:
		s.items = append(s.items, it)
		s.bytes += size
	case it.event != nil:
		s.bus.stats.overflows.Add(1)
		s.gapLocked(it.partition)
	}
	s.signal()
}

// gap makes a Gap of the partition due.
func (s *Subscription) gap(partition int) {
	s.mu.Lock()
	s.gapLocked(partition)
	s.mu.Unlock()
	s.signal()
}

func (s *Subscription) gapLocked(partition int) {
	if !s.lost[partition] {
		s.lost[partition] = true
		s.gaps++
	}
}

// take waits for what is to be delivered next: the partitions a Gap is due for,
// then items. It returns false once the subscription is closed.
func (s *Subscription) take(spare []item) (gaps []int, items []item, ok bool) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, nil, false
		}
		if len(s.items) > 0 || s.gaps > 0 {
			items, gaps = s.items, s.takeGapsLocked()
			s.items, s.bytes = spare[:0], 0
			s.mu.Unlock()
			return gaps, items, true
		}
		s.mu.Unlock()
		<-s.wake
	}
}

// takeGapsLocked returns the partitions a Gap is due for; AllPartitions if it is
// due for more than one and there are no others.
func (s *Subscription) takeGapsLocked() (gaps []int) {
	if s.gaps == 0 {
		return nil
	}
	if s.gaps == len(s.lost) && s.gaps > 1 {
		gaps = []int{AllPartitions}
	} else {
		for i, lost := range s.lost {
			if lost {
				gaps = append(gaps, i)
			}
		}
	}
	clear(s.lost)
	s.gaps = 0
	return gaps
}

// run delivers until the subscription is closed. A handler that ends its
// goroutine loses the events in hand, so another goroutine begins with a Gap.
func (s *Subscription) run() {
	over := false
	defer func() {
		if over {
			close(s.done)
			return
		}
		s.bus.stats.panics.Add(1)
		s.bus.cfg.Logger.Error("invalidation: a handler has ended its goroutine")
		for i := range s.lost {
			s.gap(i)
		}
		go s.run()
	}()
	var spare []item
	for {
		gaps, items, ok := s.take(spare)
		if !ok || !s.handle(gaps, items) {
			over = true
			return
		}
		clear(items)
		spare = items
	}
}

// handle delivers, and returns false if the subscription was closed meanwhile.
func (s *Subscription) handle(gaps []int, items []item) bool {
	for _, p := range gaps {
		if s.isClosed() {
			return false
		}
		s.call(Event{Kind: Gap, Partition: p})
	}
	for _, it := range items {
		switch {
		case s.isClosed():
			return false
		case it.event != nil:
			s.call(*it.event)
		default:
			s.heard[it.partition].Store(it.asked)
			if s.onHeard != nil {
				s.onHeard(it.partition, it.asked)
			}
		}
	}
	return true
}

func (s *Subscription) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// call runs the handler.
func (s *Subscription) call(e Event) {
	defer func() {
		if r := recover(); r != nil {
			s.bus.stats.panics.Add(1)
			s.bus.cfg.Logger.Error("invalidation: a handler panicked", "panic", r, "event", e.Kind,
				slog.String("stack", string(debug.Stack())))
		}
	}()
	s.fn(e)
	s.bus.stats.delivered.Add(1)
}

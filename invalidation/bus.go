package invalidation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// closeGrace is how long Close waits for what may not end by itself: handlers,
// and connections that are being made.
const closeGrace = 2 * time.Second

// waitTick is how often Wait looks.
const waitTick = time.Millisecond

// Bus publishes events and delivers those of all, through one Redis
// deployment. [Open] makes it. It is safe for concurrent use.
type Bus struct {
	cfg       Config
	mode      Mode
	cluster   bool
	origin    string
	client    rueidis.Client // publishes, and asks for the owners of slots
	parts     []*partition
	byChannel map[string]*partition
	stats     counters

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // keep, and a goroutine per line
	wake   chan struct{}  // buffer 1; makes keep look at once

	lines map[string]*line // by address; touched by the rounds only, see round

	subs       atomic.Pointer[[]*Subscription] // replaced under subMu, never changed
	subMu      sync.Mutex                      // protects subsClosed
	subsClosed bool

	closeOnce sync.Once
	closed    atomic.Bool
	closeErr  error
}

// newBus makes a Bus that does not run yet.
func newBus(cfg Config, client rueidis.Client) *Bus {
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bus{
		cfg:       cfg,
		cluster:   client.Mode() == rueidis.ClientModeCluster,
		origin:    fmt.Sprintf("%016x", rand.Uint64()),
		client:    client,
		byChannel: map[string]*partition{},
		ctx:       ctx,
		cancel:    cancel,
		wake:      make(chan struct{}, 1),
		lines:     map[string]*line{},
	}
	b.parts = newPartitions(b, cfg.Prefix, cfg.Partitions)
	for _, p := range b.parts {
		b.byChannel[p.channel] = p
	}
	b.subs.Store(new([]*Subscription))
	return b
}

// Origin returns the random id of this Bus: the Origin of its events.
func (b *Bus) Origin() string { return b.origin }

// Mode returns the mode that is in use, Sharded or Classic.
func (b *Bus) Mode() Mode { return b.mode }

// Partitions returns the number of partitions.
func (b *Bus) Partitions() int { return len(b.parts) }

// Partition returns the partition of the events with this namespace and name.
func (b *Bus) Partition(namespace, name string) int {
	return partitionOf(namespace, name, len(b.parts))
}

// partitionOf hashes with FNV-1a, which is the same everywhere. A byte that no
// UTF-8 text has separates the two.
func partitionOf(namespace, name string, n int) int {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(namespace) {
		h = (h ^ uint64(namespace[i])) * prime
	}
	h = (h ^ 0xff) * prime
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * prime
	}
	h ^= h >> 32 // the low bits of FNV alone follow those of the last bytes
	return int(h % uint64(n))
}

// Heard returns how current the feed of a partition is: whatever was published
// before this time of Config.Clock has arrived, or a [Gap] in its place. It is
// [Never] at first, and for a partition there is not. What arrived may still
// wait for the handlers: [Subscription.Heard] says how far each is. It costs one
// atomic load.
func (b *Bus) Heard(partition int) int64 {
	if partition < 0 || partition >= len(b.parts) {
		return Never
	}
	return b.parts[partition].heard.Load()
}

// Age returns how far back [Bus.Heard] lies: an age over two heartbeats means
// that the feed is not alive. It reads the clock.
func (b *Bus) Age(partition int) time.Duration {
	return time.Duration(b.cfg.Clock() - b.Heard(partition))
}

// Wait blocks until everything published before the call has arrived, or a
// [Gap] in its place, or ctx ends; then it returns an error that says which
// partition is not heard and why. It sends a heartbeat at once.
func (b *Bus) Wait(ctx context.Context) error {
	since := b.cfg.Clock()
	b.nudge()
	tick := time.NewTicker(waitTick)
	defer tick.Stop()
	for {
		late := slices.IndexFunc(b.parts, func(p *partition) bool { return p.heard.Load() < since })
		if late < 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			p := b.parts[late]
			p.mu.Lock()
			why := p.err
			p.mu.Unlock()
			return fmt.Errorf("invalidation: partition %d (%s) is not heard: %w", late, p.channel, errorsOr(why, ctx.Err()))
		}
	}
}

// deliver queues an event for all subscriptions that want it.
func (b *Bus) deliver(e *Event) {
	for _, s := range *b.subs.Load() {
		if s.wants(e) {
			s.put(item{event: e, partition: e.Partition})
		}
	}
}

// gap makes a Gap due for all subscriptions.
func (b *Bus) gap(partition int) {
	for _, s := range *b.subs.Load() {
		s.gap(partition)
	}
}

// proven tells all subscriptions, behind the events they have not handled yet.
func (b *Bus) proven(partition int, asked int64) {
	for _, s := range *b.subs.Load() {
		s.put(item{partition: partition, asked: asked})
	}
}

// Close ends all subscriptions and connections, and waits until nothing of the
// Bus runs any more. It waits 2 seconds at most for handlers that do not return
// and servers that do not answer, and then returns an error that says so. It may
// be called more than once; from a handler it always takes the 2 seconds, and
// Subscription.Close does better there. What waits in queues is dropped.
func (b *Bus) Close() error {
	b.closeOnce.Do(func() { b.closeErr = b.close() })
	return b.closeErr
}

func (b *Bus) close() error {
	b.closed.Store(true)
	b.cancel()
	b.subMu.Lock()
	b.subsClosed = true
	subs := *b.subs.Load()
	b.subs.Store(new([]*Subscription))
	b.subMu.Unlock()
	for _, s := range subs {
		s.stop()
	}
	left := time.NewTimer(closeGrace)
	defer left.Stop()
	ended := make(chan struct{})
	go func() { // ends with the goroutines of the Bus
		b.wg.Wait()
		close(ended)
	}()
	expired := false
	running := 0
	for _, s := range subs {
		if !within(s.done, left, &expired) {
			running++
		}
	}
	b.client.Close()
	connecting := !within(ended, left, &expired)
	switch {
	case running > 0:
		return fmt.Errorf("invalidation: closed, but %d handlers have not returned after %v", running, closeGrace)
	case connecting:
		return fmt.Errorf("invalidation: closed, but a connection is still being made after %v", closeGrace)
	}
	return nil
}

// within waits for the channel until the timer has expired, which it notes for
// the next call, and reports whether the channel is closed.
func within(c <-chan struct{}, left *time.Timer, expired *bool) bool {
	if !*expired {
		select {
		case <-c:
			return true
		case <-left.C:
			*expired = true
		}
	}
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// errorsOr returns the first error that is one.
func errorsOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

package rc

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/invalidation"
)

// broadcast is coherence mode Broadcast: what this process changes it announces
// on the bus, and what others announce leaves its memory.
type broadcast struct {
	m      *Manager
	bus    *invalidation.Bus
	later  chan lease.Change
	failed atomic.Uint64 // announcements that could not be published
	// swept are the ids of the patterns heard last, in turn. Used by the
	// goroutine that hears.
	swept [16]string
	turn  int
}

const (
	// laterQueue is how many announcements wait to be published that nobody
	// waits for.
	laterQueue = 16 << 10
	// laterBatch is how many of them go out together at most.
	laterBatch = 512
	// busQueue is how many events wait for this process' memory; more are a Gap,
	// which empties it.
	busQueue = 64 << 10
)

// openBroadcast opens the bus and begins to listen.
func openBroadcast(ctx context.Context, m *Manager) (*broadcast, error) {
	bus, err := m.Bus(ctx)
	if err != nil {
		return nil, err
	}
	return &broadcast{m: m, bus: bus, later: make(chan lease.Change, laterQueue)}, nil
}

// listen begins to pass on what the bus says to the table, and waits until all
// partitions are heard, or ctx ends: those are without a memory until they are.
func (b *broadcast) listen(ctx context.Context) {
	left := b.bus.Partitions()
	seen, all := make([]bool, left), make(chan struct{})
	heard := func(p int, at int64) {
		b.m.table.Heard(p, at)
		if !seen[p] {
			seen[p] = true
			if left--; left == 0 {
				close(all)
			}
		}
	}
	b.bus.Subscribe(b.hear, invalidation.WithQueue(busQueue), invalidation.WithHeard(heard))
	b.m.wg.Go(b.run) // ends with the Manager's context
	ctx, cancel := context.WithTimeout(ctx, b.m.opts.MaxStaleness)
	defer cancel()
	if err := b.bus.Wait(ctx); err != nil {
		b.m.opts.Logger.Warn("fleetcache: the bus is not heard yet, what is on it is not kept in memory", "error", err)
		return
	}
	select {
	case <-all:
	case <-ctx.Done():
	}
}

// partition returns the partition on which the changes of a key are announced.
func (b *broadcast) partition(key string) int { return b.bus.Partition("", key) }

// hear takes what was changed out of memory. A change of a value is one of the
// claim on it as well.
func (b *broadcast) hear(e invalidation.Event) {
	t := b.m.table
	switch e.Kind {
	case invalidation.Gap:
		t.Gap(e.Partition)
	case invalidation.Key:
		var own uint64
		if e.Origin == b.bus.Origin() {
			own = idOf(e.Payload)
		}
		t.Announced(e.Name, own)
		t.Announced(lease.Key(e.Name), 0)
	case invalidation.Pattern:
		b.hearPattern(e)
	}
}

// event is the announcement of a change.
func event(ch lease.Change) invalidation.Event {
	e := invalidation.Event{Kind: invalidation.Key, Name: ch.Key}
	if ch.ID != 0 {
		e.Payload = binary.BigEndian.AppendUint64(nil, ch.ID)
	}
	return e
}

// idOf is the id of the near entry that a change made, in the process that
// published it.
func idOf(payload []byte) uint64 {
	if len(payload) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(payload)
}

// Tell announces changes: one round trip.
func (b *broadcast) Tell(ctx context.Context, changes []lease.Change) []error {
	events := make([]invalidation.Event, len(changes))
	for i, ch := range changes {
		events[i] = event(ch)
	}
	errs := make([]error, len(changes))
	_, err := b.bus.Publish(ctx, events...)
	if err == nil {
		return errs
	}
	failed := partitionErrors(err)
	for i, ch := range changes {
		if len(failed) == 0 { // none of them was published
			errs[i] = err
		} else if e := failed[b.partition(ch.Key)]; e != nil {
			errs[i] = e
		}
		if errs[i] != nil {
			b.failed.Add(1)
		}
	}
	return errs
}

// partitionErrors returns the errors of a publication by partition.
func partitionErrors(err error) map[int]error {
	failed := map[int]error{}
	list := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		list = j.Unwrap()
	}
	for _, e := range list {
		var pe *invalidation.PublishError
		if errors.As(e, &pe) {
			failed[pe.Partition] = e
		}
	}
	return failed
}

// TellLater announces changes in the background. What it cannot is counted: it
// costs others that wait for a value some time, and leaves nothing wrong.
func (b *broadcast) TellLater(changes ...lease.Change) {
	for _, ch := range changes {
		select {
		case b.later <- ch:
		default:
			b.failed.Add(1)
		}
	}
}

// rest publishes what is left when the Manager is closed: claims given back,
// which others wait for.
func (b *broadcast) rest() {
	ctx, cancel := context.WithTimeout(context.Background(), b.m.opts.OpTimeout)
	defer cancel()
	var batch []lease.Change
	for {
		select {
		case ch := <-b.later:
			batch = append(batch, ch)
			continue
		default:
		}
		if len(batch) > 0 {
			b.Tell(ctx, batch)
		}
		return
	}
}

// run publishes what nobody waits for.
func (b *broadcast) run() {
	batch := make([]lease.Change, 0, laterBatch)
	for {
		select {
		case ch := <-b.later:
			batch = append(batch[:0], ch)
		case <-b.m.ctx.Done():
			b.rest()
			return
		}
		for more := true; more && len(batch) < laterBatch; {
			select {
			case ch := <-b.later:
				batch = append(batch, ch)
			default:
				more = false
			}
		}
		b.Tell(b.m.ctx, batch) // which counts what fails
	}
}

// patternEvent is the payload of the announcement that a pattern was swept.
type patternEvent struct {
	ID      string `json:"id"`
	Prefix  string `json:"prefix"`
	Version string `json:"version,omitempty"`
	NS      string `json:"ns"`
	Long    bool   `json:"long,omitempty"`
}

// tellPattern announces that what matches a pattern was removed: one round trip.
// It goes out on every partition, because an entry depends on that of its key.
func (b *broadcast) tellPattern(ctx context.Context, c *core, p *pattern) error {
	payload, err := json.Marshal(patternEvent{rand.Text(), c.cfg.prefix, c.cfg.keyVersion, c.ns, p.long})
	if err != nil {
		return err
	}
	events := make([]invalidation.Event, b.bus.Partitions())
	for n, left := 0, len(events); left > 0; n++ { // the namespace makes the partition
		e := invalidation.Event{Kind: invalidation.Pattern, Namespace: strconv.Itoa(n), Name: p.glob, Payload: payload}
		if i := b.bus.Partition(e.Namespace, e.Name); events[i].Kind == 0 {
			events[i] = e
			left--
		}
	}
	if _, err := b.bus.Publish(ctx, events...); err != nil {
		b.failed.Add(1)
		return fmt.Errorf("others were not told: %w", err)
	}
	return nil
}

// hearPattern takes what matches a swept pattern out of memory. Its announcement
// comes once by partition, after the sweep: the first does the work of all. One
// that cannot be read may be about anything.
func (b *broadcast) hearPattern(e invalidation.Event) {
	var pe patternEvent
	if e.Origin == b.bus.Origin() {
		return // it has been done by who swept
	}
	if err := json.Unmarshal(e.Payload, &pe); err != nil {
		b.m.table.Gap(-1)
		return
	}
	for _, id := range b.swept {
		if id == pe.ID {
			return
		}
	}
	space, err := key.NewSpace(pe.Prefix, pe.Version, pe.NS)
	if err != nil {
		b.m.table.Gap(-1)
		return
	}
	p, err := newPattern(space, e.Name, pe.Long)
	if err != nil {
		b.m.table.Gap(-1)
		return
	}
	b.m.table.KillMatching(p.touches)
	b.swept[b.turn%len(b.swept)] = pe.ID
	b.turn++
}

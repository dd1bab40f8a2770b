package rc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/internal/lease"
)

// recovery keeps the invalidations that could not be delivered and sends them
// when their node answers again. They are idempotent, so sending one that has
// arrived after all does no harm but to cost a load.
type recovery struct {
	m     *Manager
	limit int
	poke  chan struct{}
	n     atomic.Int32 // len(pending), for readers that only want to know whether there are any

	queued, resent, replayed, dropped, expired atomic.Uint64

	mu      sync.Mutex // protects pending, emptied
	pending map[string]change
	emptied chan struct{} // closed when pending is empty; nil if nobody waits for that
}

// change is what is to be done to a key. The newest of a key wins, but a
// purge is not weakened to a soft one.
type change struct {
	c    *core
	id   string
	mark *marking // of a tag or namespace, in place of c and id
	// wrote is the value that Set stored, as lease.Seen has it: it may stay.
	wrote string
	// tombstone is what DeleteBefore leaves.
	tombstone *lease.Write
	// again reports that it has arrived once, and is sent in case it was lost.
	again bool
	soft  bool
	until int64 // then no value can be left that it would have to remove
	seq   uint64
}

var invalidationSeq atomic.Uint64

func newRecovery(m *Manager, limit int) *recovery {
	return &recovery{m: m, limit: limit, poke: make(chan struct{}, 1), pending: map[string]change{}}
}

// add keeps an invalidation and reports whether there was room.
func (r *recovery) add(key string, inv change) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.putLocked(key, inv) {
		r.dropped.Add(1)
		return false
	}
	r.queued.Add(1)
	return true
}

// resend keeps an invalidation that has been delivered, unless a later one of
// the key waits already.
func (r *recovery) resend(key string, inv change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, later := r.pending[key]; later {
		return
	}
	inv.again = true
	if r.putLocked(key, inv) {
		r.resent.Add(1)
	} else {
		r.dropped.Add(1)
	}
}

func (r *recovery) putLocked(key string, inv change) bool {
	inv.seq = invalidationSeq.Add(1)
	old, ok := r.pending[key]
	if !ok && len(r.pending) >= r.limit && !r.makeRoomLocked(inv) {
		return false
	}
	if ok {
		inv = inv.after(old)
		inv.until = max(inv.until, old.until)
	}
	r.pending[key] = inv
	r.countLocked()
	return true
}

// makeRoomLocked drops an invalidation that has arrived once for one that has not.
func (r *recovery) makeRoomLocked(inv change) bool {
	if inv.again {
		return false
	}
	for k, old := range r.pending {
		if old.again {
			delete(r.pending, k)
			r.dropped.Add(1)
			return true
		}
	}
	return false
}

// covered forgets the invalidation of a key, because a write has reached Redis
// that was sent after it was queued (seq). A soft one does not make up for a
// purge, and none for a tombstone, which says what may not come after it.
func (r *recovery) covered(key string, soft bool, seq uint64) {
	r.remove(key, func(inv change) bool { return inv.seq <= seq && inv.tombstone == nil && (inv.soft || !soft) })
}

// holds returns whether an invalidation of the key waits: then what Redis took
// as the newest may be what this process has replaced.
func (r *recovery) holds(key string) func() bool {
	return func() bool {
		if r.n.Load() == 0 {
			return false
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		_, waits := r.pending[key]
		return waits
	}
}

func (r *recovery) remove(key string, if_ func(change) bool) {
	if r.n.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if inv, ok := r.pending[key]; ok && if_(inv) {
		delete(r.pending, key)
		r.countLocked()
	}
}

// settle delivers the invalidation of a key before the key is read: what
// Redis holds may be what this process has replaced. It returns an error if
// that is not possible.
func (r *recovery) settle(ctx context.Context, key string) error {
	if r.n.Load() == 0 {
		return nil
	}
	r.mu.Lock()
	inv, ok := r.pending[key]
	r.mu.Unlock()
	if !ok {
		return nil
	}
	return r.deliver(ctx, key, inv)
}

func (r *recovery) deliver(ctx context.Context, key string, inv change) error {
	sent := r.m.now()
	if err := inv.send(ctx, r.m, key); err != nil {
		return err
	}
	if inv.plain() { // else something may be left that is older than this
		r.m.own.note(key, inv.soft, sent, r.m.now())
	}
	r.remove(key, func(now change) bool { return now.seq == inv.seq })
	r.replayed.Add(1)
	r.m.recent.note(key, inv)
	e := InvalidationEvent{Replay: true}
	if mk := inv.mark; mk != nil {
		r.m.unmark(mk)
		e.Namespace, e.ID, e.Verb = mk.ns, mk.tag, mk.verb(inv.soft)
	} else {
		inv.c.g.forget(key)
		r.m.table.Evict(key)
		e.Namespace, e.ID, e.Verb = inv.c.ns, inv.id, verb(inv.soft)
	}
	if o := r.m.opts.Observer; o != nil {
		o.Invalidation(ctx, e)
	}
	return nil
}

// after returns what has to be sent for two invalidations of a key, the older of
// which may not have arrived either: a purge is not weakened by what comes after
// it.
func (inv change) after(old change) change {
	if inv.soft && !old.soft {
		inv.soft, inv.tombstone = false, old.tombstone
	}
	return inv
}

// plain reports that the invalidation leaves nothing of its key.
func (inv change) plain() bool {
	return inv.mark == nil && inv.wrote == "" && inv.tombstone == nil
}

func (inv change) send(ctx context.Context, m *Manager, key string) error {
	switch {
	case inv.mark != nil:
		return m.sendMarks(ctx, []marking{*inv.mark}, inv.soft)[0]
	case inv.wrote != "" || !inv.soft && inv.tombstone == nil && inv.c.types.version != nil:
		// Sent late, it may meet a newer version: what is older than that must
		// not come back by it.
		return m.do(ctx, key, func(ctx context.Context) error {
			return m.redis.DeleteUnless(ctx, key, inv.wrote, inv.c.types.version != nil)
		})
	case inv.tombstone != nil:
		return m.do(ctx, key, func(ctx context.Context) error {
			_, _, err := m.redis.Set(ctx, *inv.tombstone)
			return err
		})
	}
	return inv.c.sendInvalidation(ctx, key, inv.soft)
}

func verb(soft bool) string {
	if soft {
		return "Expire"
	}
	return "Delete"
}

// flush waits until the queue is empty.
func (r *recovery) flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		n := len(r.pending)
		if n > 0 && r.emptied == nil {
			r.emptied = make(chan struct{})
		}
		emptied := r.emptied
		r.mu.Unlock()
		if n == 0 {
			return nil
		}
		r.wake()
		select {
		case <-emptied:
		case <-r.m.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("rc: %d invalidations are not delivered yet: %w", r.n.Load(), ctx.Err())
		}
	}
}

// countLocked brings n up to date.
func (r *recovery) countLocked() {
	r.n.Store(int32(len(r.pending)))
	if len(r.pending) == 0 && r.emptied != nil {
		close(r.emptied)
		r.emptied = nil
	}
}

// wake makes the queue be tried now. It does not block.
func (r *recovery) wake() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// run tries the queue whenever a node answers again, and every heartbeat, until
// the Manager closes.
func (r *recovery) run() {
	tick := time.NewTicker(r.m.opts.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-r.m.ctx.Done():
			return
		case <-tick.C:
		case <-r.poke:
		}
		if r.n.Load() > 0 {
			_ = r.replay(r.m.ctx) // what is left is tried again
		}
	}
}

// replay tries each invalidation in the queue once, node by node as their
// breakers allow, and returns the errors of those that are left.
func (r *recovery) replay(ctx context.Context) error {
	type item struct {
		key string
		inv change
	}
	r.mu.Lock()
	items := make([]item, 0, len(r.pending))
	now := r.m.now()
	for k, inv := range r.pending {
		if now >= inv.until {
			delete(r.pending, k)
			r.expired.Add(1)
			continue
		}
		items = append(items, item{k, inv})
	}
	r.countLocked()
	r.mu.Unlock()
	var errs []error
	for _, it := range items {
		if err := r.deliver(ctx, it.key, it.inv); err != nil {
			errs = append(errs, &InvalidationError{Key: it.key, Err: err})
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// last tries the queue once more, when the Manager closes, and says what is
// left.
func (r *recovery) last() error {
	if r.n.Load() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*r.m.opts.OpTimeout)
	defer cancel()
	return r.replay(ctx)
}

func (r *recovery) addTo(s *Stats) {
	s.Resent = r.resent.Load()
	s.Queued, s.Replayed = r.queued.Load(), r.replayed.Load()
	s.QueueDropped, s.QueueExpired = r.dropped.Load(), r.expired.Load()
	s.QueueLen = int(r.n.Load())
}

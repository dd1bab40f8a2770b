package near

import (
	"sync/atomic"
	"time"
)

// announced is the part of a [Table] whose changes are not pushed by servers but
// announced by the processes that make them, on a bus with partitions. Each
// partition has a feed, and an entry depends on that of its key.
//
// Replies and announcements are not one ordered stream here. So an entry is in
// the table before its read is sent, pending, and an announcement that arrives
// before the reply kills it.
type announced struct {
	partition func(key string) int
	feeds     []atomic.Pointer[Feed]
	lastID    atomic.Uint64
}

func newAnnounced(partitions int, partition func(key string) int, now int64) *announced {
	a := &announced{partition: partition, feeds: make([]atomic.Pointer[Feed], partitions)}
	for i := range a.feeds {
		a.feeds[i].Store(newFeed(now))
	}
	return a
}

// Pushed reports whether it is the servers that tell of changes.
func (t *Table) Pushed() bool { return t.bus == nil }

// expect puts a pending entry for a read that is about to be sent in the table.
func (t *Table) expect(a *Ask) {
	e := &Entry{feed: t.bus.feeds[t.bus.partition(a.key)].Load(), key: a.key, id: t.bus.lastID.Add(1)}
	e.fresh.Store(pending)
	if a.watch {
		e.woken = make(chan struct{})
	}
	a.expected = e
	s := t.shard(a.key)
	s.mu.Lock()
	e.next = s.entries[a.key]
	s.entries[a.key] = e
	s.mu.Unlock()
}

// takeExpected is Take for an entry that was expected.
func (a Ask) takeExpected() *Entry {
	e := a.expected
	if a.at < a.t.movedAt.Load() || e.fresh.Load() == Dead || e.feed.ended.Load() {
		a.t.Release(e)
		return nil
	}
	return e
}

// Announced tells that a key was changed. What the table holds of it is killed,
// besides the entry with the given id: that is what the change itself made. It
// reports whether something was killed.
func (t *Table) Announced(key string, id uint64) bool {
	found := t.killMatching(key, func(e *Entry) bool { return id == 0 || e.id != id })
	if found {
		t.counts.pushes.Add(1)
	}
	return found
}

// Heard tells that every change that was announced on a partition before the
// given time has been told to the table, or a gap in its place.
func (t *Table) Heard(partition int, at int64) {
	if f := t.bus.feeds[partition].Load(); at >= f.born {
		f.hear(at)
	}
}

// Gap tells that announcements on a partition may be missing: nothing that
// depends on it counts any more. A negative partition is all of them.
func (t *Table) Gap(partition int) {
	for i := range t.bus.feeds {
		if partition < 0 || i == partition {
			t.bus.feeds[i].Swap(newFeed(t.clock.Now())).end(false)
			t.counts.resets.Add(1)
		}
	}
}

// KillMatching ends all entries of the keys for which match is true. A read in
// flight is among them where changes are announced; where servers push, its
// reply may still make an entry, which the push then ends. It visits the whole
// table, each shard under its lock.
func (t *Table) KillMatching(match func(key string) bool) (killed int) {
	return t.killIf(func(e *Entry) bool { return match(e.key) })
}

// busAge returns how far back the least heard partition lies.
func (t *Table) busAge() (age time.Duration, ok bool) {
	now, worst := t.clock.Now(), int64(1<<62)
	for i := range t.bus.feeds {
		worst = min(worst, t.bus.feeds[i].Load().heard.Load())
	}
	if worst == Dead {
		return 0, false
	}
	return time.Duration(now - worst), true
}

package near

import (
	"crypto/rand"
	"encoding/hex"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/redis/rueidis"
)

const shardCount = 64

// Options configure a [Table].
type Options struct {
	// Clock is the table's clock. Nil means a new one.
	Clock *Clock
	// MaxStaleness is how long ago the last beat of a feed may have been
	// sent for its entries to count. It must be positive.
	MaxStaleness time.Duration
	// RawBytes bounds the replies kept for DoCache calls of user code, in
	// bytes. 0 or less keeps none.
	RawBytes int
	// OnNewFeed, if not nil, is called when a connection has a feed that no
	// beat has confirmed yet, so that one can be sent at once. It is called
	// from the connection's reader goroutine and must not block.
	OnNewFeed func()
	// OnKill, if not nil, is called once for each published entry that was
	// killed, so that its owner can let go of it. It is called from the
	// reader goroutine, or from that of a writer, and must not block.
	OnKill func(*Entry)
	// OnLost, if not nil, is called when a connection has ended, with the
	// address of its node if that is known. It must not block.
	OnLost func(node string)
	// Partition, if not nil, returns the partition of the bus on which the
	// changes of a key are announced, from 0 to Partitions-1: then the servers
	// push nothing, and [Table.Announced], [Table.Heard] and [Table.Gap] tell
	// the table what it has to know. Partition is called from [Table.Ask].
	Partition  func(key string) int
	Partitions int
}

// A Table is the memory of one Manager: all entries of all its connections.
// It is safe for concurrent use.
type Table struct {
	clock     *Clock
	max       int64
	onNewFeed func()
	onKill    func(*Entry)
	onLost    func(node string)
	beatMark  string // begins the payload of this table's beats
	seed      maphash.Seed
	raws      *raws
	// movedAt is when slots last changed owner: reads sent before it are
	// not trusted, because the node that answered may not have been the one
	// to announce changes.
	movedAt atomic.Int64
	shards  [shardCount]shard
	stores  storeSet
	// detached reports that there may be entries that no connection vouches for.
	detached atomic.Bool
	bus      *announced // nil unless changes are announced by other processes
	counts   counters
}

type shard struct {
	mu sync.Mutex // protects entries, asks
	// entries holds, per key, what was read from it and is tracked.
	entries map[string]*Entry
	// asks counts the reads in flight per key. A reply to a key without one
	// makes no entry, so the table cannot grow by replies nobody claims.
	asks map[string]asking
}

type asking struct{ reads, watches int }

// NewTable returns an empty table.
func NewTable(o Options) *Table {
	if o.Clock == nil {
		o.Clock = NewClock()
	}
	if o.OnNewFeed == nil {
		o.OnNewFeed = func() {}
	}
	if o.OnLost == nil {
		o.OnLost = func(string) {}
	}
	if o.OnKill == nil {
		o.OnKill = func(*Entry) {}
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails: crypto/rand aborts the process instead
	t := &Table{
		clock:     o.Clock,
		max:       int64(o.MaxStaleness),
		onNewFeed: o.OnNewFeed,
		onKill:    o.OnKill,
		onLost:    o.OnLost,
		beatMark:  "fc-beat:" + hex.EncodeToString(nonce[:]) + ":",
		seed:      maphash.MakeSeed(),
	}
	t.movedAt.Store(Dead)
	if o.Partition != nil {
		t.bus = newAnnounced(o.Partitions, o.Partition, o.Clock.Now())
	}
	t.raws = newRaws(t, o.RawBytes)
	for i := range t.shards {
		t.shards[i].entries = make(map[string]*Entry)
		t.shards[i].asks = make(map[string]asking)
	}
	return t
}

// Clock returns the table's clock.
func (t *Table) Clock() *Clock { return t.clock }

func (t *Table) shard(key string) *shard {
	return &t.shards[maphash.String(t.seed, key)%shardCount]
}

// Fresh reports whether the entry may be returned as it is: it was published,
// neither its key nor its slot has changed as far as its feed tells, the feed
// was heard from within MaxStaleness, and its fresh time has not passed.
func (t *Table) Fresh(e *Entry) bool { return t.FreshAt(e, t.clock.Now()) }

// FreshAt is [Table.Fresh] for callers that have read the clock already.
func (t *Table) FreshAt(e *Entry, now int64) bool {
	return now < e.fresh.Load() && now-e.feed.heard.Load() <= t.max && t.Vouched(e, now)
}

// Vouched reports whether everything the entry depends on is good. The entry's own
// feed is the caller's concern, also where something else depends on it.
func (t *Table) Vouched(e *Entry, now int64) bool {
	deps := e.deps.Load()
	if deps == nil {
		return true
	}
	for _, d := range *deps {
		if now >= d.fresh.Load() || d.feed != e.feed && now-d.feed.heard.Load() > t.max {
			return false
		}
	}
	return true
}

// Coherent reports whether the entry's feed still vouches for it, whatever
// its deadline: then it is what Redis holds, stale or not.
func (t *Table) Coherent(e *Entry, now int64) bool {
	return e.fresh.Load() != Dead && now-e.feed.heard.Load() <= t.max
}

// An Ask is a read in flight. Exactly one of Take and Drop must be called.
type Ask struct {
	t     *Table
	key   string
	at    int64
	watch bool
	// expected is the entry of the read, if changes are announced by other
	// processes; see announced.
	expected *Entry
}

// Ask announces a tracked read of key. It must be called before the command
// is sent: a change of topology after this moment voids what comes back. With
// watch the entry wakes its owner when it is killed.
func (t *Table) Ask(key string, watch bool) Ask {
	a := Ask{t: t, key: key, at: t.clock.Now(), watch: watch}
	if t.bus != nil {
		t.expect(&a)
		return a
	}
	s := t.shard(key)
	s.mu.Lock()
	s.asks[key] = s.asks[key].plus(watch, 1)
	s.mu.Unlock()
	return a
}

func (as asking) plus(watch bool, n int) asking {
	if watch {
		as.watches += n
	} else {
		as.reads += n
	}
	return as
}

// At returns the time of the table's clock at which the read was announced.
func (a Ask) At() int64 { return a.at }

// Take ends the read and claims the entry made of exactly this reply. It
// returns nil if the reply may not be kept: it was not tracked, or the key,
// the feed or the topology changed since the read was announced. The entry is
// not yet alive; see [Table.Publish].
func (a Ask) Take(reply []byte) *Entry {
	if a.expected != nil {
		return a.takeExpected()
	}
	id := replyID(reply)
	s := a.t.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer a.doneLocked(s)
	e := s.entries[a.key]
	for e != nil && e.reply != id {
		e = e.next
	}
	if e == nil || id == nil {
		return nil
	}
	e.reply = nil
	if a.at < e.feed.born || a.at < a.t.movedAt.Load() || e.fresh.Load() == Dead {
		s.removeLocked(e)
		return nil
	}
	return e
}

// Drop ends a read whose reply did not come or is of no use.
func (a Ask) Drop() {
	if a.expected != nil {
		a.t.Release(a.expected)
		return
	}
	s := a.t.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	a.doneLocked(s)
}

func (a Ask) doneLocked(s *shard) {
	as := s.asks[a.key].plus(a.watch, -1)
	if as != (asking{}) {
		s.asks[a.key] = as
		return
	}
	delete(s.asks, a.key)
	for e := s.entries[a.key]; e != nil; e = e.next {
		if e.reply != nil {
			s.removeLocked(e) // made of a reply that nobody will claim any more
		}
	}
}

// Publish brings a claimed entry to life, fresh until the given time. It
// reports false, and the entry stays dead, if a push killed it meanwhile.
func (t *Table) Publish(e *Entry, fresh int64) bool {
	if e.fresh.CompareAndSwap(pending, fresh) {
		return true
	}
	t.Release(e)
	return false
}

// Release lets go of an entry its owner does not keep any longer.
func (t *Table) Release(e *Entry) {
	s := t.shard(e.key)
	s.mu.Lock()
	s.removeLocked(e)
	s.mu.Unlock()
}

// Retire lets go of an entry that others depend on: pushes for its key do not
// reach it any longer, so they must look for themselves.
func (t *Table) Retire(e *Entry) {
	s := t.shard(e.key)
	s.mu.Lock()
	s.removeLocked(e)
	e.kill()
	s.mu.Unlock()
}

// removeLocked takes e out of the shard, if it is still there.
func (s *shard) removeLocked(e *Entry) {
	head := s.entries[e.key]
	if head == e {
		if e.next == nil {
			delete(s.entries, e.key)
		} else {
			s.entries[e.key] = e.next
		}
		return
	}
	for p := head; p != nil; p = p.next {
		if p.next == e {
			p.next = e.next
			return
		}
	}
}

// Evict kills what the table holds of the keys. It is called after a write of
// this process has been answered: no later read may find an older value, even
// if the push of the write is still on its way.
func (t *Table) Evict(keys ...string) {
	for _, k := range keys {
		t.kill(k)
	}
}

// EvictOthers kills what the table holds of the entry's key besides the entry.
func (t *Table) EvictOthers(e *Entry) {
	s := t.shard(e.key)
	s.mu.Lock()
	dead, _ := s.killLocked(e.key, func(other *Entry) bool { return other != e })
	s.mu.Unlock()
	t.tell(dead)
}

// Detached makes an entry that no connection vouches for, of a value that was
// obtained at the given time by other means. It counts as heard of then, so it
// is fresh for MaxStaleness at most. It replaces what the table holds of key,
// and is not yet alive; see [Table.Publish].
func (t *Table) Detached(key string, at int64) *Entry {
	f := newFeed(at)
	f.detached = true
	f.heard.Store(at)
	e := &Entry{feed: f, key: key}
	e.fresh.Store(pending)
	s := t.shard(key)
	s.mu.Lock()
	dead, _ := s.killLocked(key, all)
	s.entries[key] = e
	s.mu.Unlock()
	t.detached.Store(true)
	t.tell(dead)
	return e
}

// Postpone moves the end of an entry's fresh time, so that hits take the short
// way again until then. It does nothing to an entry that is dead.
func (t *Table) Postpone(e *Entry, fresh int64) {
	if old := e.fresh.Load(); old > NeverFresh && fresh > old {
		e.fresh.CompareAndSwap(old, fresh)
	}
}

// killLocked takes the entries of a key that match out of the table. They are
// killed before the lock is released: whoever finds them gone may rely on it that
// nobody is served by them. It returns those whose owner is to be told, with no
// lock held, and how many there were.
func (s *shard) killLocked(key string, match func(*Entry) bool) (dead []*Entry, killed int) {
	var kept, last *Entry
	for e := s.entries[key]; e != nil; {
		next := e.next
		switch {
		case match(e):
			killed++
			if e.kill() && e.raw == nil && e.woken == nil {
				dead = append(dead, e)
			}
		case last == nil:
			kept, last = e, e
		default:
			last.next, last = e, e
		}
		e = next
	}
	if last != nil {
		last.next = nil
		s.entries[key] = kept
	} else if killed > 0 {
		delete(s.entries, key)
	}
	return dead, killed
}

func all(*Entry) bool { return true }

// tell tells the owners of entries that were killed. No lock is held.
func (t *Table) tell(dead []*Entry) {
	for _, e := range dead {
		t.onKill(e)
	}
}

// kill takes all entries of key out of the table and ends them.
func (t *Table) kill(key string) bool {
	return t.killMatching(key, all)
}

func (t *Table) killMatching(key string, match func(*Entry) bool) bool {
	s := t.shard(key)
	s.mu.Lock()
	dead, killed := s.killLocked(key, match)
	s.mu.Unlock()
	t.tell(dead)
	return killed > 0
}

// KillSlots ends all entries of the slots for which moved is true, and every
// read that was sent before. It visits the whole table: a few milliseconds
// for 100,000 entries.
func (t *Table) KillSlots(moved func(slot uint16) bool) (killed int) {
	t.movedAt.Store(t.clock.Now())
	return t.killIf(func(e *Entry) bool { return moved(hashslot.Of(e.key)) })
}

// KillDetached ends all entries that no connection vouches for: because there are
// connections again, or because they may be what was invalidated. It visits the
// whole table, unless there are none.
func (t *Table) KillDetached() (killed int) {
	if !t.detached.Swap(false) {
		return 0
	}
	return t.killIf(func(e *Entry) bool { return e.feed.detached })
}

// killIf takes the entries of the keys whose first entry qualifies out of the
// table and ends them.
func (t *Table) killIf(match func(*Entry) bool) (killed int) {
	for i := range t.shards {
		s := &t.shards[i]
		var dead []*Entry
		s.mu.Lock()
		for k, e := range s.entries {
			if match(e) {
				d, n := s.killLocked(k, all)
				dead, killed = append(dead, d...), killed+n
			}
		}
		s.mu.Unlock()
		t.tell(dead)
	}
	return killed
}

// insert keeps a tracked reply until its reader claims it. It is called from
// the reader goroutine of the feed's connection. A value takes the place of the
// one before; watches of a key stand side by side, because each wakes somebody
// else.
func (t *Table) insert(f *Feed, key string, reply []byte) {
	s := t.shard(key)
	s.mu.Lock()
	as, asked := s.asks[key]
	if !asked {
		s.mu.Unlock()
		t.counts.unasked.Add(1)
		return
	}
	e := &Entry{feed: f, key: key, reply: replyID(reply)}
	e.fresh.Store(pending)
	var dead []*Entry
	if as.watches > 0 {
		e.woken = make(chan struct{})
	} else if old := s.entries[key]; old != nil && old.raw == nil {
		dead, _ = s.killLocked(key, func(other *Entry) bool { return other == old })
	}
	e.next = s.entries[key] // replies of DoCache stay, behind the new entry
	s.entries[key] = e
	s.mu.Unlock()
	t.tell(dead)
}

// NewStore makes the store of one connection. It is what
// rueidis.ClientOption.NewCacheStoreFn wants.
func (t *Table) NewStore(rueidis.CacheStoreOption) rueidis.CacheStore {
	s := &Store{t: t, flights: make(map[rawKey]*flight)}
	s.feed.Store(newFeed(t.clock.Now()))
	t.stores.add(s)
	t.onNewFeed()
	return s
}

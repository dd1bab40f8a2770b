package near

import (
	"sync/atomic"
	"unsafe"
)

// pending is the fresh time of an entry that has been read but not yet
// claimed: neither alive nor dead.
const pending int64 = -1 << 60

// NeverFresh is a fresh time for [Table.Publish] with which [Table.Fresh] is
// always false; [Table.Coherent] still tells whether the entry can be trusted.
const NeverFresh int64 = pending + 1

// An Entry is one tracked value. Its owner fills Value and Meta between
// [Ask.Take] and [Table.Publish]; after that they do not change.
type Entry struct {
	// fresh is the time until which the entry may be returned without a
	// second thought: pending, then set once by Publish, then Dead for ever
	// when the key changed. Read by every hit.
	fresh atomic.Int64
	feed  *Feed
	// deps are what else has to be true for the entry to be returned: tokens
	// of tags and namespaces. Nil for none. Read by every hit.
	deps atomic.Pointer[[]*Entry]
	// solo is what all entries that depend on this one alone share, so that a
	// hit finds it in the processor's cache.
	solo atomic.Pointer[[]*Entry]

	// Value is the decoded value.
	Value any
	// Meta is what else the owner wants to remember of the value.
	Meta any
	// Hold is the owner's note until when not to bother about the entry's
	// renewal. Unlike the rest it may change at any time.
	Hold atomic.Int64

	id    uint64 // of this read, where changes are announced by other processes; else 0
	key   string
	reply *byte         // first byte of the reply it was made of; nil once claimed
	woken chan struct{} // closed by kill; only of entries asked for as a watch
	next  *Entry        // other entries of the same key: replies of DoCache
	raw   *rawReply     // set if this is a reply of DoCache
}

// kill makes the entry unfit for ever and wakes its watcher. It reports whether
// the entry had been published.
func (e *Entry) kill() (published bool) {
	old := e.fresh.Swap(Dead)
	if old != Dead && e.woken != nil {
		close(e.woken)
	}
	return old > pending
}

// Killed reports whether the key was changed, or its slot moved, after the
// entry was read. A value that was killed is never served again, not even as
// a stale one.
func (e *Entry) Killed() bool { return e.fresh.Load() == Dead || e.feed.flushed.Load() }

// DependOn makes the entry good only while each of deps is: while it has not
// been killed, its feed is heard and its deadline has not passed. It replaces
// what the entry depended on before. The slice must not be changed afterwards;
// nil is for none.
func (e *Entry) DependOn(deps []*Entry) {
	if deps == nil {
		e.deps.Store(nil)
		return
	}
	if len(deps) == 1 {
		e.deps.Store(deps[0].alone())
		return
	}
	many := deps // only this one escapes
	e.deps.Store(&many)
}

// alone returns the list that has just this entry.
func (e *Entry) alone() *[]*Entry {
	if p := e.solo.Load(); p != nil {
		return p
	}
	e.solo.CompareAndSwap(nil, &[]*Entry{e})
	return e.solo.Load()
}

// Lapsed reports whether something the entry depends on was killed: then the
// entry may be what somebody has invalidated.
func (e *Entry) Lapsed() bool {
	deps := e.deps.Load()
	if deps == nil {
		return false
	}
	for _, d := range *deps {
		if d.Killed() {
			return true
		}
	}
	return false
}

// Detached reports whether no connection vouches for the entry.
func (e *Entry) Detached() bool { return e.feed.detached }

// ID returns what [Table.Announced] tells the entry by, and 0 if the servers push
// changes. It is never the same for two entries of a table.
func (e *Entry) ID() uint64 { return e.id }

// Key returns the Redis key of the entry.
func (e *Entry) Key() string { return e.key }

// Woken returns a channel that is closed when the entry is killed. It is nil
// unless the entry was asked for as a watch.
func (e *Entry) Woken() <-chan struct{} { return e.woken }

// Feed returns the feed the entry depends on.
func (e *Entry) Feed() *Feed { return e.feed }

// replyID identifies a reply by where its bytes are. rueidis passes the same
// bytes to the store and to the caller, so a reader recognises the entry that
// was made of its own reply and of no other one.
func replyID(b []byte) *byte { return unsafe.SliceData(b) }

package near

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// A Store is the part of a [Table] that belongs to one connection: it is the
// rueidis.CacheStore of that connection. Its Update, Cancel, Delete and Close
// are called by rueidis from the connection's reader goroutine, in the order
// of the stream; Flight, and Cancel for a caller that gave up, from any.
type Store struct {
	t    *Table
	feed atomic.Pointer[Feed]
	// node is the address that the beats of this connection name.
	node atomic.Pointer[string]
	// armed reports that the reply before this one was the +OK of a marked
	// CLIENT CACHING YES, so that this one is tracked.
	armed  atomic.Bool
	closed atomic.Bool

	mu      sync.Mutex // protects flights
	flights map[rawKey]*flight
}

var _ rueidis.CacheStore = (*Store)(nil)

// Update receives a reply. There are four kinds: the +OK that arms the next
// one, a beat, a tracked read of ours, and a read of DoCache.
func (s *Store) Update(key, cmd string, val rueidis.RedisMessage) (pxat int64) {
	if key == "CACHING" && cmd == "CLIENTYES" {
		s.armed.Store(true)
		return 0
	}
	armed := s.armed.Swap(false)
	if cmd == "ECHO" && strings.HasPrefix(key, s.t.beatMark) {
		s.beat(key[len(s.t.beatMark):])
		return 0
	}
	if armed {
		if b, err := val.AsBytes(); err == nil {
			s.t.insert(s.feed.Load(), key, b)
		}
		return 0
	}
	return s.finish(key, cmd, val)
}

// Cancel receives the error reply of a marked command, or the news that the
// caller of DoCache gave up.
func (s *Store) Cancel(key, cmd string, err error) {
	s.armed.Store(false)
	if strings.HasPrefix(cmd, "GET") && strings.Contains(key, OwnMark) {
		// The keyed part of a beat was refused: this node no longer owns
		// the slot, or does not serve it (MOVED, CLUSTERDOWN, LOADING …).
		// It may not hear of changes any more.
		s.reset(false)
	}
	s.cancel(rawKey{key, cmd}, err)
}

// Delete receives a push: the named keys changed, or all of them (nil).
func (s *Store) Delete(keys []rueidis.RedisMessage) {
	if keys == nil {
		s.reset(true)
		s.t.counts.flushes.Add(1)
		return
	}
	for i := range keys {
		if k, err := keys[i].ToString(); err == nil && s.t.kill(k) {
			s.t.counts.pushes.Add(1)
		}
	}
}

// Close receives the end of the connection.
func (s *Store) Close(err error) {
	s.closed.Store(true)
	s.feed.Load().end(false)
	s.t.stores.remove(s)
	s.mu.Lock()
	flights := s.flights
	s.flights = nil
	s.mu.Unlock()
	for _, f := range flights {
		f.finish(rueidis.RedisMessage{}, err)
	}
	if p := s.node.Load(); p != nil {
		s.t.onLost(*p)
	}
}

// reset replaces the feed: whatever was read under the old one is dead.
func (s *Store) reset(flushed bool) {
	if s.closed.Load() {
		return
	}
	old := s.feed.Swap(newFeed(s.t.clock.Now()))
	old.end(flushed)
	if s.closed.Load() { // Close may have ended the old one only
		s.feed.Load().end(flushed)
		return
	}
	s.t.counts.resets.Add(1)
	s.t.onNewFeed()
}

// beat processes the reply of a beat, "<send time>:<node>".
func (s *Store) beat(payload string) {
	stamp, node, ok := strings.Cut(payload, ":")
	sent, err := strconv.ParseInt(stamp, 10, 64)
	if !ok || err != nil {
		return
	}
	if p := s.node.Load(); p == nil || *p != node {
		s.node.Store(&node)
	}
	f, now := s.feed.Load(), s.t.clock.Now()
	if sent < f.born {
		return // sent under an earlier feed: says nothing about this one
	}
	if heard := f.heard.Load(); heard != Dead && now-heard > s.t.max {
		// Expired once is dead for ever. A server that was frozen past its
		// failover answers the beats it had queued when it wakes up; they
		// must not bring back entries that its successor has changed.
		s.t.counts.late.Add(1)
		s.reset(false)
		return
	}
	if f.node.Load() == nil {
		f.node.Store(&node)
	}
	f.hear(sent)
}

// Beat returns the payload of a beat to a node: what has to be sent with ECHO
// over each connection of the table.
func (t *Table) Beat(node string) string {
	return t.beatMark + strconv.FormatInt(t.clock.Now(), 10) + ":" + node
}

// OwnMark is part of the key with which a beat asks whether its node still
// owns the slot.
const OwnMark = "fc-own"

// ResetNode ends the feeds of the connections to a node, because it turned
// out not to be a primary any more.
func (t *Table) ResetNode(node string) {
	if t.bus != nil { // which entries came from there is not known
		t.Gap(-1)
		return
	}
	for _, s := range t.stores.all() {
		if p := s.node.Load(); p != nil && *p == node {
			s.reset(false)
		}
	}
}

// FeedAge returns how long ago the newest beat of a node, among its
// connections, was sent, and whether there has been one. Where changes are
// announced on a bus, it is how far back the least heard partition lies.
func (t *Table) FeedAge(node string) (age time.Duration, ok bool) {
	if t.bus != nil {
		return t.busAge()
	}
	now, best := t.clock.Now(), Dead
	for _, s := range t.stores.all() {
		if p := s.node.Load(); p != nil && *p == node {
			best = max(best, s.feed.Load().heard.Load())
		}
	}
	if best == Dead {
		return 0, false
	}
	return time.Duration(now - best), true
}

type storeSet struct {
	mu sync.Mutex // protects m
	m  map[*Store]struct{}
}

func (ss *storeSet) add(s *Store) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.m == nil {
		ss.m = make(map[*Store]struct{})
	}
	ss.m[s] = struct{}{}
}

func (ss *storeSet) remove(s *Store) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.m, s)
}

func (ss *storeSet) all() []*Store {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	out := make([]*Store, 0, len(ss.m))
	for s := range ss.m {
		out = append(out, s)
	}
	return out
}

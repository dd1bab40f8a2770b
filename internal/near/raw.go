package near

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/rueidis"
)

// rawKey names a command of user code that was read with DoCache.
type rawKey struct{ key, cmd string }

// rawReply is the reply to it.
type rawReply struct {
	id    rawKey
	reply rueidis.RedisMessage
}

// raws bounds the replies kept for DoCache. What is alive is decided by the
// entries in the table; this only chooses which of them to keep.
type raws struct {
	cache *otter.Cache[rawKey, *Entry]
}

func newRaws(t *Table, limit int) *raws {
	if limit <= 0 {
		return &raws{}
	}
	return &raws{cache: otter.Must(&otter.Options[rawKey, *Entry]{
		MaximumWeight: uint64(limit),
		Weigher: func(k rawKey, e *Entry) uint32 {
			return uint32(len(k.key) + len(k.cmd) + e.raw.reply.CacheSize() + 128)
		},
		OnDeletion: func(e otter.DeletionEvent[rawKey, *Entry]) { t.Release(e.Value) },
	})}
}

// flight is a DoCache call in progress, shared by all who make it.
type flight struct {
	at   int64 // asked then, in the time of the table's clock
	feed *Feed // under this feed
	ttl  time.Duration
	done chan struct{}
	val  rueidis.RedisMessage
	err  error
}

func (f *flight) finish(val rueidis.RedisMessage, err error) {
	f.val, f.err = val, err
	close(f.done)
}

// Wait waits for the reply that another caller of DoCache has asked for.
func (f *flight) Wait(ctx context.Context) (rueidis.RedisMessage, error) {
	select {
	case <-f.done:
		return f.val, f.err
	default:
	}
	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
		return rueidis.RedisMessage{}, ctx.Err()
	}
}

// Flight answers a DoCache of user code from memory, or makes it the one that
// asks the server, or makes it wait for the one that does.
func (s *Store) Flight(key, cmd string, ttl time.Duration, _ time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	id := rawKey{key, cmd}
	if s.t.raws.cache != nil && ttl > 0 {
		if e, ok := s.t.raws.cache.GetIfPresent(id); ok && s.t.Fresh(e) {
			return e.raw.reply, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[id]; f != nil {
		return rueidis.RedisMessage{}, f
	}
	if s.flights != nil {
		s.flights[id] = &flight{at: s.t.clock.Now(), feed: s.feed.Load(), ttl: ttl, done: make(chan struct{})}
	}
	return rueidis.RedisMessage{}, nil
}

func (s *Store) take(id rawKey) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flights[id]
	delete(s.flights, id)
	return f
}

func (s *Store) cancel(id rawKey, err error) {
	if f := s.take(id); f != nil {
		f.finish(rueidis.RedisMessage{}, err)
	}
}

// finish ends the flight of a reply and keeps the reply if it may be kept. A
// reply without a flight is nobody's: it came from a redirection, untracked,
// or after its caller had given up.
func (s *Store) finish(key, cmd string, val rueidis.RedisMessage) (pxat int64) {
	id := rawKey{key, cmd}
	f := s.take(id)
	if f == nil {
		return 0
	}
	defer f.finish(val, nil)
	ttl, server := f.ttl, val.CachePTTL()
	if server >= 0 {
		ttl = min(ttl, time.Duration(server)*time.Millisecond)
	}
	if err := val.Error(); (err == nil || rueidis.IsRedisNil(err)) && ttl > 0 {
		s.keep(id, f, val, ttl)
	}
	return time.Now().Add(ttl).UnixMilli()
}

func (s *Store) keep(id rawKey, f *flight, val rueidis.RedisMessage, ttl time.Duration) {
	t := s.t
	if t.raws.cache == nil || f.feed != s.feed.Load() || f.at < t.movedAt.Load() {
		return
	}
	e := &Entry{feed: f.feed, key: id.key, raw: &rawReply{id: id, reply: val}}
	e.fresh.Store(f.at + int64(ttl))
	sh := t.shard(id.key)
	sh.mu.Lock()
	if head := sh.entries[id.key]; head != nil && head.raw == nil {
		head.next, e.next = e, head.next // the entry of ours stays in front
	} else {
		sh.entries[id.key], e.next = e, head
	}
	sh.mu.Unlock()
	if f.at < t.movedAt.Load() { // KillSlots may have passed this shard already
		t.Release(e)
		return
	}
	t.raws.cache.Set(id, e)
}

package rc

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/internal/lease"
)

const (
	// ownFor is how long a write of this process is remembered: well above the
	// time for which nodes disagree about who is primary.
	ownFor = 10 * time.Second
	// ownMax is how many are remembered at most.
	ownMax = 10_000
)

// notOurs is the time of a write that did not take place, because Redis has a
// newer version.
const notOurs = math.MinInt64

// departure is when a write of this process was sent: by the clock, and after
// which invalidations that Redis has not heard of.
type departure struct {
	at  int64
	seq uint64
}

func (m *Manager) departure() departure {
	return departure{m.now(), invalidationSeq.Load()}
}

// ours is the departure of a write with that outcome.
func (d departure) ours(out lease.Outcome) departure {
	if out == lease.Superseded {
		d.at = notOurs
	}
	return d
}

// own remembers what this process has written lately. A read may still be
// answered by a server that has not got the write: during a failover a deposed
// primary serves reads until it hears of its successor, and a successor may not
// have got the last writes of its predecessor. What such a read finds is known
// to be older than the write by its age, and is not used.
type own struct {
	n atomic.Int32 // len(writes), for readers that only want to know whether there are any

	mu     sync.Mutex // protects the rest
	writes map[string]ownWrite
	order  []ownKey // the oldest first
}

// moment is when a write was sent, and when Redis confirmed it.
type moment struct{ sent, confirmed int64 }

// missedBy reports whether a read that was sent at the time asked has found what
// was stored before the write, though it was confirmed by then.
func (w moment) missedBy(asked, stored int64) bool { return stored < w.sent && w.confirmed <= asked }

// ownWrite is the last write of a key that Redis has confirmed, and the last that
// left nothing older: the others only made what there was stale.
type ownWrite struct{ last, hard moment }

type ownKey struct {
	key  string
	sent int64
}

// note remembers a write of key, by when it was sent and when Redis confirmed
// it.
func (o *own) note(key string, soft bool, sent, confirmed int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writes == nil {
		o.writes = make(map[string]ownWrite)
	}
	w, ok := o.writes[key]
	if !ok {
		w.hard.sent = notOurs
	} else if w.last.sent > sent {
		return
	}
	w.last = moment{sent, confirmed}
	if !soft {
		w.hard = w.last
	}
	o.writes[key] = w
	o.order = append(o.order, ownKey{key, sent})
	drop := 0
	for ; drop < len(o.order); drop++ {
		old := o.order[drop]
		if len(o.order)-drop <= ownMax && sent-old.sent < int64(ownFor) {
			break
		}
		if o.writes[old.key].last.sent == old.sent {
			delete(o.writes, old.key)
		}
	}
	o.order = o.order[drop:]
	o.n.Store(int32(len(o.writes)))
}

// after reports whether a value, that was asked for at the given time and stored
// by another at the latest, is older than what this process had written before
// it asked, and whether that was only to make it stale. A read that was sent
// before the write was confirmed may see either.
func (o *own) after(key string, asked, stored int64) (older, soft bool) {
	if o.n.Load() == 0 {
		return false, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w, ok := o.writes[key]
	switch {
	case !ok:
		return false, false
	case w.hard.missedBy(asked, stored):
		return true, false
	}
	return w.last.missedBy(asked, stored), true
}

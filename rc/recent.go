package rc

import (
	"sync"
	"time"
)

// recent remembers the invalidations that Redis took in the last moments. A
// primary that fails takes those with it that its successor had not got yet;
// sent once more, they cost a load, and what they were to remove is gone.
type recent struct {
	m      *Manager
	window time.Duration // 0: nothing is remembered
	limit  int

	mu   sync.Mutex // protects ring, from
	ring []delivered
	from int // index of the oldest in ring
}

// delivered is an invalidation that arrived.
type delivered struct {
	key string
	inv change
	at  int64
}

// note remembers an invalidation. The oldest make room when there are too many.
func (r *recent) note(key string, inv change) {
	if r.window <= 0 {
		return
	}
	d := delivered{key, inv, r.m.now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < r.limit {
		r.ring = append(r.ring, d)
		return
	}
	r.ring[r.from] = d
	r.from = (r.from + 1) % len(r.ring)
}

// again queues those whose keys match, of the last moments before the silence that
// ended in the loss: a successor may not have got what came right before it.
func (r *recent) again(silence time.Duration, match func(key string) bool) {
	if r.window <= 0 {
		return
	}
	since := r.m.now() - int64(r.window+silence)
	r.mu.Lock()
	todo := map[string]change{}
	for i := range r.ring { // the oldest first: the last of a key counts
		if d := r.ring[(r.from+i)%len(r.ring)]; d.at >= since {
			if old, ok := todo[d.key]; ok {
				d.inv = d.inv.after(old)
			}
			todo[d.key] = d.inv
		}
	}
	r.mu.Unlock()
	for key, inv := range todo {
		if match(key) {
			r.m.queue.resend(key, inv)
		}
	}
	r.m.queue.wake()
}

package rc

import (
	"context"
	"sync"

	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/topology"
)

// maxSenders is how many pipelines of reads are on their way to a node at a
// time. While fewer are, a read is sent at once by its own goroutine; the rest
// gathers, and goes out together with the next. So an idle service pays no
// delay, and a busy one pays for a pipeline once and not per read: at 128
// concurrent readers that halves the CPU time of a read.
const maxSenders = 4

// A readQueue gathers the reads of one node.
type readQueue struct {
	m       *Manager
	node    *topology.Node
	tracked bool

	mu      sync.Mutex // protects pending, senders, and all but key of each queuedRead
	pending []*queuedRead
	senders int
}

// queuedRead is one read in a queue.
type queuedRead struct {
	key string
	v   lease.Value
	err error
	// answered reports that v and err are set; lead that whoever waits for
	// this read is to send the next pipeline; gone that nobody waits for it.
	answered, lead, gone bool
	// turn gets one message: the read is done, or lead is set.
	turn chan struct{}
}

// queueOf returns the queue of a node, for tracked reads or others.
func (m *Manager) queueOf(n *topology.Node, tracked bool) *readQueue {
	queues := &m.queues[0]
	if tracked {
		queues = &m.queues[1]
	}
	if q, ok := queues.Load(n); ok {
		return q.(*readQueue)
	}
	q, _ := queues.LoadOrStore(n, &readQueue{m: m, node: n, tracked: tracked})
	return q.(*readQueue)
}

// read reads a value over its node's queue.
func (m *Manager) read(ctx context.Context, key string, tracked bool) (lease.Value, error) {
	n := m.topo.For(key)
	if n == nil || n.Open() {
		return lease.Value{}, &NodeError{Node: addr(n), Err: errNotServing}
	}
	q := m.queueOf(n, tracked)
	r := &queuedRead{key: key}
	q.mu.Lock()
	if q.senders < maxSenders {
		q.senders++
		q.mu.Unlock()
		q.send(ctx, []*queuedRead{r})
		return r.v, r.err
	}
	r.turn = make(chan struct{}, 1)
	q.pending = append(q.pending, r)
	q.mu.Unlock()
	if q.wait(ctx, r) {
		q.send(ctx, q.gather(r))
	}
	return r.v, r.err
}

// wait waits until the read was answered, or it is its turn to send.
func (q *readQueue) wait(ctx context.Context, r *queuedRead) (lead bool) {
	select {
	case <-r.turn:
		return r.lead
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.answered {
		return false // a result that is there beats a context that ended
	}
	r.gone, r.err = true, ctx.Err()
	if r.lead { // it was given the turn meanwhile, and passes it on
		q.passLocked()
	}
	return false
}

// gather returns a read whose turn it is, and those that wait behind it.
func (q *readQueue) gather(r *queuedRead) []*queuedRead {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := make([]*queuedRead, 1, 1+len(q.pending))
	batch[0] = r
	for _, p := range q.pending {
		if !p.gone {
			batch = append(batch, p)
		}
	}
	clear(q.pending)
	q.pending = q.pending[:0]
	return batch
}

// send sends a pipeline.
func (q *readQueue) send(ctx context.Context, batch []*queuedRead) {
	q.deliver(ctx, batch, q.exchange(ctx, batch))
}

// deliver gives each read its answer, and passes the turn. If the sender's own
// context ended, the others go out again with one of them.
func (q *readQueue) deliver(ctx context.Context, batch []*queuedRead, results []lease.ValueOr) {
	var again []*queuedRead
	q.mu.Lock()
	for i, r := range batch {
		if i > 0 && results[i].Err != nil && ctx.Err() != nil {
			again = append(again, r)
			continue
		}
		q.answerLocked(r, results[i])
	}
	q.pending = append(q.pending, again...)
	q.passLocked()
	q.mu.Unlock()
}

// exchange sends the reads and returns their results.
func (q *readQueue) exchange(ctx context.Context, batch []*queuedRead) []lease.ValueOr {
	octx, cancel := q.m.opMany(ctx, len(batch))
	defer cancel()
	var results []lease.ValueOr
	if len(batch) == 1 {
		read := q.m.redis.Peek
		if q.tracked {
			read = q.m.redis.Read
		}
		v, err := read(octx, batch[0].key)
		results = []lease.ValueOr{{Value: v, Err: err}}
	} else {
		keys := make([]string, len(batch))
		for i, r := range batch {
			keys[i] = r.key
		}
		results = q.m.redis.ReadMany(octx, keys, q.tracked)
	}
	for i := range results {
		results[i].Err = q.m.done(ctx, q.node, results[i].Err)
	}
	return results
}

// answerLocked gives a read its result, and wakes who waits for it.
func (q *readQueue) answerLocked(r *queuedRead, v lease.ValueOr) {
	if r.gone {
		if v.Entry != nil {
			q.m.table.Release(v.Entry)
		}
		return
	}
	r.v, r.err, r.answered = v.Value, v.Err, true
	if r.turn != nil && !r.lead {
		r.turn <- struct{}{}
	}
}

// passLocked gives the turn to send to the next read that somebody waits for.
func (q *readQueue) passLocked() {
	for len(q.pending) > 0 {
		r := q.pending[0]
		q.pending = q.pending[1:]
		if !r.gone {
			r.lead = true
			r.turn <- struct{}{}
			return
		}
	}
	q.senders--
}

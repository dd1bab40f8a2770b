//go:build unix

package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// writeArgs says how the keys of the ledger are written until the test ends it.
type writeArgs struct {
	// Pause is the rest between two writes of one key.
	Pause time.Duration
	// DeleteEvery makes every that many-th write a Delete instead of a Set,
	// and the one after it an Expire. 0 only sets.
	DeleteEvery uint64
	// Tags makes every write an invalidation of the key's tag, and every third
	// one an ExpireTag: the values are never written.
	Tags bool
}

// writeResult is what came of it.
type writeResult struct {
	Acknowledged, Failed uint64
	// Lost counts versions that were acknowledged and that Redis does not
	// know any more: it holds an older one.
	Lost  uint64
	Error string // one of those of the failed
}

// writer is one goroutine per key that writes it.
type writer struct {
	w    *worker
	args writeArgs
	stop atomic.Bool
	wg   sync.WaitGroup // of the goroutines, which end after stop

	mu  sync.Mutex // protects sum
	sum writeResult
}

func startWriter(w *worker, a writeArgs) *writer {
	wr := &writer{w: w, args: a}
	for key := range w.args.IDs {
		wr.wg.Go(func() { wr.write(key) })
	}
	return wr
}

func (wr *writer) end() writeResult {
	wr.stop.Store(true)
	wr.wg.Wait()
	return wr.sum
}

func (wr *writer) write(key int) {
	var res writeResult
	var last uint64 // acknowledged
	tokens := tokensSeen{}
	for !wr.stop.Load() {
		switch {
		case wr.args.Tags:
			res.Lost += wr.lookAtToken(key, last, tokens)
		case last > 0:
			res.Lost += wr.look(key, last)
		}
		v, err := wr.writeOne(key)
		if err != nil {
			res.Failed++
			res.Error = err.Error()
		} else {
			wr.w.ledger.acknowledge(key, v, monotonic())
			res.Acknowledged++
			last = v
		}
		time.Sleep(wr.args.Pause) // sets the rate; decides nothing
	}
	wr.mu.Lock()
	defer wr.mu.Unlock()
	wr.sum.Acknowledged += res.Acknowledged
	wr.sum.Failed += res.Failed
	wr.sum.Lost += res.Lost
	if wr.sum.Error == "" {
		wr.sum.Error = res.Error
	}
}

// writeOne changes the database, then tells the cache.
func (wr *writer) writeOne(key int) (uint64, error) {
	id := wr.w.args.IDs[key]
	v := wr.w.ledger.commit(key)
	ctx := context.Background()
	if wr.args.Tags {
		tag, tell := wr.w.args.Tags[key], wr.w.manager.InvalidateTag
		if v%3 == 0 {
			tell = wr.w.manager.ExpireTag
		}
		return v, tell(ctx, tag)
	}
	if n := wr.args.DeleteEvery; n > 0 {
		switch v % n {
		case 0:
			return v, wr.w.rows.Delete(ctx, id)
		case 1:
			return v, wr.w.rows.Expire(ctx, id)
		}
	}
	return v, wr.w.rows.Set(ctx, id, row{id, v})
}

// look compares what Redis holds with the last acknowledged version, takes
// back what it has forgotten, and returns how many versions that is. No value
// is nothing forgotten that a reader could be shown.
func (wr *writer) look(key int, last uint64) uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), wr.w.args.OpTimeout)
	defer cancel()
	v, err := wr.w.peek(ctx, wr.w.args.IDs[key])
	if err != nil || v == 0 || v >= last {
		return 0
	}
	wr.w.ledger.forget(key, v+1, last)
	return last - v
}

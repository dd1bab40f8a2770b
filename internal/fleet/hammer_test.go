//go:build unix

package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// hammerArgs says how the keys of the ledger are read until the test ends it.
type hammerArgs struct {
	// Paced is the number of goroutines that rest after every few reads, so
	// that two cores suffice for everybody; Spinning that of those that never
	// do: they are in the middle of a read when their process is frozen.
	Paced, Spinning int
	// LoadTakes is how long a load takes at least.
	LoadTakes time.Duration
}

// suspect is a read from beyond the bound, by the ledger as it was then.
type suspect struct {
	Key     int
	Version uint64
	Began   int64
	Source  string
}

// maxSuspects bounds how many are reported; all are counted.
const maxSuspects = 2000

// hammerResult is what was seen. Add sums two.
type hammerResult struct {
	Reads    uint64
	Suspects []suspect
	Seen     uint64 // number of suspects
	// Stalest is the greatest staleness of a read: the time from the
	// acknowledgement of a newer version to the begin of the read.
	Stalest time.Duration
	// Slowest is the longest read of each key.
	Slowest [ledgerKeys]time.Duration
	Errors  uint64
	Error   string // one of them
}

func (r *hammerResult) add(o hammerResult) {
	r.Reads += o.Reads
	r.Seen += o.Seen
	r.Suspects = append(r.Suspects, o.Suspects[:min(len(o.Suspects), maxSuspects-len(r.Suspects))]...)
	r.Stalest = max(r.Stalest, o.Stalest)
	for k, d := range o.Slowest {
		r.Slowest[k] = max(r.Slowest[k], d)
	}
	r.Errors += o.Errors
	if r.Error == "" {
		r.Error = o.Error
	}
}

// hammer is readers at work.
type hammer struct {
	w    *worker
	args hammerArgs
	stop atomic.Bool
	wg   sync.WaitGroup // of the readers, which end after stop

	mu  sync.Mutex // protects sum
	sum hammerResult
}

func startHammer(w *worker, a hammerArgs) *hammer {
	h := &hammer{w: w, args: a}
	for i := range a.Paced + a.Spinning {
		h.wg.Go(func() { h.read(i < a.Spinning) })
	}
	return h
}

func (h *hammer) end() hammerResult {
	h.stop.Store(true)
	h.wg.Wait()
	return h.sum
}

func (h *hammer) read(spin bool) {
	var res hammerResult
	ctx, source := withSource(context.Background())
	for i := 0; !h.stop.Load(); i++ {
		h.readOne(ctx, source, rand.IntN(len(h.w.args.IDs)), &res)
		if !spin && i%8 == 7 {
			time.Sleep(200 * time.Microsecond) // leaves the cores to others; decides nothing
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sum.add(res)
}

func (h *hammer) readOne(ctx context.Context, source *rc.Source, key int, res *hammerResult) {
	id := h.w.args.IDs[key]
	*source = rc.FromLoader
	began := monotonic()
	r, err := h.w.rows.GetOrSet(ctx, id, func(context.Context) (row, error) {
		v := h.w.ledger.load(key)
		time.Sleep(h.args.LoadTakes) // a slow database; 0 in most tests
		return row{id, v}, nil
	})
	res.Reads++
	res.Slowest[key] = max(res.Slowest[key], time.Duration(monotonic()-began))
	if err == nil && r.ID != id {
		err = fmt.Errorf("GetOrSet(%q) is the value of %q", id, r.ID)
	}
	if err != nil {
		res.Errors++
		res.Error = err.Error()
		return
	}
	acked := h.w.ledger.superseded(key, r.Version)
	if acked == 0 || acked >= began {
		return
	}
	stale := time.Duration(began - acked)
	if stale <= h.w.args.MaxStaleness {
		res.Stalest = max(res.Stalest, stale)
		return
	}
	res.Seen++
	if len(res.Suspects) < maxSuspects {
		res.Suspects = append(res.Suspects, suspect{key, r.Version, began, source.String()})
	}
}

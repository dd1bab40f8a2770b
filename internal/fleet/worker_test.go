//go:build unix

package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/rc"
)

// workerEnv in the environment makes the test binary a worker.
const workerEnv = "FLEETCACHE_TEST_WORKER"

// row is what is cached: the version of a key that the database had.
type row struct {
	ID      string
	Version uint64
}

// openArgs is what a worker opens: the fields of rc.Options and rc.Config that
// the tests set, by their names there.
type openArgs struct {
	URL, Namespace                                 string
	MaxStaleness, OpTimeout, DialTimeout           time.Duration
	TTL, StaleFor, LeaseTTL, LockWait, LoadTimeout time.Duration
	EarlyFraction                                  float64
	// Ledger is the file of the ledger, IDs the identifiers of its keys.
	Ledger string
	IDs    []string
	// Tags, if not nil, has one tag for each of IDs.
	Tags []string
}

// tagsOf is Config.Tags: nil if there are none.
func (a openArgs) tagsOf() func(id string, r row) []string {
	if a.Tags == nil {
		return nil
	}
	return func(id string, _ row) []string { return []string{a.Tags[slices.Index(a.IDs, id)]} }
}

// worker is one process of the fleet.
type worker struct {
	args    openArgs
	link    *workers.Link
	manager *rc.Manager
	rows    *rc.CacheService[row]
	ledger  *ledger

	mu     sync.Mutex // protects hammer and writer
	hammer *hammer
	writer *writer
}

// runWorker serves the test until its standard input ends, and returns the exit
// code.
func runWorker() int {
	w := &worker{}
	w.link = workers.NewLink(os.Stdout, w.serve)
	w.link.Read(os.Stdin)
	if w.manager != nil {
		_ = w.manager.Close() // says what it could not deliver; some tests leave such
	}
	return 0
}

func (w *worker) serve(op string, body json.RawMessage) (any, error) {
	switch op {
	case "open":
		return nil, w.open(body)
	case "stats":
		return w.manager.Stats(), nil
	case "call":
		a, err := decode[callArgs](body)
		if err != nil {
			return nil, err
		}
		return w.call(a)
	case "sweep":
		a, err := decode[sweepArgs](body)
		if err != nil {
			return nil, err
		}
		return w.sweep(a), nil
	case "hammer":
		a, err := decode[hammerArgs](body)
		if err != nil {
			return nil, err
		}
		w.hammer = startHammer(w, a)
		return nil, nil
	case "hammered":
		return w.hammer.end(), nil
	case "write":
		a, err := decode[writeArgs](body)
		if err != nil {
			return nil, err
		}
		w.writer = startWriter(w, a)
		return nil, nil
	case "written":
		return w.writer.end(), nil
	}
	return nil, fmt.Errorf("worker: no such operation %q", op)
}

func (w *worker) open(body json.RawMessage) (err error) {
	a, err := decode[openArgs](body)
	if err != nil {
		return err
	}
	if w.ledger, err = openLedger(a.Ledger); err != nil {
		return err
	}
	w.args = a
	w.manager, err = rc.Open(context.Background(), a.URL, rc.Options{
		MaxStaleness: a.MaxStaleness, OpTimeout: a.OpTimeout, DialTimeout: a.DialTimeout, Observer: sources{},
	})
	if err != nil {
		return err
	}
	w.rows, err = rc.New(w.manager, a.Namespace, rc.Config[row]{
		TTL: a.TTL, StaleFor: a.StaleFor, LeaseTTL: a.LeaseTTL, LockWait: a.LockWait, LoadTimeout: a.LoadTimeout,
		EarlyFraction: a.EarlyFraction, EarlyBeta: rc.Off, Jitter: rc.Off, Tags: a.tagsOf(),
	})
	return err
}

// callArgs is one call of the cache, by several callers at once if Callers is
// above 1.
type callArgs struct {
	Verb    string // getorset, set, delete, expire, peek
	ID      string
	Version uint64 // for set
	Callers int
}

// callResult is what came of a call. Versions has one element per caller.
type callResult struct {
	Versions []uint64
	// Took is the longest of the callers, by the worker's clock.
	Took time.Duration
	// Queued reports that a write failed and was kept for later.
	Queued bool
}

func (w *worker) call(a callArgs) (res callResult, err error) {
	ctx := context.Background()
	began := time.Now()
	defer func() { res.Took = time.Since(began) }()
	switch a.Verb {
	case "getorset":
		return w.getMany(a)
	case "set":
		err = w.rows.Set(ctx, a.ID, row{a.ID, a.Version})
	case "delete":
		err = w.rows.Delete(ctx, a.ID)
	case "expire":
		err = w.rows.Expire(ctx, a.ID)
	case "peek":
		v, err := w.peek(ctx, a.ID)
		return callResult{Versions: []uint64{v}}, err
	default:
		err = fmt.Errorf("worker: no such verb %q", a.Verb)
	}
	var inv *rc.InvalidationError
	if errors.As(err, &inv) && inv.Queued {
		return callResult{Queued: true}, nil
	}
	return res, err
}

func (w *worker) getMany(a callArgs) (callResult, error) {
	n := cmp.Or(a.Callers, 1)
	res := callResult{Versions: make([]uint64, n)}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, err := w.rows.GetOrSet(context.Background(), a.ID, w.askParent(a.ID))
			if err == nil && r.ID != a.ID {
				err = fmt.Errorf("GetOrSet(%q) is the value of %q", a.ID, r.ID)
			}
			res.Versions[i], errs[i] = r.Version, err
		})
	}
	wg.Wait()
	return res, errors.Join(errs...)
}

// askParent returns a loader for which the test is the database.
func (w *worker) askParent(id string) func(context.Context) (row, error) {
	return func(ctx context.Context) (r row, err error) {
		err = w.link.Call(ctx, "load", id, &r)
		return r, err
	}
}

// peek returns the version that Redis holds, 0 if none or if it is marked stale.
func (w *worker) peek(ctx context.Context, id string) (uint64, error) {
	key, err := w.rows.Key(id)
	if err != nil {
		return 0, err
	}
	c := w.manager.Client()
	raw, err := c.Do(ctx, c.B().Get().Key(key).Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	h, payload, err := envelope.Parse(raw, key)
	if err != nil || h.Stale {
		return 0, err
	}
	r, err := decode[row](payload)
	return r.Version, err
}

//go:build unix

package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/hist"
	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// RoleName is the role of a process of the service in package crew.
const RoleName = "node"

// Role is a process of the service, for crew.Enter.
func Role() (workers.Serve, func()) {
	n := &node{}
	return n.serve, func() { _ = n.end() } // its parent may be gone
}

// runArgs are the rounds of requests of a process.
type runArgs struct {
	Start   int64 // by workers.Now
	Every   time.Duration
	Rounds  int
	Callers int // for each product
}

// runResult is what the callers of a process have seen.
type runResult struct {
	Latency hist.Sent
	Slowest time.Duration
	// Errors counts requests without a value, by what they failed with.
	Errors map[string]int
	// Oldest is the longest time between the moment the database read a row
	// and the moment a caller got it.
	Oldest time.Duration
	// Wrong is an answer that no cache may give.
	Wrong string
	// Late is how late the latest round began.
	Late time.Duration
}

// node is a process of the service.
type node struct {
	args  openArgs
	db    *origin.Client
	cache cache
}

func (n *node) serve(op string, body json.RawMessage) (any, error) {
	switch op {
	case "open":
		a, err := workers.Decode[openArgs](body)
		if err != nil {
			return nil, err
		}
		return nil, n.open(a)
	case "run":
		a, err := workers.Decode[runArgs](body)
		if err != nil {
			return nil, err
		}
		return n.run(a)
	case "end":
		return nil, n.end()
	}
	return nil, fmt.Errorf("steps: no such operation %q", op)
}

func (n *node) open(a openArgs) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n.args = a
	if n.db, err = origin.Dial(ctx, a.Socket); err != nil {
		return err
	}
	n.cache, err = openCache(ctx, a)
	return err
}

func (n *node) end() error {
	var errs []error
	if n.cache != nil {
		errs = append(errs, n.cache.close())
		n.cache = nil
	}
	if n.db != nil {
		errs = append(errs, n.db.Close())
		n.db = nil
	}
	return errors.Join(errs...)
}

// tally is what the callers of a process note.
type tally struct {
	mu      sync.Mutex // protects the fields below
	latency *hist.Histogram
	errors  map[string]int
	oldest  int64
	slowest int64
	wrong   string
}

// run makes the rounds of requests, each at its time whether or not those
// before it have been answered, and waits for all answers.
func (n *node) run(a runArgs) (runResult, error) {
	t := &tally{latency: hist.New(), errors: map[string]int{}}
	var late time.Duration
	var wg sync.WaitGroup
	for round := range a.Rounds {
		at := a.Start + int64(a.Every)*int64(round)
		time.Sleep(time.Duration(at - workers.Now()))
		late = max(late, time.Duration(workers.Now()-at))
		for range a.Callers {
			for _, id := range n.args.IDs {
				wg.Go(func() { n.request(t, id) }) // until its answer
			}
		}
	}
	wg.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wrong != "" {
		return runResult{}, errors.New(t.wrong)
	}
	return runResult{
		Latency: hist.Pack(t.latency), Slowest: time.Duration(t.slowest), Errors: t.errors, Oldest: time.Duration(t.oldest), Late: late,
	}, nil
}

func (n *node) request(t *tally, id string) {
	began := time.Now()
	r, err := n.cache.get(context.Background(), id, func(ctx context.Context) (origin.Row, error) { return n.db.Query(ctx, id) })
	t.note(int64(time.Since(began)), workers.Now()-r.Read, err)
	if err == nil && (r.ID != id || r.Version != 1) {
		t.fault(fmt.Sprintf("steps: a read of %q got version %d of %q", id, r.Version, r.ID))
	}
}

// note adds an answer that took some time and was of some age.
func (t *tally) note(took, age int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := hist.Note(t.latency, took); e != nil {
		t.wrong = e.Error()
	}
	t.slowest = max(t.slowest, took)
	if err != nil {
		t.errors[cause(err)]++
		return
	}
	t.oldest = max(t.oldest, age)
}

func (t *tally) fault(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong = text
}

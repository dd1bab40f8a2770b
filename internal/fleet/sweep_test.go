//go:build unix

package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// sweepArgs says how callers read keys whose loads the test answers.
type sweepArgs struct {
	IDs     []string
	Callers int
	// For is how long each caller reads random keys, resting for Pause after
	// each. 0: each caller reads every key once, in an order of its own.
	For, Pause time.Duration
	// Slow is the time above which a read is counted as slow.
	Slow time.Duration
}

// sweepResult is what came of it.
type sweepResult struct {
	Reads, Errors, Slow uint64
	Slowest             time.Duration
	Error               string // one of them
}

func (w *worker) sweep(a sweepArgs) sweepResult {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		sum sweepResult
	)
	for range a.Callers {
		wg.Go(func() {
			res := w.sweepOne(a)
			mu.Lock()
			defer mu.Unlock()
			sum.add(res)
		})
	}
	wg.Wait()
	return sum
}

func (r *sweepResult) add(o sweepResult) {
	r.Reads += o.Reads
	r.Errors += o.Errors
	r.Slow += o.Slow
	r.Slowest = max(r.Slowest, o.Slowest)
	if r.Error == "" {
		r.Error = o.Error
	}
}

func (w *worker) sweepOne(a sweepArgs) (res sweepResult) {
	read := func(id string) {
		began := time.Now()
		r, err := w.rows.GetOrSet(context.Background(), id, w.askParent(id))
		took := time.Since(began)
		res.Reads++
		res.Slowest = max(res.Slowest, took)
		if took > a.Slow {
			res.Slow++
		}
		if err == nil && r.ID != id {
			err = errors.New("GetOrSet(" + id + ") is the value of " + r.ID)
		}
		if err != nil {
			res.Errors++
			res.Error = err.Error()
		}
	}
	if a.For == 0 {
		for _, i := range rand.Perm(len(a.IDs)) {
			read(a.IDs[i])
		}
		return res
	}
	for end := time.Now().Add(a.For); time.Now().Before(end); {
		read(a.IDs[rand.IntN(len(a.IDs))])
		time.Sleep(a.Pause) // sets the rate; decides nothing
	}
	return res
}

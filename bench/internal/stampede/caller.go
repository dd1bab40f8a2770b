//go:build unix

package stampede

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/hist"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// caller is one of those who read, or write, all the time. What it notes is its
// own until it has left.
type caller struct {
	w       *worker
	args    runArgs
	random  *rand.Rand
	samples []sample
	errors  map[string]int
	wrong   string
	late    *hist.Histogram

	acks                map[int][]ack
	writes, unannounced int
}

// run has the callers of a phase read until its end.
func (w *worker) run(a runArgs) runResult {
	began := cpuTime()
	callers := make([]*caller, 0, a.Callers+1)
	for i := range a.Callers + 1 {
		callers = append(callers, &caller{
			w: w, args: a, errors: map[string]int{}, acks: map[int][]ack{},
			random: rand.New(rand.NewPCG(a.Seed, uint64(i))),
			late:   hist.New(),
		})
	}
	var wg sync.WaitGroup
	for _, c := range callers[:a.Callers] {
		wg.Go(c.read) // until the end of the phase
	}
	if len(a.Writes) > 0 {
		wg.Go(callers[a.Callers].write) // until the end of the phase
	}
	wg.Wait()
	return w.sum(callers, began)
}

// sum adds up what the callers have noted.
func (w *worker) sum(callers []*caller, began time.Duration) runResult {
	r := runResult{CPU: cpuTime() - began, Errors: map[string]int{}, Acks: callers[len(callers)-1].acks}
	late := hist.New()
	w.samples = w.samples[:0]
	for _, c := range callers {
		w.samples = append(w.samples, c.samples...)
		late.Merge(c.late)
		r.Writes += c.writes
		r.Unannounced += c.unannounced
		for text, n := range c.errors {
			r.Errors[text] += n
		}
		if c.wrong != "" {
			r.Wrong = c.wrong
		}
	}
	r.Requests = len(w.samples)
	r.Late = time.Duration(late.ValueAtQuantile(99))
	return r
}

// pause waits for about d, and reports whether the phase goes on after that.
func (c *caller) pause(d time.Duration) bool {
	d = time.Duration((0.5 + c.random.Float64()) * float64(d))
	began := time.Now()
	time.Sleep(d)
	_ = c.late.RecordValue(int64(max(time.Since(began)-d, 1))) // beyond the longest it is not noted
	return c.w.clock.now() < c.args.End
}

// read makes requests for random keys.
func (c *caller) read() {
	time.Sleep(time.Duration(c.args.Start - c.w.clock.now()))
	for c.pause(c.args.Think) {
		key := c.random.IntN(len(c.args.From))
		if c.args.From[key] > c.w.clock.now() {
			continue // its time has not come
		}
		c.request(key)
	}
}

func (c *caller) request(key int) {
	id := c.w.args.IDs[key]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := c.w.clock.now()
	p, err := c.w.cache.GetOrLoad(ctx, id, c.load(id))
	s := sample{key: int32(key), began: began, took: c.w.clock.now() - began, failed: err != nil}
	if err != nil {
		c.errors[cause(err)]++
	} else if s.version, err = version(p, id); err != nil {
		c.wrong = err.Error()
	}
	c.samples = append(c.samples, s)
}

// load asks the database.
func (c *caller) load(id string) func(context.Context) (subject.Product, error) {
	return func(ctx context.Context) (subject.Product, error) {
		r, err := c.w.db.Query(ctx, id)
		if err != nil {
			return subject.Product{}, err
		}
		return product(r), nil
	}
}

// write updates the keys of this instance in turn: the database first, then
// the cache.
func (c *caller) write() {
	time.Sleep(time.Duration(c.args.Start - c.w.clock.now()))
	for i := 0; c.pause(c.args.WriteEvery); i++ {
		key := c.args.Writes[i%len(c.args.Writes)]
		if c.args.From[key] > c.w.clock.now() {
			continue
		}
		c.update(key)
	}
}

func (c *caller) update(key int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	id := c.w.args.IDs[key]
	v, err := c.w.db.Update(ctx, id)
	if err != nil { // the database does not fail in this test
		c.wrong = err.Error()
		return
	}
	c.writes++
	if err := c.w.cache.Invalidate(ctx, id); err != nil {
		c.unannounced++
		c.errors["invalidate: "+cause(err)]++
		return
	}
	c.acks[key] = append(c.acks[key], ack{v, c.w.clock.now()})
}

// cause names what a request failed with, without what differs between keys
// and nodes.
func cause(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "deadline exceeded"
	}
	text := err.Error()
	for _, known := range []string{
		"CLUSTERDOWN", "connection refused", "connection reset", "broken pipe", "EOF", "i/o timeout", "MOVED", "READONLY", "LOADING",
		"does not answer", "too many loads without redis", "redis is unavailable", "lock already taken", "unlock",
	} {
		if strings.Contains(text, known) {
			return known
		}
	}
	return text[:min(len(text), 120)]
}

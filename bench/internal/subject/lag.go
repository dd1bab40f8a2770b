package subject

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// A Lag is how long after a verb had returned in one Manager another one still
// served the old value from memory, for many invalidations.
type Lag struct {
	all    []time.Duration // sorted
	Before int             // how many were seen before the verb had returned
}

// At returns a quantile: 0.5 is the median, 1 the largest.
func (l *Lag) At(q float64) time.Duration {
	return l.all[max(0, min(len(l.all)-1, int(q*float64(len(l.all)))))]
}

// Count returns how many invalidations were measured.
func (l *Lag) Count() int { return len(l.all) }

// A Pair is two Managers of one deployment: what the writer changes, the
// reader has in memory.
type Pair struct {
	writer, reader *Fleet
	// Limit ends a wait: a reader that has not noticed by then never will.
	Limit time.Duration
}

// OpenPair connects two Managers. Both end with Close.
func OpenPair(ctx context.Context, url string, c rc.Coherence) (*Pair, error) {
	w, err := OpenAll(ctx, url, rc.Options{Coherence: c})
	if err != nil {
		return nil, err
	}
	r, err := OpenAll(ctx, url, rc.Options{Coherence: c})
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &Pair{writer: w, reader: r, Limit: 10 * time.Second}, nil
}

// Close ends both.
func (p *Pair) Close() error { return errors.Join(p.reader.Close(), p.writer.Close()) }

const (
	lagID  = "lag"
	lagTag = "lag:tag"
	// spin is how long a reader reads without a pause. After that it sleeps
	// between reads: on a machine with few cores it would otherwise take the one
	// that its own connection waits for. A lag can only come out longer by it:
	// as spin and a little, where the connection got no core before, and by up
	// to a millisecond, which is what a short sleep may take.
	spin  = 200 * time.Microsecond
	pause = 20 * time.Microsecond
)

// LagVerbs returns the verbs whose lag is measured. Each ends the value of
// lagID.
func (p *Pair) LagVerbs() []Verb {
	ctx, w := context.Background(), p.writer
	return []Verb{
		{"InvalidateTag", "", func(int) error { return w.Manager.InvalidateTag(ctx, lagTag) }},
		{ClearAll, "", func(int) error { return w.Service.Clear(ctx) }},
		{Delete1, "", func(int) error { return w.Service.Delete(ctx, lagID) }},
	}
}

// Measure invalidates n times. Each time the reader has the value in memory
// before, and reads it over and over afterwards. A lag ends where the first read
// begins that does not get the old value.
func (p *Pair) Measure(ctx context.Context, v Verb, n int) (*Lag, error) {
	l := &Lag{all: make([]time.Duration, 0, n)}
	for i := range n {
		want := NewProduct(int64(i))
		if err := p.writer.Service.Set(ctx, lagID, want, rc.WithTags(lagTag)); err != nil {
			return nil, err
		}
		if err := p.hold(ctx, want.ID); err != nil {
			return nil, err
		}
		if err := v.Do(i); err != nil {
			return nil, err
		}
		d, reads, err := p.gone(ctx, want.ID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
		if reads == 0 {
			l.Before++
		}
		l.all = append(l.all, d)
	}
	slices.Sort(l.all)
	return l, nil
}

// hold reads until the reader has the value in memory.
func (p *Pair) hold(ctx context.Context, id int64) error {
	for began := time.Now(); ; breathe(time.Since(began)) {
		it, err := p.reader.Service.Lookup(ctx, lagID)
		switch {
		case err != nil:
			return err
		case it.Found && it.Source == rc.FromL1 && it.Value.ID == id:
			return nil
		case time.Since(began) > p.Limit:
			return fmt.Errorf("the reader does not get value %d into its memory within %v", id, p.Limit)
		}
	}
}

// gone reads until the reader no longer has the value, and returns how long that
// took and how many reads got it still.
func (p *Pair) gone(ctx context.Context, id int64) (d time.Duration, reads int, err error) {
	began := time.Now()
	for ; ; reads++ {
		d = time.Since(began)
		v, found, err := p.reader.Service.Get(ctx, lagID)
		switch {
		case err != nil:
			return 0, reads, err
		case !found:
			return d, reads, nil
		case v.ID != id:
			return 0, reads, fmt.Errorf("the reader got value %d, want %d or none", v.ID, id)
		case d > p.Limit:
			return 0, reads, fmt.Errorf("the reader still has the old value after %v", p.Limit)
		}
		breathe(d)
	}
}

// breathe gives the core away between two reads.
func breathe(since time.Duration) {
	if since < spin {
		runtime.Gosched()
		return
	}
	time.Sleep(pause)
}

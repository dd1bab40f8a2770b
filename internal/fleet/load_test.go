//go:build unix

package fleet

import (
	"sync"
	"time"
)

// loadRecord is one load as the database saw it.
type loadRecord struct {
	by           *proc
	began, ended int64 // ended is 0 while it runs
}

// database answers the loads of all workers, and remembers them.
type database struct {
	takes time.Duration // how long a load takes

	mu    sync.Mutex // protects loads
	loads map[string][]*loadRecord
}

func newDatabase(takes time.Duration) *database {
	return &database{takes: takes, loads: map[string][]*loadRecord{}}
}

func (d *database) load(p *proc, id string) (row, error) {
	r := &loadRecord{by: p, began: monotonic()}
	d.mu.Lock()
	d.loads[id] = append(d.loads[id], r)
	v := uint64(len(d.loads[id]))
	d.mu.Unlock()
	time.Sleep(d.takes) // a slow database
	d.mu.Lock()
	r.ended = monotonic()
	d.mu.Unlock()
	return row{id, v}, nil
}

// count returns the number of loads.
func (d *database) count() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.loads {
		n += len(l)
	}
	return n
}

// gaps returns, for each load but the first of a key, the time from the end of
// the one before to its begin. It is negative if they overlapped.
func (d *database) gaps() (gaps []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.loads {
		for i := 1; i < len(l); i++ {
			gap := time.Duration(l[i].began - l[i-1].ended)
			if l[i-1].ended == 0 {
				gap = -1
			}
			gaps = append(gaps, gap)
		}
	}
	return gaps
}

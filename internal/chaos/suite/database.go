//go:build unix

package suite

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/board"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
)

// database is the source of all values in one phase. It remembers who wrote and
// loaded what and when, and collects the reports of the instances.
type database struct {
	board  *board.Board
	limits history.Limits

	mu     sync.Mutex        // protects the rest
	writes [][]history.Write // by key; the version is the index plus 1
	loads  []history.Load
	batch  history.Batch
	closed bool
}

// newDatabase has version 1 of every key.
func newDatabase(b *board.Board, keys int, l history.Limits) (*database, error) {
	d := &database{board: b, limits: l, writes: make([][]history.Write, keys)}
	for key := range keys {
		if _, err := d.commitOne(history.Parent, key, "", 0); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *database) commitOne(by, key int, verb string, group int) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, errOver
	}
	if key < 0 || key >= len(d.writes) {
		return 0, fmt.Errorf("chaos: there is no key %d", key)
	}
	v, err := d.board.Commit(key)
	if err != nil {
		return 0, err
	}
	d.writes[key] = append(d.writes[key], history.Write{Key: key, Version: v, By: by, Verb: verb, Group: group, Committed: history.Now()})
	return v, nil
}

// commit answers instance.OpCommit.
func (d *database) commit(by int, c instance.Commit) (out instance.Versions, err error) {
	for _, key := range c.Keys {
		v, err := d.commitOne(by, key, c.Verb, c.Group)
		if err != nil {
			return out, err
		}
		out.Versions = append(out.Versions, v)
	}
	return out, nil
}

// A load takes a few milliseconds, and now and then so long that the library
// has to look after its claim meanwhile.
func serviceTime() time.Duration {
	if rand.IntN(20) == 0 {
		return 40*time.Millisecond + rand.N(80*time.Millisecond)
	}
	return time.Millisecond + rand.N(3*time.Millisecond)
}

// load answers instance.OpLoad. The versions are those of the begin: the worst
// that a database may do.
func (d *database) load(by int, l instance.Load) (out instance.Versions, err error) {
	began := history.Now()
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return out, errOver
	}
	for _, key := range l.Keys {
		if key < 0 || key >= len(d.writes) {
			d.mu.Unlock()
			return out, fmt.Errorf("chaos: there is no key %d", key)
		}
		out.Versions = append(out.Versions, uint64(len(d.writes[key])))
	}
	d.mu.Unlock()
	time.Sleep(serviceTime()) // a slow database
	ended := history.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, key := range l.Keys {
		d.loads = append(d.loads, history.Load{Key: key, Version: out.Versions[i], By: by, Began: began, Ended: ended})
	}
	return out, nil
}

// report takes what an instance has seen.
func (d *database) report(by int, r instance.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.batch.Add(r.Batch)
	for _, w := range r.Writes {
		own := &d.writes[w.Key][w.Version-1]
		own.Began, own.Ended, own.Acked, own.Err, own.Queued = w.Began, w.Ended, w.Acked, w.Err, w.Queued
	}
	for _, p := range r.Replays {
		for i := range d.writes[p.Key] {
			w := &d.writes[p.Key][i]
			if w.By == by && w.Group == p.Group && w.Queued && w.Replayed == 0 && d.limits.Delivered(w.Ended, p.At) {
				w.Replayed = p.At
			}
		}
	}
}

func (d *database) stalled(s history.Stall) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.batch.Stalls = append(d.batch.Stalls, s)
}

// close ends the phase and moves the records to it. What an instance that was
// killed could not report is on the board.
func (d *database) close(ph *history.Phase) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	ph.Batch, ph.Loads = d.batch, d.loads
	if ph.Porcupine {
		return // its operations are the record
	}
	for _, writes := range d.writes {
		for _, w := range writes {
			if w.Verb == "" {
				continue // it was there before the phase, and nobody told the cache
			}
			if w.Ended == 0 {
				w.Acked = d.board.Acknowledged(w.Key, w.Version)
				w.Ended = w.Acked
			}
			ph.Writes = append(ph.Writes, w)
		}
	}
}

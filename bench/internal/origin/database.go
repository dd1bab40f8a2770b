//go:build unix

package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// errDown is what queries fail with while the database is down.
var errDown = errors.New("origin: the database is down")

// A Mode is how the database answers.
type Mode struct {
	// Service is how long a query keeps its connection.
	Service time.Duration
	// Down makes every query fail at once.
	Down bool
}

// A Query is one query as the database saw it. Times are those of workers.Now.
type Query struct {
	ID         string
	Begin, End int64
	Failed     bool
}

// A Log is what the database has done since the log was taken last.
type Log struct {
	// Begun and Failed count queries; those under way are among them.
	Begun, Failed int
	// Peak is the largest number of queries under way at a time, those that
	// waited for a connection included.
	Peak int
	// Queries are those that have ended, in that order, if they were kept.
	Queries []Query
}

// database is the service: a limit of connections, a service time, a log.
type database struct {
	store *store
	conns chan struct{} // as many tokens as connections in use
	keep  bool          // each query, and not only how many

	mu    sync.Mutex // protects the rest
	mode  Mode
	log   Log
	under int // queries under way
}

func newDatabase(s *store, connections int, mode Mode, keep bool) *database {
	return &database{store: s, conns: make(chan struct{}, connections), mode: mode, keep: keep}
}

// serve answers the calls of one client.
func (d *database) serve(op string, body json.RawMessage) (any, error) {
	ctx := context.Background() // a query goes on when its client has gone, as in most databases
	switch op {
	case "query", "update":
		id, err := workers.Decode[string](body)
		if err != nil {
			return nil, err
		}
		if op == "update" {
			return d.store.update(ctx, id)
		}
		return d.query(ctx, id)
	case "mode":
		m, err := workers.Decode[Mode](body)
		if err != nil {
			return nil, err
		}
		d.set(m)
		return nil, nil
	case "take":
		return d.take(), nil
	}
	return nil, fmt.Errorf("origin: no such operation %q", op)
}

func (d *database) query(ctx context.Context, id string) (Row, error) {
	q := Query{ID: id, Begin: workers.Now()}
	d.begin()
	r, err := d.answer(ctx, id)
	q.End, q.Failed = workers.Now(), err != nil
	d.end(q)
	return r, err
}

func (d *database) answer(ctx context.Context, id string) (Row, error) {
	if d.now().Down {
		return Row{}, errDown
	}
	d.conns <- struct{}{}
	defer func() { <-d.conns }()
	m := d.now() // it may have gone down while the query waited
	if m.Down {
		return Row{}, errDown
	}
	began := time.Now()
	r, err := d.store.row(ctx, id)
	// The time passes after the row was read, not before: an update in between
	// makes the answer old on its way, which is what caches get wrong.
	time.Sleep(m.Service - time.Since(began))
	return r, err
}

func (d *database) now() Mode {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mode
}

func (d *database) set(m Mode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mode = m
}

func (d *database) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log.Begun++
	d.under++
	d.log.Peak = max(d.log.Peak, d.under)
}

func (d *database) end(q Query) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.under--
	if q.Failed {
		d.log.Failed++
	}
	if d.keep {
		d.log.Queries = append(d.log.Queries, q)
	}
}

// take returns the log and begins a new one.
func (d *database) take() Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.log
	d.log = Log{Peak: d.under}
	return l
}

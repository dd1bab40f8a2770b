//go:build unix

package suite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/board"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/nap"
)

// env is one phase under way: what faults are done to.
type env struct {
	layout.Layout
	fleet     *fleet
	board     *board.Board
	open      instance.Open // for an instance that is started again
	work      instance.Work
	keys      []history.Key
	groups    []history.Group
	shard     int        // the one that faults of one shard hit
	victim    int        // the instance that faults of one instance hit
	rand      *rand.Rand // for what faults choose; one goroutine at a time
	bound     time.Duration
	instances int
	short     bool // faults do not last longer than they must
	log       func(format string, args ...any)

	mu    sync.Mutex // protects spans
	spans []history.Span
}

// span says what a fault is, for the record.
type span struct {
	detail                  string
	shards                  []int // nil is all
	mayLose, forgets, redis bool
	feeds                   int
	// commanded takeovers need no pause; see history.Span.
	commanded bool
	// late faults take effect at some time after they were made.
	late bool
}

// recording is a fault that is being recorded.
type recording struct {
	e *env
	i int // in e.spans
}

// begin records that a fault begins.
func (e *env) begin(name string, s span) recording {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spans = append(e.spans, history.Span{
		Name: name, Detail: s.detail, Shards: s.shards, Began: history.Now(),
		MayLose: s.mayLose, Forgets: s.forgets, Redis: s.redis, Commanded: s.commanded, Feeds: s.feeds,
	})
	e.log("  %s %s", name, s.detail)
	return recording{e, len(e.spans) - 1}
}

// now sets one of the times of the fault.
func (r recording) now(field func(*history.Span) *history.Time) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	*field(&r.e.spans[r.i]) = history.Now()
}

// held records that the fault has taken full effect.
func (r recording) held() { r.now(func(s *history.Span) *history.Time { return &s.Held }) }

// end heals the fault, unless heal is nil, and waits for the recovery.
func (r recording) end(heal, recover func() error) (err error) {
	if heal != nil {
		r.now(func(s *history.Span) *history.Time { return &s.Healing })
		err = heal()
	}
	r.now(func(s *history.Span) *history.Time { return &s.Ended })
	err = errors.Join(err, recover())
	r.now(func(s *history.Span) *history.Time { return &s.Recovered })
	return err
}

// during makes a fault, lets it last, heals it, and waits until the cluster is
// whole again. heal may be nil.
func (e *env) during(ctx context.Context, name string, s span, begin func() error, lasts time.Duration, heal func() error) error {
	rec := e.begin(name, s)
	err := begin()
	if err == nil {
		if !s.late {
			rec.held()
		}
		err = nap.For(ctx, lasts)
	}
	if err != nil {
		heal = nil // the whole cluster is to be recovered
	}
	return errors.Join(err, rec.end(heal, func() error {
		if err != nil {
			return nil
		}
		return e.stable(ctx)
	}))
}

// stable waits until the cluster is whole, and tells the instances where its
// nodes are now.
func (e *env) stable(ctx context.Context) error {
	return errors.Join(e.Cluster.WaitStable(ctx), e.fleet.update(ctx, e.instances))
}

// healed returns when the last fault was healed, or now if there was none.
func (e *env) healed() history.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	var last history.Time
	for _, s := range e.spans {
		last = max(last, s.Ended)
	}
	if last == 0 {
		return history.Now()
	}
	return last
}

// until polls until a condition holds.
func until(ctx context.Context, what func() string) error {
	for {
		missing := what()
		if missing == "" {
			return nil
		}
		if err := nap.For(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("chaos: %s: %w", missing, err)
		}
	}
}

// unread returns the first key that an instance has not read in the wanted
// version or a newer one, empty if there is none.
func (e *env) unread(want []uint64) string {
	for i := range e.instances {
		for key, k := range e.keys {
			if seen := e.board.Seen(i, key); seen < want[key] {
				return fmt.Sprintf("instance %d has read version %d of %s, which was at %d", i, seen, k.ID, want[key])
			}
		}
	}
	return ""
}

// unwritten returns the first key, of those written all the time, that no write
// newer than the given version is acknowledged of. Writers of the other classes
// may rest.
func (e *env) unwritten(old []uint64) string {
	for key, k := range e.keys {
		switch k.Class {
		case history.ClassQuiet, history.ClassNegative, history.ClassSet, history.ClassVersioned,
			history.ClassTagSlow, history.ClassTagSet, history.ClassSpace, history.ClassPattern, history.ClassBefore:
			continue
		}
		if e.board.Superseded(key, old[key]) == 0 {
			return fmt.Sprintf("no write of %s after version %d is acknowledged", k.ID, old[key])
		}
	}
	return ""
}

// versions returns the current version of every key.
func (e *env) versions() []uint64 {
	out := make([]uint64, len(e.keys))
	for key := range e.keys {
		out[key] = e.board.Current(key)
	}
	return out
}

// converged blocks until every instance has read the version of each key that is
// current at the call, and newer writes are acknowledged.
func (e *env) converged(ctx context.Context, limit time.Duration) (history.Time, error) {
	now := e.versions()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := until(ctx, func() string {
		if missing := e.unread(now); missing != "" {
			return missing
		}
		return e.unwritten(now)
	})
	return history.Now(), err
}

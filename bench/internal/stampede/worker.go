//go:build unix

package stampede

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// RoleName is the role of an instance in package crew.
const RoleName = "instance"

// Role is the process of an instance, for crew.Enter.
func Role() (workers.Serve, func()) {
	w := &worker{clock: newClock()}
	return w.serve, w.close
}

// quiet drops what go-redis says while a primary is dead: it is counted.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// openArgs is what an instance opens.
type openArgs struct {
	Peer     string
	Settings settings
	Socket   string // of the database
	IDs      []string
}

// settings are those of peer.Settings that can be sent to a process.
type settings struct {
	Addrs         []string
	Prefix        string
	TTL, StaleFor time.Duration
	OpTimeout     time.Duration
}

// runArgs is what an instance does in a phase.
type runArgs struct {
	Start, End int64   // times of workers.Now
	From       []int64 // when the first request for each key may be made
	Callers    int
	Think      time.Duration
	Seed       uint64
	// Writes are the numbers of the keys that this instance updates.
	Writes     []int
	WriteEvery time.Duration
}

// runResult is what an instance says of a phase.
type runResult struct {
	Requests int
	// Errors counts those requests and invalidations that failed, by what
	// they failed with.
	Errors map[string]int
	// Wrong is an answer that no cache may give; the run ends with it.
	Wrong string
	// CPU is the processor time the process has used.
	CPU time.Duration
	// Late is how much longer than asked for the pauses of the callers were,
	// for 99 in 100: more than a few milliseconds is a generator that has no
	// processor.
	Late time.Duration
	// Acks are the invalidations that returned without an error, by key.
	Acks map[int][]ack
	// Writes counts updates, Unannounced those whose invalidation failed.
	Writes, Unannounced int
}

// worker is an instance in its process.
type worker struct {
	clock   clock
	args    openArgs
	db      *origin.Client
	cache   peer.Cache
	samples []sample
}

func (w *worker) serve(op string, body json.RawMessage) (any, error) {
	switch op {
	case "open":
		a, err := workers.Decode[openArgs](body)
		if err != nil {
			return nil, err
		}
		return nil, w.open(a)
	case "run":
		a, err := workers.Decode[runArgs](body)
		if err != nil {
			return nil, err
		}
		return w.run(a), nil
	case "judge":
		j, err := workers.Decode[judgement](body)
		if err != nil {
			return nil, err
		}
		v, err := j.judge(w.samples)
		if err != nil {
			return nil, err
		}
		return v.send(), nil
	case "end":
		return nil, w.end()
	}
	return nil, fmt.Errorf("stampede: no such operation %q", op)
}

func (w *worker) open(a openArgs) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.args = a
	redis.SetLogger(quiet{})
	if w.db, err = origin.Dial(ctx, a.Socket); err != nil {
		return err
	}
	s := a.Settings
	w.cache, err = peer.Open(ctx, a.Peer, peer.Settings{Addrs: s.Addrs, Prefix: s.Prefix, TTL: s.TTL, StaleFor: s.StaleFor, OpTimeout: s.OpTimeout})
	return err
}

// end closes what open has opened.
func (w *worker) end() error {
	var errs []error
	if w.cache != nil {
		errs = append(errs, w.cache.Close())
		w.cache = nil
	}
	if w.db != nil {
		errs = append(errs, w.db.Close())
		w.db = nil
	}
	return errors.Join(errs...)
}

// close ends the process, whose parent may be gone.
func (w *worker) close() { _ = w.end() }

// clock reads the clock that all processes share, faster than workers.Now.
type clock struct {
	began  time.Time
	offset int64
}

func newClock() clock { return clock{time.Now(), workers.Now()} }

func (c clock) now() int64 { return c.offset + int64(time.Since(c.began)) }

// cpuTime returns the processor time this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0 // the kernel knows this call
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

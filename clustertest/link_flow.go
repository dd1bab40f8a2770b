package clustertest

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	queueLimit = 4 << 20 // bytes held per direction; one call may exceed it

	// lingerLimit is how long bytes that were written before Close are kept for
	// a server that cannot be reached. Linux does it for about 100 s.
	lingerLimit = time.Minute
)

// Deadlines of raw: none, and one that ends a call at once.
var (
	noDeadline time.Time
	past       = time.Unix(1, 0)
)

// chunk is what arrived at a queue in one call: bytes, an error, or both. An
// error is the last chunk.
type chunk struct {
	data []byte
	due  time.Time
	err  error
}

// flow is what both directions of a connection have in common: a queue of
// chunks that wait until they are due, and who owns the deadline of raw.
type flow struct {
	raw    net.Conn
	setRaw func(time.Time) error // sets raw's deadline for this direction
	start  func(func())          // runs a goroutine of the link

	// slow says that bytes go through the queue. It is written with mu held.
	slow atomic.Bool

	// busy is held while raw is read or written, so that a call that began
	// without a fault and the pump keep bytes in order. It is taken before mu,
	// or tried while mu is held.
	busy sync.Mutex

	mu       sync.Mutex // protects the fields below
	changed  *sync.Cond // when any of them does
	fault    fault
	chunks   []chunk
	size     int // bytes in chunks
	rng      *rand.Rand
	deadline time.Time // of the user
	owned    bool      // raw's deadline is the pump's, not the user's
	pumping  bool      // the pump runs: it moves bytes between raw and chunks
	why      error     // not nil once the user's calls fail: closed or cut
	dead     bool      // raw is closed, the pump has to end
}

func (f *flow) init(raw net.Conn, setRaw func(time.Time) error, start func(func()), rng *rand.Rand) {
	f.raw, f.setRaw, f.start, f.rng = raw, setRaw, start, rng
	f.changed = sync.NewCond(&f.mu)
}

// pushLocked appends a copy of b. Chunks pass in order, whatever the delay was
// for those before: one that is due waits for those in front of it.
func (f *flow) pushLocked(b []byte, err error) {
	due := time.Now().Add(f.fault.roundTrip(f.rng) / 2)
	f.chunks = append(f.chunks, chunk{data: append([]byte(nil), b...), due: due, err: err})
	f.size += len(b)
	f.changed.Broadcast()
}

// popLocked removes the first chunk.
func (f *flow) popLocked() {
	f.size -= len(f.chunks[0].data)
	f.chunks[0] = chunk{}
	f.chunks = f.chunks[1:]
	if len(f.chunks) == 0 {
		f.chunks = nil
	}
	f.changed.Broadcast()
}

// readyLocked reports whether the first chunk may pass.
func (f *flow) readyLocked() bool {
	return len(f.chunks) > 0 && !f.fault.hole && !time.Now().Before(f.chunks[0].due)
}

// nextLocked returns when the first chunk may pass, zero if that is unknown.
func (f *flow) nextLocked() time.Time {
	if len(f.chunks) == 0 || f.fault.hole {
		return time.Time{}
	}
	return f.chunks[0].due
}

// releaseLocked makes everything due.
func (f *flow) releaseLocked() {
	for i := range f.chunks {
		f.chunks[i].due = time.Time{}
	}
}

// waitLocked waits for a change, or for the first of the times that are not
// zero.
func (f *flow) waitLocked(times ...time.Time) {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !first.IsZero() {
		timer := time.AfterFunc(time.Until(first), func() {
			f.mu.Lock() // not before Wait has let go of it
			defer f.mu.Unlock()
			f.changed.Broadcast()
		})
		defer timer.Stop()
	}
	f.changed.Wait()
}

func (f *flow) expiredLocked() bool {
	return !f.deadline.IsZero() && !time.Now().Before(f.deadline)
}

// takeOverLocked gives raw's deadline to the pump. No call of the user may be
// in raw: it would lose its own. An error means that raw is closed, which the
// pump finds out.
func (f *flow) takeOverLocked(t time.Time) {
	f.owned = true
	_ = f.setRaw(t)
}

// handBackLocked lets calls go to raw again, with the user's deadline.
func (f *flow) handBackLocked() {
	if f.owned {
		f.owned = false
		_ = f.setRaw(f.deadline) // as above; the user finds out
	}
	f.slow.Store(false)
	f.changed.Broadcast()
}

func (f *flow) setDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why != nil {
		return f.why
	}
	f.deadline = t
	f.changed.Broadcast()
	if f.owned {
		return nil
	}
	return f.setRaw(t)
}

// kill ends everything: what is queued is lost. The caller closes raw.
func (f *flow) kill(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == nil {
		f.why = why
	}
	f.dead = true
	f.chunks, f.size = nil, 0
	f.changed.Broadcast()
}

// reason returns why the user's calls fail, nil if they do not.
func (f *flow) reason() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

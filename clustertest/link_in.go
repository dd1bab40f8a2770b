package clustertest

import (
	"errors"
	"os"
)

// inbound is the direction from the server. Its pump reads raw and fills the
// queue.
type inbound struct {
	flow

	// Protected by mu.
	ended    bool // an error of raw is queued: nothing follows
	stopping bool // the pump has to end, raw's deadline has been set for it
}

// read implements [net.Conn.Read].
func (in *inbound) read(b []byte) (int, error) {
	in.busy.Lock()
	defer in.busy.Unlock()
	for {
		if !in.slow.Load() {
			n, err := in.raw.Read(b)
			// A fault may have come while the call was waiting.
			if !in.slow.Load() || !in.hold(b[:n], err) {
				return n, err
			}
		}
		n, done, err := in.take(b)
		if done {
			return n, err
		}
	}
}

// hold queues what a call got from raw. It reports false if the call has to
// return it instead.
func (in *inbound) hold(b []byte, err error) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.slow.Load() || in.why != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	in.pushLocked(b, err)
	in.ended = err != nil
	return true
}

// take waits for bytes from the queue. It reports false if raw is to be read
// instead. The caller holds busy.
func (in *inbound) take(b []byte) (n int, done bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		switch {
		case in.why != nil:
			return 0, true, in.why
		case in.expiredLocked():
			return 0, true, os.ErrDeadlineExceeded
		case !in.slow.Load():
			return 0, false, nil
		case in.readyLocked():
			n, err := in.consumeLocked(b)
			return n, true, err
		}
		if in.fault.slows() {
			in.startLocked()
		}
		in.waitLocked(in.deadline, in.nextLocked())
	}
}

// consumeLocked wants a chunk that is ready.
func (in *inbound) consumeLocked(b []byte) (int, error) {
	head := &in.chunks[0]
	n := copy(b, head.data)
	head.data = head.data[n:]
	in.size -= n
	switch {
	case len(head.data) > 0:
		return n, nil
	case head.err != nil: // stays, for the calls to come
		if n > 0 {
			return n, nil
		}
		return 0, head.err
	}
	in.popLocked()
	in.settleLocked()
	return n, nil
}

// startLocked runs the pump unless it runs or has nothing to read any more. No
// call of the user may be in raw.
func (in *inbound) startLocked() {
	if in.pumping || in.ended {
		return
	}
	in.takeOverLocked(noDeadline)
	in.pumping = true
	in.start(in.pump)
}

// settleLocked goes back to raw if nothing is in the way.
func (in *inbound) settleLocked() {
	if in.slow.Load() && !in.fault.slows() && !in.pumping && len(in.chunks) == 0 {
		in.handBackLocked()
	}
}

// set puts a fault in force.
func (in *inbound) set(f fault) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.why != nil || f == in.fault {
		return
	}
	in.fault = f
	defer in.changed.Broadcast()
	if !f.slows() {
		in.releaseLocked()
		if in.pumping && !in.stopping {
			in.stopping = true
			in.takeOverLocked(past)
		}
		in.settleLocked()
		return
	}
	in.slow.Store(true)
	if in.stopping {
		in.stopping = false
		in.takeOverLocked(noDeadline)
	}
	// If a call is in raw it starts the pump when it comes back.
	if in.busy.TryLock() {
		in.startLocked()
		in.busy.Unlock()
	}
}

// shut makes all calls of the user end with why.
func (in *inbound) shut(why error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.why == nil {
		in.why = why
	}
	in.takeOverLocked(past)
	in.changed.Broadcast()
}

// pump owns raw for reading until it returns.
func (in *inbound) pump() {
	b := make([]byte, 32<<10)
	for {
		n, err := in.raw.Read(b)
		if !in.arrived(b[:n], err) {
			return
		}
	}
}

// arrived queues what the pump has read, waits for room, and reports whether
// the pump is to go on.
func (in *inbound) arrived(b []byte, err error) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	if in.why == nil && (len(b) > 0 || err != nil && !timeout) {
		if timeout {
			err = nil
		}
		in.pushLocked(b, err)
		in.ended = err != nil
	}
	for in.size >= queueLimit && in.why == nil && !in.stopping {
		in.waitLocked()
	}
	// A timeout may be of an order to stop that was called off.
	if in.why == nil && !in.ended && !(timeout && in.stopping) {
		return true
	}
	in.pumping, in.stopping = false, false
	in.settleLocked()
	in.changed.Broadcast()
	return false
}

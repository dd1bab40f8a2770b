package clustertest

import (
	"os"
	"time"
)

// outbound is the direction to the server. Its pump empties the queue into raw.
type outbound struct {
	flow

	// Protected by mu.
	failed error     // of raw, in the pump
	linger time.Time // not zero once closed: the pump may go on until then
	gone   func()    // called by the pump when it ends and linger is set
}

// write implements [net.Conn.Write].
func (out *outbound) write(b []byte) (int, error) {
	for {
		out.busy.Lock()
		if !out.slow.Load() {
			defer out.busy.Unlock()
			return out.raw.Write(b)
		}
		out.busy.Unlock()
		done, err := out.put(b)
		switch {
		case err != nil:
			return 0, err
		case done:
			return len(b), nil
		}
	}
}

// put queues all of b as soon as there is any room. It reports false if b is to
// be written to raw instead.
func (out *outbound) put(b []byte) (done bool, err error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	for {
		switch {
		case out.why != nil:
			return false, out.why
		case out.failed != nil:
			return false, out.failed
		case out.expiredLocked():
			return false, os.ErrDeadlineExceeded
		case !out.slow.Load():
			return false, nil
		case out.size < queueLimit:
			out.pushLocked(b, nil)
			return true, nil
		}
		out.waitLocked(out.deadline)
	}
}

// set puts a fault in force.
func (out *outbound) set(f fault) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.dead || f == out.fault {
		return
	}
	out.fault = f
	out.changed.Broadcast()
	if !f.slows() {
		out.releaseLocked()
		return
	}
	// Once closed, only what is queued already is left to be sent.
	if out.why != nil || out.pumping || out.failed != nil {
		return
	}
	out.slow.Store(true)
	out.pumping = true
	out.start(out.pump)
}

// shut makes all calls of the user end with why. It reports whether the pump
// runs: it then sends what is left and calls gone. A call that is stuck in raw
// since before the fault is no concern: nothing was queued behind it, so the
// pump ends at once, and raw is closed.
func (out *outbound) shut(why error) (lingers bool) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.why == nil {
		out.why = why
	}
	out.changed.Broadcast()
	if out.dead || !out.pumping {
		return false
	}
	out.linger = time.Now().Add(lingerLimit)
	if out.owned {
		out.takeOverLocked(out.linger)
	}
	return true
}

// pump owns the queue until it returns.
func (out *outbound) pump() {
	for {
		b, ok := out.next()
		if !ok {
			return
		}
		out.busy.Lock()
		out.own()
		_, err := out.raw.Write(b)
		out.busy.Unlock()
		if err != nil {
			out.fail(err)
			return
		}
	}
}

// own makes raw's deadline the pump's. The caller holds busy.
func (out *outbound) own() {
	out.mu.Lock()
	defer out.mu.Unlock()
	if !out.owned {
		out.takeOverLocked(out.linger)
	}
}

// next waits for a chunk that is due. It reports false if the pump has to end.
func (out *outbound) next() ([]byte, bool) {
	out.mu.Lock()
	defer out.mu.Unlock()
	for {
		lingers := !out.linger.IsZero()
		switch {
		case out.dead, lingers && (len(out.chunks) == 0 || !time.Now().Before(out.linger)):
			out.endLocked()
			return nil, false
		case out.readyLocked():
			b := out.chunks[0].data
			out.popLocked()
			return b, true
		case len(out.chunks) == 0 && !out.fault.slows():
			out.endLocked()
			out.handBackLocked()
			return nil, false
		}
		out.waitLocked(out.nextLocked(), out.linger)
	}
}

// fail ends the pump with an error of raw, which the next call of the user gets.
func (out *outbound) fail(err error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	out.failed = err
	out.chunks, out.size = nil, 0
	out.endLocked()
	out.changed.Broadcast()
}

// endLocked is the last act of the pump.
func (out *outbound) endLocked() {
	out.pumping = false
	if !out.linger.IsZero() {
		// Not here: it takes the link's mu, which comes before this one.
		out.start(out.gone)
	}
}

package clustertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

// fault is what is in force on the way to one server. The zero fault is none.
type fault struct {
	cut    bool
	hole   bool          // blackholed
	delay  time.Duration // of a round trip
	jitter time.Duration // at most this much more or less
}

// slows reports whether bytes have to wait.
func (f fault) slows() bool { return f.hole || f.delay > 0 || f.jitter > 0 }

// roundTrip returns by how much one round trip takes longer.
func (f fault) roundTrip(rng *rand.Rand) time.Duration {
	d := f.delay
	if f.jitter > 0 {
		d += time.Duration((2*rng.Float64() - 1) * float64(f.jitter))
	}
	return max(d, 0)
}

// Cut closes the open connections to the servers and refuses new ones, as when
// a process dies. Both sides see a reset, and what was held back by a blackhole
// or a delay is lost.
func (l *Link) Cut(addrs ...string) {
	l.change(addrs, func(f *fault) { f.cut = true })
}

// Blackhole lets nothing through to or from the servers, as when packets are
// dropped. Connections stay open and are not told. What is written is held back
// in order, up to some megabytes per connection, then a write blocks; the same
// holds for what the server sends. After [Link.Heal] all of it arrives, even on
// a connection that the client has closed in the meantime, if that was less than
// a minute ago: TCP does that, too, and it is how a command can take effect long
// after its caller gave up. Reads and writes honour deadlines and Close, new
// connections hang until their context ends.
func (l *Link) Blackhole(addrs ...string) {
	l.change(addrs, func(f *fault) { f.hole = true })
}

// Delay makes each round trip to the servers take d longer, give or take
// jitter: bytes in either direction are delayed by half of that, and a new
// connection by all of it. Order is kept, and so is throughput as long as what
// is under way fits into some megabytes per connection. A jitter above d never
// makes anything faster than without. Jitter is uniform and comes from a fixed
// seed. Another Delay replaces the one before, for bytes that are sent from then
// on; Delay(0, 0) ends it. Negative values count as 0.
func (l *Link) Delay(d, jitter time.Duration, addrs ...string) {
	l.change(addrs, func(f *fault) { f.delay, f.jitter = max(d, 0), max(jitter, 0) })
}

// Heal ends all faults on the way to the servers. What was held back arrives at
// once.
func (l *Link) Heal(addrs ...string) {
	l.change(addrs, func(f *fault) { *f = fault{} })
}

// Close cuts the way to all servers for ever and returns when nothing of the
// link runs any more. Closing again does nothing. The link of a [Cluster] is
// closed by [Cluster.Stop].
func (l *Link) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Cut()
	l.running.Wait()
	return nil
}

// change applies a change to the faults of the named servers, or all.
func (l *Link) change(addrs []string, apply func(*fault)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(addrs) == 0 {
		apply(&l.all)
		for addr := range l.ways {
			addrs = append(addrs, addr)
		}
	}
	for _, addr := range addrs {
		f := l.faultLocked(addr)
		apply(&f)
		l.ways[addr] = f
	}
	for c := range l.conns {
		f := l.faultLocked(c.addr)
		if f.cut {
			c.abort(errCut)
			delete(l.conns, c)
			continue
		}
		c.set(f)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// errCut is what a connection's user is told after a cut.
var errCut = fmt.Errorf("cut by clustertest.Link: %w", syscall.ECONNRESET)

var _ net.Conn = (*conn)(nil)

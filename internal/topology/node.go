package topology

import (
	"sync/atomic"
	"time"
)

// A Node is one primary.
type Node struct {
	// Addr is the address it announces.
	Addr string

	br       breaker
	own      atomic.Pointer[owned]  // a slot it owns; nil outside a cluster
	answered atomic.Bool            // a beat has been answered
	heard    atomic.Int64           // when the last beat that was answered was sent
	lastErr  atomic.Pointer[string] // why the last beat failed; nil if it did not
	poke     chan struct{}          // asks the pulse for a beat now
	stop     chan struct{}          // ends the pulse
}

// owned is a slot of a node and a key that hashes to it.
type owned struct {
	slot uint16
	key  string
}

// beatSoon asks the pulse for a beat now. It does not block.
func (n *Node) beatSoon() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// Open reports whether the node is taken to be down: then operations fail at
// once instead of waiting for their timeout.
func (n *Node) Open() bool { return n.br.open.Load() }

// Health is what is known of a node.
type Health struct {
	// Addr is the address the node announces.
	Addr string
	// Reachable reports whether the last beat was answered.
	Reachable bool
	// BreakerOpen reports whether operations on the node fail at once.
	BreakerOpen bool
	// FeedAge is how long ago the newest processed beat was sent; negative if
	// there is no live feed. Values of the node are served from memory only
	// while it is at most MaxStaleness.
	FeedAge time.Duration
	// Err is why the last beat failed, empty if it did not.
	Err string
}

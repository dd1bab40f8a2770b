package invalidation

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/fleetcache/fleetcache/internal/hashslot"
)

// Never is what [Bus.Heard] and [Subscription.Heard] return before anything has
// been proven: a time before every reading of the clock.
const Never int64 = -1 << 61

// slotError is how far a partition may be from its ideal slot.
const slotError = 16

// partition is one channel, the chain of its messages, and where it is heard.
type partition struct {
	bus     *Bus
	index   int
	channel string
	state   string // the key of the chain's state, in the slot of the channel

	// heard is when the newest state was asked for of which all messages have
	// arrived. Written under mu.
	heard atomic.Int64

	// mu is held while events go to the queues of the subscriptions, so that
	// these are in the order of the chain.
	mu    sync.Mutex // protects what follows
	line  *line      // where it is heard; nil if nowhere
	hint  string     // a node that may own the slot
	avoid string     // the node that failed last
	err   error      // why it is not heard
	chain chain
}

// chain is what a subscriber knows of the messages of a partition.
type chain struct {
	known  bool     // whether last is the last message: false if some may be missing
	last   position // the last message that arrived
	synced bool     // whether the state was read since the partition is heard on its line
	// suspect says that the last line failed. The server that answers next may
	// be a primary that was deposed meanwhile and has not been told yet, so what
	// it says first proves nothing.
	suspect bool
	behind  position // a state whose messages had not all arrived when it was read
	asked   int64    // when that was asked for
}

// newPartitions makes n partitions whose slots divide the slots evenly: the
// same for everyone with the same prefix and number.
func newPartitions(b *Bus, prefix string, n int) []*partition {
	parts := make([]*partition, n)
	for i := range parts {
		channel := prefix + ":bus:{" + hashTag(i, n) + "}"
		p := &partition{bus: b, index: i, channel: channel, state: channel + ":state"}
		p.heard.Store(Never)
		parts[i] = p
	}
	return parts
}

// hashTag returns the hash tag of partition i of n.
func hashTag(i, n int) string {
	ideal := (2*i + 1) * hashslot.Count / (2 * n)
	for k := 0; ; k++ {
		tag := strconv.Itoa(n) + "." + strconv.Itoa(i) + "." + strconv.Itoa(k)
		if d := int(hashslot.Of(tag)) - ideal; -slotError <= d && d <= slotError {
			return tag
		}
	}
}

// enter puts the partition on a line, where messages count from now on.
func (p *partition) enter(l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line, p.hint = l, l.addr
	p.chain.synced = false
	p.chain.behind = position{}
}

// leave takes the partition off a line on which it cannot be heard, towards
// another node if that is known. All messages of that line have arrived: if the
// state is still the same elsewhere, nothing was missed.
func (p *partition) leave(l *line, hint string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line != l {
		return
	}
	p.line, p.err = nil, err
	if hint != "" {
		p.hint = hint
	}
}

// lose takes the partition off a line that has failed, and reports whether it
// was on it. Messages may have been lost on the way. That the state is the same
// afterwards would not exclude it: a server may die with a message that it has
// acknowledged to the publisher, but not sent to others, subscribers and
// replicas alike.
func (p *partition) lose(l *line, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line != l {
		return false
	}
	p.line, p.err = nil, err
	p.hint, p.avoid = "", l.addr
	p.chain.known, p.chain.suspect = false, true
	return true
}

// on returns the line the partition is on.
func (p *partition) on() *line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line
}

// floor is the position a state read from now on cannot be before.
func (p *partition) floor() position {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.chain.known {
		return position{}
	}
	return p.chain.last
}

// receive takes a message from a line.
func (p *partition) receive(l *line, msg string) {
	h, events, err := decode(msg, p.index)
	p.mu.Lock()
	defer p.mu.Unlock()
	st := &p.bus.stats
	switch {
	case p.line != l:
		return // what is missed here is noticed where the partition is heard next
	case err != nil && h.id == 0:
		st.malformed.Add(1)
		p.bus.cfg.Logger.Debug("invalidation: message dropped", "channel", p.channel, "err", err)
		return
	case p.chain.known && h.id == p.chain.last.id:
		st.duplicates.Add(1)
		return
	case !p.chain.known || h.prev != p.chain.last.id:
		p.gapLocked("messages are missing before number " + strconv.FormatUint(h.seq, 10))
	}
	st.messages.Add(1)
	p.chain.known, p.chain.last = true, h.position
	if err != nil {
		st.malformed.Add(1)
		p.gapLocked(err.Error())
	}
	for i := range events {
		p.bus.deliver(&events[i])
	}
	if b := p.chain.behind; b != (position{}) && p.chain.last.seq >= b.seq {
		p.chain.behind = position{}
		p.proveLocked(p.chain.asked)
	}
}

// gapLocked tells all subscriptions that messages may be missing.
func (p *partition) gapLocked(why string) {
	p.chain.behind = position{}
	p.bus.stats.gaps.Add(1)
	p.bus.cfg.Logger.Info("invalidation: gap", "channel", p.channel, "why", why)
	p.bus.gap(p.index)
}

// proveLocked notes that everything up to a state that was asked for at the
// given time has arrived.
func (p *partition) proveLocked(asked int64) {
	if asked > p.heard.Load() {
		p.heard.Store(asked)
		p.bus.proven(p.index, asked)
	}
}

// compare compares the chain with a state that was asked for on the line at the
// given time, when the chain was at the floor. It returns an error if messages
// are missing that will not come.
func (p *partition) compare(l *line, state, floor position, asked int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line != l {
		return nil
	}
	p.err = nil
	c := &p.chain
	if !c.synced {
		p.syncLocked(state, floor, asked)
		return nil
	}
	switch {
	case c.reached(state, floor):
		c.suspect = false
		c.behind = position{}
		p.proveLocked(asked)
	case c.known && c.behind == (position{}) && state.seq > c.last.seq:
		// Only without RESP3, where messages have a connection of their own, can
		// they still be on their way.
		c.behind, c.asked = state, asked
	default:
		return fmt.Errorf("partition %d: the last message that arrived is number %d, the state says %d",
			p.index, c.last.seq, state.seq)
	}
	return nil
}

// syncLocked compares the chain with the first state that was read after the
// subscription was confirmed, and continues it from there.
func (p *partition) syncLocked(state, floor position, asked int64) {
	c := &p.chain
	c.synced = true
	p.bus.stats.subscriptions.Add(1)
	if !c.known || !c.reached(state, floor) {
		p.gapLocked("heard again, after messages may have been missed")
		c.known, c.last = true, state
	}
	if !c.suspect {
		p.proveLocked(asked)
	}
	c.suspect = false
}

// reached reports whether every message up to the state has arrived. The chain
// has no holes, so it has reached all that lies between the floor and its end.
func (c *chain) reached(state, floor position) bool {
	if !c.known {
		return false
	}
	if state == c.last || state == floor {
		return true
	}
	return floor.seq < state.seq && state.seq < c.last.seq
}

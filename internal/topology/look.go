package topology

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"

	"github.com/redis/rueidis"
)

// owners maps each slot to the address of its primary, "" for none.
type owners [slotCount]string

// look brings the view of the deployment up to date.
func (w *Watcher) look(ctx context.Context) error {
	if !w.cluster {
		return w.lookSingle()
	}
	return w.lookCluster(ctx)
}

// lookSingle follows the one primary that rueidis talks to: with Sentinel its
// address changes in a failover.
func (w *Watcher) lookSingle() error {
	old := w.snap.Load()
	next := &snapshot{byAddr: map[string]*Node{}}
	for addr := range w.cfg.Client.Nodes() {
		n := old.byAddr[addr]
		if n == nil {
			n = w.newNode(addr)
		}
		next.byAddr[addr] = n
		next.nodes = append(next.nodes, n)
	}
	w.install(old, next, func(uint16) bool { return true })
	return nil
}

// lookCluster asks every primary for its view of the slots.
func (w *Watcher) lookCluster(ctx context.Context) error {
	old := w.snap.Load()
	cur := w.owned(old)
	views := map[string]*owners{}
	err := w.ask(ctx, w.asked(old), views)
	if len(views) == 0 {
		return err
	}
	// Primaries that were only heard of so far are asked for themselves.
	if more := unasked(views); len(more) > 0 {
		_ = w.ask(ctx, more, views) // an unreachable one keeps what others say of it
	}
	next := decide(cur, views, w.claims)
	w.remember(views)
	w.installSlots(old, cur, next)
	return nil
}

// decide returns who owns what, given who did so far, what each primary says
// now, and what each claimed for itself when it was asked before.
//
// Each primary is believed about itself: that it has got a slot, and that it
// has lost one. What it says of others is gossip, believed only of slots it
// has just given away, and of slots nobody is known to own. Of two that claim
// the same slot, as a deposed primary does until it hears of its successor,
// the one that claims it more recently is believed.
func decide(cur *owners, views map[string]*owners, claims map[string]*claimSet) *owners {
	next := *cur
	for addr, view := range views { // first what is hearsay
		for s, owner := range view {
			if owner != addr && owner != "" && (cur[s] == addr || cur[s] == "") {
				next[s] = owner
			}
		}
	}
	for addr, view := range views {
		for s, owner := range view {
			if owner == addr && (!claims[addr].has(s) || cur[s] == "") {
				next[s] = addr
			}
		}
	}
	return &next
}

// asked returns the addresses to ask: the known primaries, or any node at
// all when there is none yet.
func (w *Watcher) asked(s *snapshot) []string {
	var addrs []string
	for _, n := range s.nodes {
		addrs = append(addrs, n.Addr)
	}
	if len(addrs) == 0 {
		for addr := range w.cfg.Client.Nodes() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

func unasked(views map[string]*owners) []string {
	seen := map[string]bool{}
	var out []string
	for _, v := range views {
		for _, addr := range v {
			if addr != "" && !seen[addr] && views[addr] == nil {
				seen[addr] = true
				out = append(out, addr)
			}
		}
	}
	return out
}

// ask gets the views of the nodes, side by side, each within the timeout.
func (w *Watcher) ask(ctx context.Context, addrs []string, views map[string]*owners) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	clients := w.cfg.Client.Nodes()
	var (
		mu   sync.Mutex // protects views, errs
		wg   sync.WaitGroup
		errs []error
	)
	for _, addr := range addrs {
		c := clients[addr]
		if c == nil {
			continue
		}
		wg.Go(func() {
			msg, err := c.Do(ctx, c.B().ClusterSlots().Build().Pin()).ToMessage()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, &NodeError{Node: addr, Err: err})
				return
			}
			views[addr] = parseSlots(msg, addr)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// NodeError says which node an error came from.
type NodeError struct {
	Node string
	Err  error
}

func (e *NodeError) Error() string { return "node " + e.Node + ": " + e.Err.Error() }

// Unwrap returns the node's error.
func (e *NodeError) Unwrap() error { return e.Err }

// parseSlots reads a reply of CLUSTER SLOTS given by the node at addr. What it
// cannot read it leaves without an owner.
func parseSlots(msg rueidis.RedisMessage, addr string) *owners {
	o := new(owners)
	ranges, _ := msg.ToArray()
	for _, r := range ranges {
		f, err := r.ToArray()
		if err != nil || len(f) < 3 {
			continue
		}
		from, err1 := f[0].AsInt64()
		to, err2 := f[1].AsInt64()
		primary := parseNode(f[2], addr)
		if err1 != nil || err2 != nil || primary == "" {
			continue
		}
		for s := max(from, 0); s <= to && s < slotCount; s++ {
			o[s] = primary
		}
	}
	return o
}

// parseNode reads one node of CLUSTER SLOTS. A node that does not know its own
// address leaves it empty; then it is the one it was asked at. "?" is a node
// with an unknown name.
func parseNode(msg rueidis.RedisMessage, asked string) string {
	f, err := msg.ToArray()
	if err != nil || len(f) < 2 {
		return ""
	}
	host, _ := f[0].ToString()
	port, err := f[1].AsInt64()
	if err != nil || host == "?" {
		return ""
	}
	if host == "" {
		host, _, _ = net.SplitHostPort(asked)
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10))
}

// claimSet is the slots a node claimed when it was last asked.
type claimSet [slotCount / 64]uint64

func (c *claimSet) has(s int) bool { return c != nil && c[s/64]&(1<<(s%64)) != 0 }

func (w *Watcher) remember(views map[string]*owners) {
	if w.claims == nil {
		w.claims = map[string]*claimSet{}
	}
	for addr, view := range views {
		c := new(claimSet)
		for s := range view {
			if view[s] == addr {
				c[s/64] |= 1 << (s % 64)
			}
		}
		w.claims[addr] = c
	}
}

// owned returns who owns what in a snapshot.
func (w *Watcher) owned(s *snapshot) *owners {
	o := new(owners)
	if s.slots != nil {
		for i, n := range s.slots {
			if n != nil {
				o[i] = n.Addr
			}
		}
	}
	return o
}

func (w *Watcher) installSlots(old *snapshot, cur, o *owners) {
	next := &snapshot{byAddr: map[string]*Node{}, slots: new([slotCount]*Node)}
	moved := 0
	for s, addr := range o {
		if cur[s] != "" && cur[s] != addr {
			moved++
		}
		if addr == "" {
			continue
		}
		n := next.byAddr[addr]
		if n == nil {
			if n = old.byAddr[addr]; n == nil {
				n = w.newNode(addr)
			}
			next.byAddr[addr] = n
			next.nodes = append(next.nodes, n)
		}
		next.slots[s] = n
	}
	w.chooseOwn(next)
	if moved > 0 {
		w.Moves.Add(uint64(moved))
	}
	w.install(old, next, func(s uint16) bool { return cur[s] != "" && cur[s] != o[s] })
}

// chooseOwn gives each node whose beat asks for a slot it no longer has a key
// of one it has.
func (w *Watcher) chooseOwn(next *snapshot) {
	done := make(map[*Node]bool, len(next.nodes))
	for _, n := range next.nodes {
		o := n.own.Load()
		done[n] = o != nil && next.slots[o.slot] == n
	}
	for s, n := range next.slots {
		if n != nil && !done[n] {
			done[n] = true
			n.own.Store(&owned{slot: uint16(s), key: ownKey(w.cfg.Prefix, uint16(s))})
		}
	}
}

// install makes next the current view: new nodes get a pulse, those that left
// lose theirs and their feeds, and the near entries of moved slots end. For a
// deployment without slots, moved applies when the primary was replaced.
func (w *Watcher) install(old, next *snapshot, moved func(uint16) bool) {
	w.snap.Store(next)
	gone := false
	for addr, n := range old.byAddr {
		if next.byAddr[addr] == nil {
			gone = true
			close(n.stop)
			w.cfg.Table.ResetNode(addr)
		}
	}
	for addr, n := range next.byAddr {
		if old.byAddr[addr] == nil {
			w.wg.Go(func() { w.pulse(n) })
			if len(old.nodes) > 0 {
				n.poke <- struct{}{} // empty: the node is new
			}
		}
	}
	changed := gone
	if next.slots != nil && old.slots != nil {
		changed = false
		for s := range next.slots {
			if moved(uint16(s)) {
				changed = true
				break
			}
		}
	}
	if changed && len(old.nodes) > 0 {
		w.Kills.Add(uint64(w.cfg.Table.KillSlots(moved)))
		if w.cfg.OnMoved != nil {
			w.cfg.OnMoved(moved, w.silence(old))
		}
		if w.cfg.OnUp != nil {
			w.cfg.OnUp(nil)
		}
	}
}

func (w *Watcher) newNode(addr string) *Node {
	return &Node{Addr: addr, poke: make(chan struct{}, 1), stop: make(chan struct{})}
}

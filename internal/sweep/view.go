package sweep

import (
	"errors"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/topology"
)

// member is a node that answered, and what it said of itself.
type member struct {
	*nodeLine
	client   rueidis.Client
	run      string // run id of the process, "" if unknown
	arrivals int64  // keys received by MIGRATE since the process started
	nodes    string // its whole CLUSTER NODES, "" outside a cluster
}

// view is what one look at the deployment found. Outside a cluster, one member
// owns all slots.
type view struct {
	members map[string]*member // by node id
	silent  map[string]error   // by address: those that did not answer

	// owner is who claims a slot, of two the one with the higher epoch; nil if
	// nobody who answered does.
	owner [slotCount]*member
	// hearsay is, for slots without an owner, the address of the one that others
	// name. A slot without either belongs to nobody and has no keys.
	hearsay map[uint16]string
	// blind says that no node with slots answered: then nothing is known of who
	// owns what.
	blind bool
	// peers are, for open slots, the ids of the nodes that have some of the
	// keys besides the owner. Sorted and joined by commas.
	peers map[uint16]string
}

func newView() *view {
	return &view{members: make(map[string]*member), silent: make(map[string]error)}
}

// resolve finds owner, hearsay and peers from what the members say.
func (v *view) resolve() {
	v.owner, v.blind = [slotCount]*member{}, true
	v.peers = make(map[uint16]string)
	v.hearsay = make(map[uint16]string)
	for _, m := range v.members {
		if !m.primary {
			continue
		}
		for s := range m.slots.all() {
			v.blind = false
			if o := v.owner[s]; o == nil || o.epoch < m.epoch {
				v.owner[s] = m
			}
		}
	}
	v.resolvePeers()
	v.resolveHearsay()
}

func (v *view) resolvePeers() {
	open := make(map[uint16][]string)
	for _, m := range v.members {
		if !m.primary {
			continue // Valkey's replicas have the marks of their primaries
		}
		for s, to := range m.migrating {
			if v.owner[s] == m {
				open[s] = append(open[s], to)
			}
		}
		for s := range m.importing {
			if v.owner[s] != m {
				open[s] = append(open[s], m.id)
			}
		}
	}
	for s, ids := range open {
		slices.Sort(ids)
		v.peers[s] = strings.Join(slices.Compact(ids), ",")
	}
}

// peersOf returns the nodes that have keys of s besides its owner.
func (v *view) peersOf(s uint16) []string {
	if v.peers[s] == "" {
		return nil
	}
	return strings.Split(v.peers[s], ",")
}

// resolveHearsay looks up slots that nobody claims in what the members say of
// each other, the newest claim first.
func (v *view) resolveHearsay() {
	unclaimed := new(slotSet)
	for s, o := range v.owner {
		if o == nil {
			unclaimed.add(uint16(s))
		}
	}
	if unclaimed.len() == 0 {
		return
	}
	epochs := make(map[uint16]uint64)
	for _, m := range v.members {
		for line := range strings.Lines(m.nodes) {
			n, ok := parseLine(line)
			if !ok || n.myself || !n.primary {
				continue
			}
			n.slots.keep(unclaimed)
			for s := range n.slots.all() {
				if v.hearsay[s] == "" || epochs[s] < n.epoch {
					v.hearsay[s], epochs[s] = n.addr, n.epoch
				}
			}
		}
	}
}

// strangers returns one slot for each node that has keys and has not been
// asked, because the client does not know it yet.
func (v *view) strangers() []uint16 {
	seen := make(map[string]bool)
	var slots []uint16
	add := func(s uint16, node string) {
		if !seen[node] {
			seen[node] = true
			slots = append(slots, s)
		}
	}
	for s, addr := range v.hearsay {
		if _, asked := v.silent[addr]; !asked {
			add(s, addr)
		}
	}
	for s := range v.peers {
		for _, id := range v.peersOf(s) {
			if v.members[id] == nil {
				add(s, id)
			}
		}
	}
	return slots
}

// where returns the address of the node that has or should have slot s, and
// what is wrong with it. A slot that belongs to nobody is nowhere.
func (v *view) where(s uint16) (addr string, err error) {
	if o := v.owner[s]; o != nil {
		return o.addr, nil
	}
	if addr = v.hearsay[s]; addr == "" && v.blind {
		addr = "of the client"
		for a := range v.silent {
			addr = a
		}
	}
	if addr == "" {
		return "", nil
	}
	if err = v.silent[addr]; err == nil {
		err = errors.New("does not answer as a primary")
	}
	return addr, err
}

// missing returns what is wrong with a node that should have answered as a
// primary.
func (v *view) missing(id string) error {
	err := errors.New("does not answer as a primary")
	for _, m := range v.members {
		for line := range strings.Lines(m.nodes) {
			n, ok := parseLine(line)
			if !ok || n.id != id {
				continue
			}
			if reason := v.silent[n.addr]; reason != nil {
				err = reason
			}
			return nodeError(n.addr, err)
		}
	}
	return nodeError("with id "+id, err)
}

// same reports whether slot s is where it was in the look before: the same
// process, and open towards the same nodes if at all.
func (v *view) same(before *view, s uint16) bool {
	a, b := before.owner[s], v.owner[s]
	if a == nil || b == nil {
		nowhere, _ := before.where(s)
		still, _ := v.where(s)
		return a == b && nowhere == "" && still == ""
	}
	return a.id == b.id && a.run == b.run && before.peers[s] == v.peers[s]
}

// watch collects the slots that moved, or may have, since the look base.
type watch struct {
	base  *view
	last  map[string]*member // by node id: what it said last
	moved slotSet
}

func newWatch(base *view) *watch {
	w := &watch{base: base, last: make(map[string]*member)}
	for id, m := range base.members {
		w.last[id] = m
	}
	return w
}

// see compares another look. Slots whose owner did not answer are not compared:
// the next look that has an answer will do.
func (w *watch) see(v *view) {
	for s, o := range v.owner {
		if o != nil && !v.same(w.base, uint16(s)) {
			w.moved.add(uint16(s))
		}
	}
	for id, m := range v.members {
		if last := w.last[id]; last != nil && m.unexplained(last) {
			w.moved.addAll(&m.slots)
		}
		w.last[id] = m
	}
}

// unsettled returns the slots that cannot be counted as swept, given the look
// behind the pass.
func (w *watch) unsettled(end *view) *slotSet {
	w.see(end)
	s := w.moved
	for i := range slotCount {
		if slot := uint16(i); !end.same(w.base, slot) {
			s.add(slot)
		}
	}
	return &s
}

// unexplained reports whether something came to m since before that neither
// look shows.
func (m *member) unexplained(before *member) bool {
	gained := !m.slots.within(&before.slots)
	open := len(m.importing) > 0 || len(before.importing) > 0
	return m.epoch != before.epoch && !gained || m.arrivals != before.arrivals && !gained && !open
}

// nodeError names the node in err.
func nodeError(addr string, err error) error {
	return &topology.NodeError{Node: addr, Err: err}
}

package sweep

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// gate lets a test act at known points of the first scan of the cluster: it is
// the Keep of a sweep, and takes every key.
//
// The scan of the second primary stops at its first key, until every key of the
// first primary has been found and begin has returned. When the second one has
// no other keys left to find than those in moving, end is called.
type gate struct {
	moving     func(slot int) bool
	begin, end func()

	once  sync.Once
	first chan struct{} // closed when all keys of the first primary were found

	mu     sync.Mutex         // protects wanted
	wanted [2]map[string]bool // keys of the first two primaries not found yet
}

func newGate(t *testing.T, c *localredis.Cluster, match string, moving func(int) bool, begin, end func()) *gate {
	g := &gate{moving: moving, begin: begin, end: end, first: make(chan struct{})}
	for i, s := range c.Nodes()[:2] {
		g.wanted[i] = map[string]bool{}
		for _, k := range keysOf(t, match, s) {
			if !moving(localredis.Slot(k)) {
				g.wanted[i][k] = true
			}
		}
	}
	return g
}

func (g *gate) keep(k string) bool {
	slot := localredis.Slot(k)
	second := slot > 5460 && slot <= 10921
	if second {
		g.once.Do(func() {
			<-g.first
			g.begin()
		})
	}
	if g.found(0, k) {
		close(g.first)
	}
	if g.found(1, k) && g.end != nil {
		g.end()
	}
	return true
}

// found crosses out a key, and reports whether it was the last one of primary i.
func (g *gate) found(i int, k string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.wanted[i][k] {
		return false
	}
	delete(g.wanted[i], k)
	return len(g.wanted[i]) == 0
}

// TestMovedBehindTheScan: keys go from a primary that has not been scanned to one
// that has. One pass cannot find them.
func TestMovedBehindTheScan(t *testing.T) {
	const n, first, last = 8000, 10_000, 10_299
	moving := func(slot int) bool { return slot >= first && slot <= last }
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		for _, onePass := range []bool{true, false} {
			must(t, "Reset", c.Reset(within(t)))
			fill(t, client, "a:", n)
			g := newGate(t, c, "a:*", moving, func() {
				if err := c.MoveSlots(within(t), first, last, c.Nodes()[0]); err != nil {
					t.Errorf("MoveSlots: %v", err)
				}
			}, nil)
			opt := mustDefaults(t, Options{Match: "a:*", Count: 20, Keep: g.keep})
			if onePass {
				left, _, err := newSweeper(client, opt).pass(within(t), allSlots())
				must(t, "pass", err)
				if left.len() < last-first+1 {
					t.Errorf("%d slots are to be swept again, want all that moved", left.len())
				}
				if len(keysOf(t, "a:*", c.Nodes()[:3]...)) == 0 {
					t.Error("one pass found all keys: the test does not test anything")
				}
				continue
			}
			r, err := Sweep(within(t), client, opt)
			must(t, "Sweep", err)
			if r.Deleted != n || r.Passes < 2 || r.Resweeps < last-first+1 {
				t.Errorf("Result = %+v, want %d deleted, and the moved slots swept again", r, n)
			}
			wantLeft(t, "a:*", 0, c.Nodes()[:3]...)
		}
	})
}

// TestThereAndBack: a slot is away while the scan passes, and back before the
// next look.
func TestThereAndBack(t *testing.T) {
	const tag, perTag = "{there}", 40
	slot := localredis.Slot(tag)
	if slot <= 5460 || slot > 10921 {
		t.Fatalf("slot %d is not one of the second primary", slot)
	}
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		for _, how := range []struct {
			name        string
			there, back func(from, to *localredis.Server) error
		}{
			{"new owners", func(_, to *localredis.Server) error { return c.MoveSlot(within(t), slot, to) },
				func(_, to *localredis.Server) error { return c.MoveSlot(within(t), slot, to) }},
			{"open, and given up", func(from, to *localredis.Server) error { return openSlot(t, slot, from, to, perTag) },
				func(from, to *localredis.Server) error { return closeSlot(t, slot, from, to, perTag) }},
		} {
			t.Run(how.name, func(t *testing.T) {
				must(t, "Reset", c.Reset(within(t)))
				fill(t, client, "a:", 2000)
				fill(t, client, "a:"+tag, perTag)
				primaries := c.Nodes()[:3]
				g := newGate(t, c, "a:*", func(s int) bool { return s == slot },
					func() { check(t, "there", how.there(primaries[1], primaries[0])) },
					func() { check(t, "back", how.back(primaries[0], primaries[1])) })
				s := newSweeper(client, mustDefaults(t, Options{Match: "a:*", Count: 10, Keep: g.keep}))
				s.lookEvery = time.Hour
				left, _, err := s.pass(within(t), allSlots())
				must(t, "pass", err)
				if n := len(keysOf(t, "a:*", primaries...)); n == 0 {
					t.Error("one pass found all keys: the test does not test anything")
				}
				if !left.has(uint16(slot)) {
					t.Error("the slot is not to be swept again")
				}
				must(t, "run", s.run(within(t)))
				wantLeft(t, "a:*", 0, primaries...)
			})
		}
	})
}

// check is must for other goroutines.
func check(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// openSlot begins to move a slot, with at most n of its keys.
func openSlot(t *testing.T, slot int, from, to *localredis.Server, n int) error {
	s := strconv.Itoa(slot)
	ctx := within(t)
	if _, err := to.Do(ctx, "CLUSTER", "SETSLOT", s, "IMPORTING", idOf(t, from)); err != nil {
		return err
	}
	if _, err := from.Do(ctx, "CLUSTER", "SETSLOT", s, "MIGRATING", idOf(t, to)); err != nil {
		return err
	}
	return migrate(ctx, s, from, to, n)
}

// closeSlot gives up the move of a slot: its keys go back from a node that was
// importing it.
func closeSlot(t *testing.T, slot int, from, to *localredis.Server, n int) error {
	s := strconv.Itoa(slot)
	ctx := within(t)
	// While it is migrating, it does not take keys.
	if _, err := to.Do(ctx, "CLUSTER", "SETSLOT", s, "STABLE"); err != nil {
		return err
	}
	if err := migrate(ctx, s, from, to, n); err != nil {
		return err
	}
	_, err := from.Do(ctx, "CLUSTER", "SETSLOT", s, "STABLE")
	return err
}

func migrate(ctx context.Context, slot string, from, to *localredis.Server, n int) error {
	reply, err := from.Do(ctx, "CLUSTER", "GETKEYSINSLOT", slot, strconv.Itoa(n))
	if err != nil {
		return err
	}
	keys, _ := reply.([]any)
	if len(keys) == 0 {
		return fmt.Errorf("no keys in slot %s of %s", slot, from)
	}
	cmd := []string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.Port()), "", "0", "10000", "KEYS"}
	for _, k := range keys {
		cmd = append(cmd, fmt.Sprint(k))
	}
	_, err = from.Do(ctx, cmd...)
	return err
}

func idOf(t *testing.T, s *localredis.Server) string {
	t.Helper()
	id, err := s.Do(within(t), "CLUSTER", "MYID")
	if err != nil {
		t.Errorf("CLUSTER MYID: %v", err)
	}
	return fmt.Sprint(id)
}

// TestOpenSlot: a slot stays open with keys on both sides, which must not keep
// Sweep from ending. The second part has them at a node without slots, which
// the client does not know.
func TestOpenSlot(t *testing.T) {
	const tag, perTag = "{there}", 40
	slot := localredis.Slot(tag)
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		sweep := func(to *localredis.Server) {
			t.Helper()
			from := c.Nodes()[1]
			fill(t, client, "a:", 1000)
			fill(t, client, "a:"+tag, perTag)
			must(t, "open", openSlot(t, slot, from, to, perTag/2))
			r, err := Sweep(within(t), client, Options{Match: "a:*"})
			must(t, "Sweep", err)
			if r.Deleted != 1000+perTag || r.Passes != 1 {
				t.Errorf("Result = %+v, want %d deleted in one pass", r, 1000+perTag)
			}
			wantLeft(t, "a:*", 0, append(c.Nodes()[:3:3], to)...)
			for _, s := range []*localredis.Server{from, to} {
				_, err := s.Do(within(t), "CLUSTER", "SETSLOT", strconv.Itoa(slot), "STABLE")
				must(t, "SETSLOT STABLE", err)
			}
		}
		sweep(c.Nodes()[0])
		added, err := c.AddNode(within(t), redisnode.AddOptions{})
		must(t, "AddNode", err)
		sweep(added)
	})
}

// TestMovingSlots: slots move all the time, some with their keys, empty ones
// without.
func TestMovingSlots(t *testing.T) {
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		n := 30_000
		if *million {
			n = 1_000_000
		}
		testMovingSlots(t, c, client, n)
	})
}

func testMovingSlots(t *testing.T, c *localredis.Cluster, client rueidis.Client, n int) {
	empty := func(slot int) bool { return slot >= 16_000 && slot < 16_100 }
	some := func(head string, n int) (names []string) {
		for i := 0; len(names) < n; i++ {
			if k := fmt.Sprint(head, i); !empty(localredis.Slot(k)) {
				names = append(names, k)
			}
		}
		return names
	}
	names, others := some("a:", n), some("b:", 100)
	fillNames(t, client, names)
	fillNames(t, client, others)
	p := c.Nodes()[:3]
	moved := make(chan struct{})
	started := make(chan struct{})
	go func() { // ends with the moves; joined below
		defer close(moved)
		for i, m := range []struct{ first, last, to int }{
			{5500, 5599, 0}, {11_000, 11_199, 1}, {100, 299, 2}, {5600, 5999, 0}, {300, 349, 1}, {5500, 5549, 2},
		} {
			check(t, "MoveSlots", c.MoveSlots(within(t), m.first, m.last, p[m.to]))
			if i == 0 {
				close(started)
			}
			check(t, "SetSlots", c.SetSlots(within(t), 16_000, 16_099, p[i%3]))
		}
	}()
	<-started
	began := time.Now()
	r, err := Sweep(within(t), client, Options{Match: "a:*", Count: 100})
	took := time.Since(began)
	still := true
	select {
	case <-moved:
		still = false
	default:
	}
	<-moved
	must(t, "Sweep", err)
	t.Logf("%+v in %v, slots were still moving behind it: %t", r, took.Round(time.Millisecond), still)
	if r.Deleted != int64(n) {
		t.Errorf("Deleted = %d, want %d", r.Deleted, n)
	}
	wantLeft(t, "a:*", 0, p...)
	wantLeft(t, "b:*", 100, p...)
}

// TestLookNamesNodes: every node has the id it gives itself, also the one whose
// line is the first of the reply.
func TestLookNamesNodes(t *testing.T) {
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		// A replica that was not in sync yet when the client asked is not known to it.
		for end := within(t); len(client.Nodes()) < len(c.Nodes()); client = newClient(t, c.Addrs()...) {
			must(t, "a client that knows all nodes", end.Err())
		}
		v, err := newSweeper(client, mustDefaults(t, Options{Match: "*"})).look(within(t))
		must(t, "look", err)
		for _, s := range c.Nodes() {
			m := v.members[idOf(t, s)]
			if m == nil || m.addr != s.Addr() || m.run == "" || strings.HasPrefix(m.nodes, verbatim) {
				t.Errorf("%s is not among the members by its id: %+v", s.Addr(), m)
			}
		}
	})
}

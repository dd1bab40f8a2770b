//go:build unix

package fleet

import (
	"errors"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// gate holds every load until the test answers it.
type gate struct {
	t       *testing.T
	arrived chan *heldLoad
}

type heldLoad struct {
	by     *proc
	id     string
	answer chan uint64
}

func newGate(t *testing.T) *gate { return &gate{t, make(chan *heldLoad, 16)} }

func (g *gate) load(p *proc, id string) (row, error) {
	h := &heldLoad{by: p, id: id, answer: make(chan uint64, 1)}
	g.arrived <- h
	select {
	case v := <-h.answer:
		return row{id, v}, nil
	case <-g.t.Context().Done():
		return row{}, errGone
	}
}

// next returns the next load to arrive.
func (g *gate) next() *heldLoad {
	g.t.Helper()
	select {
	case h := <-g.arrived:
		return h
	case <-time.After(15 * time.Second):
		g.t.Fatal("no load arrives")
		return nil
	}
}

// none fails the test if a load has arrived.
func (g *gate) none() {
	g.t.Helper()
	select {
	case h := <-g.arrived:
		g.t.Errorf("unexpected load of %s by %s", h.id, h.by.name)
	default:
	}
}

// TestFleetHolderKilled: the process that loads is killed while others wait for
// it. One of them takes over when the lease ends, and one only.
func TestFleetHolderKilled(t *testing.T) {
	t.Parallel()
	onBoth(t, testHolderKilled)
}

func testHolderKilled(t *testing.T, flavor localredis.Flavor) {
	const leaseTTL, margin, callers = time.Second, 5 * time.Second, 10 // who oversleeps takes LockWait, 10 s
	f := newFleet(t, borrowCluster(t, flavor, false), openArgs{LeaseTTL: leaseTTL, OpTimeout: patient, MaxStaleness: 2 * patient})
	g := newGate(t)
	f.onLoad = g.load
	procs, id := f.spawn(4), f.args.IDs[0]
	holder := procs[0].begin(callArgs{Verb: "getorset", ID: id, Callers: callers})
	if h := g.next(); h.by != procs[0] {
		t.Fatalf("load by %s, want %s", h.by.name, procs[0].name)
	}
	var waiting []<-chan outcome
	for _, p := range procs[1:] {
		waiting = append(waiting, p.begin(callArgs{Verb: "getorset", ID: id, Callers: callers}))
	}
	for _, p := range procs[1:] {
		until(t, "all others wait", func() bool { return p.stats().Waits > 0 })
	}
	g.none()
	killed := monotonic()
	procs[0].kill()
	second := g.next()
	second.answer <- 2
	var last int64
	for i, ch := range waiting {
		o := procs[i+1].await(ch)
		last = max(last, o.at)
		for _, v := range o.Versions {
			if v != 2 {
				t.Errorf("%s got version %d, want 2", procs[i+1].name, v)
			}
		}
	}
	if o := <-holder; !errors.Is(o.err, errGone) {
		t.Errorf("call of the killed process: %v, want %v", o.err, errGone)
	}
	g.none()
	took := time.Duration(last - killed)
	t.Logf("%s: reads %d, loads 2, recovery %d ms (lease %v)", flavor, 4*callers, took.Milliseconds(), leaseTTL)
	if took > leaseTTL+margin {
		t.Errorf("the others got the value %v after the kill, want at most %v", took, leaseTTL+margin)
	}
}

// TestFleetHolderFrozen: the process that loads is frozen, the key is written or
// another process takes over, and then the holder wakes up with its old value
// at hand. It may give it to those who asked for it back then; it must not
// store it.
func TestFleetHolderFrozen(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, flavor localredis.Flavor) {
		c := borrowCluster(t, flavor, false)
		for _, verb := range []string{"takeover", "set", "delete", "expire"} {
			t.Run(verb, func(t *testing.T) { testHolderFrozen(t, c, verb) })
		}
	})
}

func testHolderFrozen(t *testing.T, c *localredis.Cluster, verb string) {
	f := newFleet(t, c, openArgs{LeaseTTL: time.Second, OpTimeout: patient, MaxStaleness: 2 * patient})
	g := newGate(t)
	f.onLoad = g.load
	procs, id := f.spawn(3), f.args.IDs[0]
	holder, other, writer := procs[0], procs[1], procs[2]

	old := holder.begin(callArgs{Verb: "getorset", ID: id})
	first := g.next()
	holder.freeze()
	stored := uint64(0) // what Redis is to hold in the end
	switch verb {
	case "takeover":
		ch := other.begin(callArgs{Verb: "getorset", ID: id})
		g.next().answer <- 2 // only after the lease has ended
		if o := other.await(ch); o.Versions[0] != 2 {
			t.Errorf("the one who took over got version %d, want 2", o.Versions[0])
		}
		stored = 2
	case "set":
		writer.do(callArgs{Verb: "set", ID: id, Version: 3})
		stored = 3
	default:
		writer.do(callArgs{Verb: verb, ID: id})
	}
	first.answer <- 1
	holder.thaw()
	if o := holder.await(old); o.Versions[0] != 1 && o.Versions[0] != stored {
		t.Errorf("the frozen call got version %d, want its own 1 or %d", o.Versions[0], stored)
	}
	s := holder.stats()
	if s.Fills != 0 || s.FillsVoided+s.LeasesLost == 0 {
		t.Errorf("holder: Fills %d, FillsVoided %d, LeasesLost %d; want its only fill refused", s.Fills, s.FillsVoided, s.LeasesLost)
	}
	if got := writer.do(callArgs{Verb: "peek", ID: id}).Versions[0]; got != stored {
		t.Errorf("Redis holds version %d, want %d", got, stored)
	}
	for _, p := range procs {
		if stored == 0 {
			ch := p.begin(callArgs{Verb: "getorset", ID: id})
			g.next().answer <- 4
			p.await(ch)
			stored = 4
		} else if got := p.do(callArgs{Verb: "getorset", ID: id}).Versions[0]; got != stored {
			t.Errorf("%s then reads version %d, want %d", p.name, got, stored)
		}
	}
	g.none()
	t.Logf("FillsVoided %d, LeasesLost %d, violations 0", s.FillsVoided, s.LeasesLost)
}

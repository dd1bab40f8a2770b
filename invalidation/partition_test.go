package invalidation

import (
	"math"
	"slices"
	"testing"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// offline returns a Bus without Redis whose clock stands still, for what a Bus
// does between the reader of a connection and the handlers.
func offline(t *testing.T, cfg Config) *Bus {
	t.Helper()
	cfg.Logger = testLog(t)
	cfg = cfg.withDefaults()
	b := &Bus{cfg: cfg, wake: make(chan struct{}, 1)}
	b.parts = newPartitions(b, cfg.Prefix, cfg.Partitions)
	b.subs.Store(new([]*Subscription))
	t.Cleanup(func() {
		for _, s := range *b.subs.Load() {
			s.Close()
			<-s.Done()
		}
	})
	return b
}

// step is something a partition meets.
type step func(t *testing.T, p *partition, l *line)

// msg is the arrival of a message, named after its id.
func msg(prev, id, seq uint64) step {
	return func(t *testing.T, p *partition, l *line) {
		name := string(rune('a' + id - 1))
		p.receive(l, encodeEvents(header{position{id, seq}, prev}, Event{Kind: Key, Name: name}))
	}
}

// raw is the arrival of something else.
func raw(s string) step {
	return func(t *testing.T, p *partition, l *line) { p.receive(l, s) }
}

// beat is a state that was read at a time, asked for when the chain was where it
// is now, and what arrives before the reply.
func beat(id, seq uint64, asked int64, ok bool, meanwhile ...step) step {
	return func(t *testing.T, p *partition, l *line) {
		t.Helper()
		floor := p.floor()
		for _, s := range meanwhile {
			s(t, p, l)
		}
		if err := p.compare(l, position{id, seq}, floor, asked); (err == nil) != ok {
			t.Errorf("compare with state %d, %d = %v", id, seq, err)
		}
	}
}

func lose(t *testing.T, p *partition, l *line)  { p.lose(l, errReplica) }
func leave(t *testing.T, p *partition, l *line) { p.leave(l, "", errReplica) }
func enter(t *testing.T, p *partition, l *line) { p.enter(l) }

func TestChain(t *testing.T) {
	t.Parallel()
	begin := []step{enter, beat(1, 1, 10, true)} // the first gap
	for _, c := range []struct {
		name   string
		steps  []step
		events []string // in order, "" for a gap
		heard  int64
	}{
		{"begins with a gap", nil, []string{""}, 10},
		{"goes on", []step{msg(1, 2, 2), msg(2, 3, 3), beat(3, 3, 20, true)}, []string{"", "b", "c"}, 20},
		{"hole", []step{msg(1, 2, 2), msg(3, 4, 4), beat(4, 4, 20, true)}, []string{"", "b", "", "d"}, 20},
		{"other lineage with the next number", []step{msg(9, 2, 2)}, []string{"", "", "b"}, 10},
		{"duplicate", []step{msg(1, 2, 2), msg(1, 2, 2), beat(2, 2, 20, true)}, []string{"", "b"}, 20},
		{"published again after others", []step{msg(1, 2, 2), msg(2, 3, 3), msg(3, 2, 4), beat(2, 4, 20, true)}, []string{"", "b", "c", "b"}, 20},
		{"message between read and reply", []step{beat(1, 1, 20, true, msg(1, 2, 2))}, []string{"", "b"}, 20},
		{"message still on its way", []step{beat(2, 2, 20, true), msg(1, 2, 2)}, []string{"", "b"}, 20},
		{"message still on its way, not proven yet", []step{beat(2, 2, 20, true)}, []string{""}, 10},
		{"two on their way, one arrived", []step{beat(3, 3, 20, true), msg(1, 2, 2)}, []string{"", "b"}, 10},
		{"message that never comes", []step{beat(2, 2, 20, true), beat(2, 2, 30, false)}, []string{""}, 10},
		{"counter went back", []step{msg(1, 2, 2), beat(1, 1, 20, false)}, []string{"", "b"}, 10},
		{"same number in another lineage", []step{beat(7, 1, 20, false)}, []string{""}, 10},
		{"state gone", []step{beat(0, 0, 20, false)}, []string{""}, 10},
		{"garbage", []step{raw("hello"), raw(""), msg(1, 2, 2)}, []string{"", "b"}, 10},
		{"newer version", []step{raw(encode(header{position{2, 2}, 1}, 2, "?")), msg(2, 3, 3), beat(3, 3, 20, true)}, []string{"", "", "c"}, 20},
		{"body that cannot be read", []step{raw(encode(header{position{2, 2}, 1}, 1, "?")), beat(2, 2, 20, true)}, []string{"", ""}, 20},
		{"time does not go back", []step{beat(1, 1, 5, true)}, []string{""}, 10},
		{"not heard: nothing counts", []step{leave, msg(1, 2, 2), beat(1, 1, 20, true)}, []string{""}, 10},
		{"left, and nothing missed", []step{leave, enter, beat(1, 1, 20, true), msg(1, 2, 2)}, []string{"", "b"}, 20},
		{"left, and a message missed", []step{leave, enter, beat(2, 2, 20, true), msg(2, 3, 3)}, []string{"", "", "c"}, 20},
		{"left, and a message in between", []step{leave, enter, beat(1, 1, 20, true, msg(1, 2, 2)), beat(2, 2, 30, true)}, []string{"", "b"}, 30},
		{"lost, though the state is the same", []step{lose, enter, beat(1, 1, 20, true)}, []string{"", ""}, 10},
		{"lost, proven by the second answer only", []step{lose, enter, beat(1, 1, 20, true), beat(1, 1, 30, true)}, []string{"", ""}, 30},
		{"lost, message before the first answer", []step{lose, enter, beat(8, 2, 20, true, msg(5, 8, 2)), beat(8, 2, 30, true)}, []string{"", "", "h"}, 30},
		{"lost, messages around the first answer", []step{lose, enter, msg(5, 8, 2), beat(8, 2, 20, true, msg(8, 9, 3)), beat(9, 3, 30, true)}, []string{"", "", "h", "i"}, 30},
		{"late message of a state that was adopted", []step{leave, enter, beat(2, 2, 20, true), msg(1, 2, 2), msg(2, 3, 3)}, []string{"", "", "c"}, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := offline(t, Config{})
			p, l := b.parts[0], &line{bus: b, addr: "node"}
			in := subscribe(b)
			for i, s := range append(slices.Clone(begin), c.steps...) {
				s(t, p, l)
				// One step at a time, since a gap may overtake events.
				b.proven(0, int64(i+1)<<40)
				until(t, "the step to be handled", func() bool { return in.Heard(0) == int64(i+1)<<40 })
			}
			var got []string
			for _, e := range in.all() {
				got = append(got, e.Name)
			}
			if !slices.Equal(got, c.events) {
				t.Errorf("delivered %q, want %q", got, c.events)
			}
			if b.Heard(0) != c.heard {
				t.Errorf("Heard = %d, want %d", b.Heard(0), c.heard)
			}
		})
	}
}

// All have the same names, which spread over the slots.
func TestPartitionsSpread(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 8, 64, maxPartitions} {
		seen := map[string]bool{}
		for i, p := range newPartitions(nil, "cache", n) {
			ideal := float64(2*i+1) * localredis.SlotCount / float64(2*n)
			if d := math.Abs(float64(localredis.Slot(p.channel)) - ideal); d > slotError+1 {
				t.Errorf("%d of %d is in slot %d, %v away from its ideal", i, n, localredis.Slot(p.channel), d)
			}
			if localredis.Slot(p.channel) != localredis.Slot(p.state) {
				t.Errorf("%s and %s are in different slots", p.channel, p.state)
			}
			if seen[p.channel] {
				t.Errorf("%s twice", p.channel)
			}
			seen[p.channel] = true
		}
	}
	if got := newPartitions(nil, "cache", 8)[0].channel; got != "cache:bus:{8.0.1260}" {
		t.Errorf("channel 0 of 8 = %s: instances of other releases would not hear it", got)
	}
}

func TestPartitionOfSpreads(t *testing.T) {
	t.Parallel()
	const n, names = 8, 8000
	var count [n]int
	for i := range names {
		count[partitionOf("ns", string(rune('a'+i%26))+string(rune('0'+i%10))+string(rune(i)), n)]++
	}
	for p, c := range count {
		if c < names/n/2 || c > names/n*2 {
			t.Errorf("partition %d has %d of %d names", p, c, names)
		}
	}
	if partitionOf("a", "bc", 1<<30) == partitionOf("ab", "c", 1<<30) {
		t.Error("namespace and name run into each other")
	}
}

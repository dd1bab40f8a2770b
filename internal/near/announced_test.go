package near

import (
	"testing"
	"time"
)

func announcedTable(t *testing.T) *Table {
	t.Helper()
	tab := NewTable(Options{
		MaxStaleness: time.Second, Partitions: 2,
		Partition: func(key string) int { return int(key[0]) % 2 },
	})
	tab.Heard(0, tab.clock.Now())
	tab.Heard(1, tab.clock.Now())
	return tab
}

const forever = int64(1 << 60)

// live puts an entry of key in the table.
func live(t *testing.T, tab *Table, key string) *Entry {
	t.Helper()
	e := tab.Ask(key, false).Take(nil)
	if e == nil || !tab.Publish(e, forever) {
		t.Fatalf("no entry of %q", key)
	}
	return e
}

func TestAnnouncedReadInFlight(t *testing.T) {
	for _, when := range []string{"before the reply", "before it is in memory", "after"} {
		tab := announcedTable(t)
		a := tab.Ask("k", false)
		if when == "before the reply" {
			tab.Announced("k", 0)
		}
		e := a.Take(nil)
		if when == "before the reply" {
			if e != nil {
				t.Errorf("%s: Take = an entry, want none", when)
			}
			continue
		}
		if when == "before it is in memory" {
			tab.Announced("k", 0)
		}
		kept := tab.Publish(e, forever)
		tab.Announced("k", 0)
		if (when == "after") != kept || tab.Fresh(e) {
			t.Errorf("%s: Publish = %v, Fresh = %v, want %v and false", when, kept, tab.Fresh(e), when == "after")
		}
	}
}

// The announcement of a write leaves the entry that the write made, and that
// one alone.
func TestAnnouncedOwnWrite(t *testing.T) {
	tab := announcedTable(t)
	first, second := live(t, tab, "k"), live(t, tab, "k")
	tab.Announced("k", second.ID())
	if tab.Fresh(first) || !tab.Fresh(second) {
		t.Errorf("Fresh = %v, %v after the second's announcement, want false, true", tab.Fresh(first), tab.Fresh(second))
	}
	tab.Announced("k", first.ID()) // of a write that was before it, or after: nobody knows
	if tab.Fresh(second) || tab.Stats().Keys != 0 {
		t.Errorf("Fresh = %v, %d keys after both, want false, 0", tab.Fresh(second), tab.Stats().Keys)
	}
}

func TestAnnouncedGap(t *testing.T) {
	tab := announcedTable(t)
	odd, even := live(t, tab, "k"), live(t, tab, "l")
	a := tab.Ask("k", false)
	tab.Gap(int('k') % 2)
	if tab.Fresh(odd) || !tab.Fresh(even) {
		t.Errorf("Fresh = %v, %v after a gap of the first's partition, want false, true", tab.Fresh(odd), tab.Fresh(even))
	}
	if a.Take(nil) != nil {
		t.Error("a read that was in flight in a gap is kept")
	}
	tab.Heard(int('k')%2, tab.clock.Now())
	if tab.Fresh(odd) || !tab.Fresh(live(t, tab, "k")) {
		t.Error("what was read before a gap counts again, or what was read after it does not")
	}
	tab.Gap(-1)
	if tab.Fresh(even) {
		t.Error("an entry outlives a gap of all partitions")
	}
}

func TestAnnouncedSilence(t *testing.T) {
	tab := announcedTable(t)
	e := live(t, tab, "k")
	tab.clock.Advance(2 * time.Second)
	if tab.Fresh(e) {
		t.Error("Fresh = true of a partition that is not heard")
	}
	// Nothing was missed in the meantime, or there had been a gap.
	tab.Heard(int('k')%2, tab.clock.Now())
	if !tab.Fresh(e) {
		t.Error("Fresh = false once the partition is heard again")
	}
	if age, ok := tab.FeedAge("any"); !ok || age < 2*time.Second {
		t.Errorf("FeedAge = %v, %v with a partition not heard for 2s", age, ok)
	}
}

func TestAnnouncedWatch(t *testing.T) {
	tab := announcedTable(t)
	w := tab.Ask("k", true).Take(nil)
	if w == nil || !tab.Publish(w, forever) {
		t.Fatal("no watch")
	}
	tab.Announced("k", 0)
	select {
	case <-w.Woken():
	default:
		t.Error("a watch sleeps through the announcement")
	}
}

func TestAnnouncedMoves(t *testing.T) {
	tab := announcedTable(t)
	e, a := live(t, tab, "k"), tab.Ask("l", false)
	tab.clock.Advance(time.Nanosecond)
	tab.KillSlots(func(uint16) bool { return true })
	if tab.Fresh(e) || a.Take(nil) != nil {
		t.Error("what was read before its slot moved is kept")
	}
	f := live(t, tab, "m")
	if n := tab.KillMatching(func(key string) bool { return key == "m" }); n != 1 || tab.Fresh(f) {
		t.Errorf("KillMatching = %d, Fresh = %v, want 1 and false", n, tab.Fresh(f))
	}
	g := live(t, tab, "n")
	tab.ResetNode("any")
	if tab.Fresh(g) {
		t.Error("Fresh = true of what may have been read from a demoted primary")
	}
}

// Schedule: one goroutine ends the entries of a key, for a push perhaps, and
// another, that has just written the key, finds them gone. What it reads next must
// not be one of them.
func TestKilledWhenGone(t *testing.T) {
	for name, end := range map[string]func(*Table){
		"Evict":        func(tab *Table) { tab.Evict("k") },
		"EvictOthers":  func(tab *Table) { tab.EvictOthers(&Entry{key: "k"}) },
		"Announced":    func(tab *Table) { tab.Announced("k", 0) },
		"KillSlots":    func(tab *Table) { tab.KillSlots(func(uint16) bool { return true }) },
		"KillMatching": func(tab *Table) { tab.KillMatching(func(string) bool { return true }) },
		"Detached":     func(tab *Table) { tab.Detached("k", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			tab := announcedTable(t)
			first, second := live(t, tab, "k"), live(t, tab, "k")
			told := 0
			tab.onKill = func(*Entry) {
				told++
				if n := tab.Stats().Keys; n > 1 { // the new one of Detached
					t.Errorf("%d keys are left, want none of these", n)
				}
				if tab.Fresh(first) || tab.Fresh(second) {
					t.Error("one that is gone is still alive")
				}
			}
			end(tab)
			if told != 2 {
				t.Errorf("the owner was told of %d entries, want 2", told)
			}
		})
	}
}

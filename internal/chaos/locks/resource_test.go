package locks

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestResourceRefusesOlderTokens(t *testing.T) {
	t.Parallel()
	l := newLedger()
	for _, w := range []struct {
		name  string
		token uint64
		want  bool
	}{{"a", 5, true}, {"a", 5, true}, {"a", 4, false}, {"b", 4, true}, {"a", 6, true}, {"a", 5, false}} {
		if got := l.write(writeTo{Name: w.name, Token: w.token}); got != w.want {
			t.Errorf("write to %s with token %d = %t, want %t", w.name, w.token, got, w.want)
		}
	}
	if len(l.writes) != 6 {
		t.Errorf("%d writes are recorded, want 6", len(l.writes))
	}
}

// A late write waits until a newer holder has written, for some time, or until
// nobody writes any more.
func TestLateWrites(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(*ledger)
		accepted  bool
		after     time.Duration
	}{
		"a newer holder writes": {func(l *ledger) {
			l.write(writeTo{Name: "a", Token: 1})
			l.write(writeTo{Name: "a", Token: 2})
		}, false, time.Second},
		"nobody does":       {func(*ledger) {}, true, patience},
		"the phase is over": {func(l *ledger) { close(l.over) }, true, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, began := newLedger(), time.Now()
				go func() {
					time.Sleep(time.Second)
					c.meanwhile(l)
				}()
				if got := l.write(writeTo{Name: "a", Token: 1, Wait: true}); got != c.accepted || time.Since(began) != c.after {
					t.Errorf("accepted %t after %v, want %t after %v", got, time.Since(began), c.accepted, c.after)
				}
			})
		})
	}
}

func TestKilledHolder(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.enter(Stay{ID: 1, Process: 1, Kind: Lease, Name: "n", Entry: 10})
	l.enter(Stay{ID: 2, Process: 2, Kind: Lease, Name: "n", Entry: 10})
	l.enter(Stay{ID: 3, Process: 1, Kind: Lease, Name: "n", Entry: 30})
	l.exit(Stay{ID: 3, Process: 1, Kind: Lease, Name: "n", Entry: 30, Exit: 35})
	l.killed(death{process: 1, next: 4, at: 40})
	l.enter(Stay{ID: 4, Process: 1, Kind: Lease, Name: "n", Entry: 38}) // of the one in its place
	p := &Phase{}
	l.facts(p)
	for _, s := range p.Stays {
		if want := map[int64]int64{1: 40, 2: 0, 3: 35, 4: 0}[s.ID]; int64(s.Exit) != want {
			t.Errorf("stay %d ends at %d, want %d", s.ID, s.Exit, want)
		}
	}
	if got := l.lastEntry(1, target{Lease, "n"}); got != 38 {
		t.Errorf("the last entry was at %d, want 38", got)
	}
}

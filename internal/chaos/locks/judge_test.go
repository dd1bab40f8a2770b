package locks

import (
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// stay makes a stay of process id under a lease "n", whose context ends before
// its Until.
func stay(id int64, token uint64, entry, exit history.Time) Stay {
	return Stay{ID: id, Process: int(id), Kind: Lease, Name: "n", Token: token, Since: entry - 1, Entry: entry, Exit: exit, Until: exit + 5}
}

// redlock makes a stay of Redlock of it.
func redlock(s Stay) Stay {
	s.Kind, s.Token = Redlock, 0
	return s
}

// until makes a holder of it that did not notice the end.
func until(s Stay, at history.Time) Stay {
	s.Until = at
	return s
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	loss := Span{Fault: "kill", Shards: []int{1}, MayLose: true, Began: 12, Forgot: 18, Ended: 100}
	for name, c := range map[string]struct {
		stays          []Stay
		spans          []Span
		all, explained int
		kind           string
		violations     int
	}{
		"one after the other":               {stays: []Stay{stay(1, 1, 10, 20), stay(2, 2, 20, 30)}},
		"by a nanosecond":                   {stays: []Stay{stay(1, 1, 10, 21), stay(2, 2, 20, 30)}, all: 1, violations: 1},
		"told in the other order":           {stays: []Stay{stay(2, 2, 20, 30), stay(1, 1, 10, 21)}, all: 1, violations: 1},
		"one within another":                {stays: []Stay{stay(1, 1, 10, 40), stay(2, 2, 20, 30)}, all: 1, violations: 1},
		"two within another":                {stays: []Stay{stay(1, 1, 10, 40), stay(2, 2, 20, 30), stay(3, 3, 30, 35)}, all: 2, violations: 1},
		"three at once":                     {stays: []Stay{stay(1, 1, 10, 40), stay(2, 2, 20, 40), stay(3, 3, 30, 35)}, all: 3, violations: 2},
		"frozen beyond Until":               {stays: []Stay{until(stay(1, 1, 10, 90), 20), stay(2, 2, 20, 30)}},
		"frozen, granted before Until":      {stays: []Stay{until(stay(1, 1, 10, 90), 21), stay(2, 2, 20, 30)}, all: 1, violations: 1},
		"over before its holder knew":       {stays: []Stay{stay(1, 1, 10, 40), until(stay(2, 2, 20, 30), 19)}},
		"killed, Until not known":           {stays: []Stay{until(stay(1, 1, 10, 21), 0), stay(2, 2, 20, 30)}, all: 1, violations: 1},
		"other names":                       {stays: []Stay{stay(1, 1, 10, 40), {ID: 2, Kind: Lease, Name: "m", Token: 1, Entry: 20, Exit: 30, Until: 35}}},
		"other kinds":                       {stays: []Stay{stay(1, 1, 10, 40), redlock(stay(2, 0, 20, 30))}},
		"a loss between the grants":         {stays: []Stay{stay(1, 1, 10, 30), stay(2, 2, 20, 40)}, spans: []Span{loss}, all: 1, explained: 1},
		"a loss of Redlock":                 {stays: []Stay{redlock(stay(1, 0, 10, 30)), redlock(stay(2, 0, 20, 40))}, spans: []Span{loss}, all: 1, kind: Redlock, violations: 1},
		"a loss that was over before":       {stays: []Stay{stay(1, 1, 19, 30), stay(2, 2, 20, 40)}, spans: []Span{loss}, all: 1, violations: 1},
		"a loss that came after":            {stays: []Stay{stay(1, 1, 5, 30), stay(2, 2, 11, 40)}, spans: []Span{loss}, all: 1, violations: 1},
		"a loss of another shard":           {stays: []Stay{stay(1, 1, 10, 30), stay(2, 2, 20, 40)}, spans: []Span{{Shards: []int{0, 2}, MayLose: true, Began: 12, Forgot: 18, Ended: 100}}, all: 1, violations: 1},
		"a fault that loses nothing":        {stays: []Stay{stay(1, 1, 10, 30), stay(2, 2, 20, 40)}, spans: []Span{{Shards: []int{1}, Began: 12, Forgot: 18, Ended: 100}}, all: 1, violations: 1},
		"one explained, one before it":      {stays: []Stay{stay(1, 1, 1, 30), stay(2, 2, 5, 9), stay(3, 3, 20, 40)}, spans: []Span{loss}, all: 2, explained: 1, violations: 1},
		"a token of Redlock":                {stays: []Stay{{ID: 1, Kind: Redlock, Name: "n", Token: 1, Entry: 1, Exit: 2, Until: 3}}, violations: 1},
		"what the harness has not achieved": {violations: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &Phase{Stays: c.stays, Spans: c.spans, Shards: map[string]int{"n": 1, "m": 1}}
			if c.stays == nil {
				p.Failures = []string{"no progress"}
			}
			if c.kind == "" {
				c.kind = Lease
			}
			v := Judge(p)
			all, explained := v.Count(c.kind)
			if all != c.all || explained != c.explained || len(v.Violations()) != c.violations {
				t.Errorf("%d overlaps, %d explained, violations %q; want %d, %d, %d", all, explained, v.Violations(), c.all, c.explained, c.violations)
			}
		})
	}
}

// writes are by stays 1, with token 10, and 2, with token 20 and later.
func TestFence(t *testing.T) {
	t.Parallel()
	older, newer := stay(1, 10, 10, 20), stay(2, 20, 20, 30)
	w := func(s Stay, accepted bool) Write {
		return Write{Stay: s.ID, Name: "n", Token: s.Token, Accepted: accepted}
	}
	backwards := stay(3, 5, 40, 50) // was granted a token that had been there
	for name, c := range map[string]struct {
		stays                     []Stay
		writes                    []Write
		refused, leaked, disorder int
		violations                int
	}{
		"in order":                            {stays: []Stay{older, newer}, writes: []Write{w(older, true), w(older, true), w(newer, true)}},
		"the older is refused":                {stays: []Stay{older, newer}, writes: []Write{w(newer, true), w(older, false), w(newer, true)}, refused: 1},
		"the older is accepted":               {stays: []Stay{older, newer}, writes: []Write{w(newer, true), w(older, true)}, leaked: 1, violations: 1},
		"the newer is refused":                {stays: []Stay{older, newer}, writes: []Write{w(older, true), w(newer, false)}, refused: 1, violations: 1},
		"the newer has not written":           {stays: []Stay{older, newer}, writes: []Write{w(older, true)}},
		"a token that does not grow":          {stays: []Stay{older, newer, backwards}, disorder: 1, violations: 1},
		"the older leaks by its larger token": {stays: []Stay{newer, backwards}, writes: []Write{w(backwards, true), w(newer, true)}, leaked: 1, disorder: 1, violations: 2},
		"a write of nobody":                   {writes: []Write{w(older, true)}, violations: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := Judge(&Phase{Stays: c.stays, Writes: c.writes})
			if v.Refused != c.refused || v.Leaked != c.leaked || v.Disorder != c.disorder || len(v.Violations()) != c.violations {
				t.Errorf("%d refused, %d leaked, %d in disorder, violations %q; want %d, %d, %d, %d",
					v.Refused, v.Leaked, v.Disorder, v.Violations(), c.refused, c.leaked, c.disorder, c.violations)
			}
		})
	}
}

// Grants whose order is not known are not in disorder: the second may have been
// granted first, and its holder been late to hear of it.
func TestOrderThatIsNotKnown(t *testing.T) {
	t.Parallel()
	slow := stay(2, 9, 30, 40)
	slow.Since = 5
	if v := Judge(&Phase{Stays: []Stay{stay(1, 10, 10, 20), slow}}); v.Disorder != 0 {
		t.Errorf("%d in disorder, want none: %q", v.Disorder, v.Violations())
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	loss := Span{Fault: "kill", Shards: []int{1}, MayLose: true, Began: 12, Forgot: 18, Ended: 100}
	older, newer := stay(1, 10, 10, 30), stay(2, 20, 20, 40)
	older.Lost, older.Until = true, 29
	p := &Phase{
		Name: "p", Stays: []Stay{older, newer, redlock(stay(3, 0, 1, 2))}, Spans: []Span{loss}, Shards: map[string]int{"n": 1},
		Writes: []Write{{Stay: 2, Name: "n", Token: 20, Accepted: true}, {Stay: 1, Name: "n", Token: 10}},
		Began:  0, Ended: 4e9,
	}
	v := Sum([]Verdict{Judge(p), Judge(&Phase{Name: "q", Failures: []string{"stuck"}})})
	const want = "RESULT locks=3 faults=1 redlock_overlaps=0 lease_overlaps=1 fenced_writes_refused=1 fenced_writes_leaked=0" +
		" lease_overlaps_explained=1 token_disorder=0 lost_locks=1 overdue=1 redlock_locks=1 lease_locks=2 processes=4 seconds=4 seed=7"
	if got := v.Result(4, 7); got != want {
		t.Errorf("Result = %s\nwant     %s", got, want)
	}
	if all := v.Violations(); len(all) != 1 || all[0] != "q: stuck" {
		t.Errorf("violations %q, want that of the second phase", all)
	}
	idle := Sum(nil)
	if all := idle.Violations(); len(all) != 1 || !strings.Contains(all[0], "fence") {
		t.Errorf("violations %q of a run in which nothing was refused", all)
	}
}

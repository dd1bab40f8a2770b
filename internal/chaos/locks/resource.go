package locks

import (
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// patience is how long a write may wait for one of a newer holder.
const patience = 2 * time.Second

// ledger is where the parent keeps what holders report, and the resource that
// the leases guard.
type ledger struct {
	mu      sync.Mutex // protects the rest
	stays   map[int64]*Stay
	highest map[string]uint64 // token of each name
	writes  []Write
	deaths  []death
	entered map[int]map[target]history.Time // last entry of each process
	// grown is closed, and replaced, when a higher token has written.
	grown chan struct{}
	// over is closed when nobody writes any more.
	over chan struct{}
}

func newLedger() *ledger {
	return &ledger{
		stays: map[int64]*Stay{}, highest: map[string]uint64{}, entered: map[int]map[target]history.Time{},
		grown: make(chan struct{}), over: make(chan struct{}),
	}
}

func (l *ledger) enter(s Stay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stays[s.ID] = &s
	of, t := l.entered[s.Process], target{s.Kind, s.Name}
	if of == nil {
		of = map[target]history.Time{}
		l.entered[s.Process] = of
	}
	of[t] = max(of[t], s.Entry)
}

func (l *ledger) exit(s Stay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stays[s.ID] = &s
}

// A death is the end of a process. Its stays have numbers below the next.
type death struct {
	process int
	next    int64
	at      history.Time
}

// killed records the death of a process. What it has sent may be still under
// way.
func (l *ledger) killed(d death) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaths = append(l.deaths, d)
}

// lastEntry returns when a process last took a lock, 0 if never.
func (l *ledger) lastEntry(process int, t target) history.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entered[process][t]
}

// write is the resource: it refuses what is below the highest token it has
// seen.
func (l *ledger) write(w writeTo) bool {
	if w.Wait {
		l.awaitNewer(w)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out := Write{Stay: w.Stay, Name: w.Name, Token: w.Token, At: history.Now(), Late: w.Late}
	if out.Accepted = w.Token >= l.highest[w.Name]; out.Accepted && w.Token > l.highest[w.Name] {
		l.highest[w.Name] = w.Token
		close(l.grown)
		l.grown = make(chan struct{})
	}
	l.writes = append(l.writes, out)
	return out.Accepted
}

// awaitNewer returns when a newer holder has written, or patience is over.
func (l *ledger) awaitNewer(w writeTo) {
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		l.mu.Lock()
		newer, grown := l.highest[w.Name] > w.Token, l.grown
		l.mu.Unlock()
		if newer {
			return
		}
		select {
		case <-grown:
		case <-l.over:
			return
		case <-t.C:
			return
		}
	}
}

// facts moves what was reported to the record of the phase. The stays of a
// process that was killed ended with it.
func (l *ledger) facts(p *Phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.stays {
		for _, d := range l.deaths {
			if s.Exit == 0 && s.Process == d.process && s.ID < d.next {
				s.Exit, s.Lost = max(d.at, s.Entry), true
			}
		}
		p.Stays = append(p.Stays, *s)
	}
	p.Writes = l.writes
}

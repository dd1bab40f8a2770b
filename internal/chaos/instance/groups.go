//go:build unix

package instance

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/rc"
)

// verbsOf are the calls that invalidate a group.
var verbsOf = map[history.GroupKind][]string{
	history.GroupTag:       {"InvalidateTag", "ExpireTag"},
	history.GroupNamespace: {"Clear", "ExpireAll"},
	history.GroupPattern:   {"InvalidatePattern"},
}

// slowPause is about the time between two bursts of writes of a slow group by
// one instance; burst is about how many writes one has.
const (
	slowPause = 9 * time.Second
	burst     = 3
)

// startGroupWriters makes the writers of this instance of what is in groups, and
// of the classes of keys that come with them.
func (p *phase) startGroupWriters(everybody time.Duration) {
	for i := range p.args.Groups {
		g := &p.args.Groups[i]
		w := &writer{p: p, verbs: verbsOf[g.Kind], keys: g.Keys, group: i + 1, pause: 3 * everybody}
		switch {
		case g.Rare:
			continue
		case p.args.Keys[g.Keys[0]].Class == history.ClassTagSet:
			if w.keys[0]%p.args.Instances != p.args.Instance {
				continue
			}
			w.verbs, w.pause = []string{"Set", w.verbs[0], "Set", w.verbs[1]}, everybody/2
		case g.Slow:
			w.pause, w.burst = slowPause, burst
		}
		p.writers.Go(w.run)
	}
	for _, key := range p.byClass[history.ClassTagFast] {
		p.startWriter("Delete", 20*everybody, key)
	}
	for _, key := range p.byClass[history.ClassBefore] {
		p.startWriter("DeleteBefore", 2*everybody, key)
	}
}

// tell writes groups once.
func (p *phase) tell(t Tell) error {
	for _, n := range t.Groups {
		g := &p.args.Groups[n-1]
		w := &writer{p: p, verbs: verbsOf[g.Kind], keys: g.Keys, group: n}
		if err := w.write(); err != nil {
			return err
		}
	}
	return nil
}

// again reports whether a burst goes on. The next write comes while the loads
// are under way that the last one made necessary.
func (w *writer) again() bool {
	if w.burst == 0 || rand.IntN(w.burst) == 0 {
		return false
	}
	time.Sleep(rand.N(6 * time.Millisecond)) // sets the rate; decides nothing
	return true
}

// byGroup reports whether a verb is one of a group.
func byGroup(verb string) bool {
	switch verb {
	case "InvalidateTag", "ExpireTag", "Clear", "ExpireAll", "InvalidatePattern":
		return true
	}
	return false
}

// tellGroup makes a call that invalidates the writer's group.
func (w *writer) tellGroup(verb string) error {
	ctx := context.Background()
	p, g := w.p, w.p.args.Groups[w.group-1]
	svc := p.service[w.keys[0]]
	switch verb {
	case "InvalidateTag":
		return p.manager.InvalidateTag(ctx, g.Name)
	case "ExpireTag":
		return p.manager.ExpireTag(ctx, g.Name)
	case "Clear":
		return svc.Clear(ctx)
	case "ExpireAll":
		return svc.ExpireAll(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, p.args.Limits.OpTimeout+p.args.Limits.DialTimeout)
	defer cancel()
	_, err := svc.InvalidatePattern(ctx, g.Name)
	return err
}

// groupOf returns the number of the group whose invalidation an event is about,
// 0 if there is none.
func (p *phase) groupOf(e rc.InvalidationEvent) int {
	switch e.Verb {
	case "InvalidateTag", "ExpireTag":
		return p.groups[e.ID]
	case "Clear", "ExpireAll":
		return p.groups[e.Namespace]
	}
	return 0
}

// addFeed adds to a report what has happened since the last one to the ways on
// which this instance hears of changes. It is called by one goroutine at a time.
func (p *phase) addFeed(r *Report) {
	now := history.Feed{Redialed: p.way.redialed()}
	if p.bus != nil {
		s := p.bus.Stats()
		now.Published, now.Gaps = s.Published, s.Gaps
	}
	last := p.lastFeed
	p.lastFeed = now
	r.Feed.Broadcast = p.bus != nil
	r.Feed.Published = now.Published - last.Published
	r.Feed.Gaps = now.Gaps - last.Gaps
	r.Feed.Redialed = now.Redialed - last.Redialed
}

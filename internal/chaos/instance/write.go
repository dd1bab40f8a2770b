//go:build unix

package instance

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/rc"
)

// writer is one goroutine that writes one key, or several at once.
type writer struct {
	p     *phase
	verbs []string // taken in turns
	turn  int
	keys  []int
	group int // its number, 0 for none
	pause time.Duration
	// burst is how many writes follow upon each other at most; 0 is one.
	burst int
	// doubt makes it look at what Redis holds before the next write.
	doubt bool
	// failed and rests: after a failed Set the next one that succeeds is now and
	// then followed by a long rest, in which it would show if the failed one
	// reached Redis late.
	failed, rests bool
}

// startWriters makes the writers of this instance: of the keys with one writer
// the share of this instance, of the others one each.
func (p *phase) startWriters(pause time.Duration) {
	everybody := pause * time.Duration(p.args.Instances) // so that a key is written as often as one with one writer
	for c, keys := range p.byClass {
		for i, key := range keys {
			mine := i%p.args.Instances == p.args.Instance
			switch c {
			case history.ClassSet:
				if mine {
					p.startWriter("Set", pause, key)
				}
			case history.ClassVersioned:
				p.startWriter("Set", everybody, key)
			case history.ClassDelete:
				p.startWriter("Delete", everybody, key)
			case history.ClassExpire:
				p.startWriter("Expire", everybody, key)
			case history.ClassQuiet:
				p.startWriter("Delete", 40*everybody, key)
			case history.ClassNegative:
				p.startWriter("Delete", 20*everybody, key)
			}
		}
	}
	// Half of the keys of ClassMany have one writer, who sets them.
	many := p.byClass[history.ClassMany]
	if half := len(many) / 2; half > 0 {
		if p.args.Instance == 0 {
			p.startWriter("SetMany", 2*pause, many[:half]...)
		}
		p.startWriter("DeleteMany", 2*everybody, many[half:]...)
	}
	p.startGroupWriters(everybody)
}

func (p *phase) startWriter(verb string, pause time.Duration, keys ...int) {
	w := &writer{p: p, verbs: []string{verb}, keys: keys, pause: pause}
	p.writers.Go(w.run)
}

func (w *writer) run() {
	for first := true; ; first = false {
		d := w.pause/2 + rand.N(w.pause)
		if first {
			d = rand.N(w.pause)
		}
		if w.rests {
			d += 2 * w.p.args.Bound
		}
		w.rests = false
		rest := time.NewTimer(d) // sets the rate; decides nothing
		select {
		case <-w.p.writing.Done():
			rest.Stop()
			return
		case <-rest.C:
		}
		if w.doubt || rand.IntN(4) == 0 {
			for _, key := range w.keys {
				w.p.peek(key)
			}
		}
		for more := true; more; more = w.again() {
			if w.write() != nil {
				return // the phase ends, or the parent has
			}
		}
	}
}

// write changes the database, then tells the cache.
func (w *writer) write() error {
	p := w.p
	verb := w.verbs[w.turn%len(w.verbs)]
	w.turn++
	group := 0
	if byGroup(verb) {
		group = w.group
	}
	versions, err := p.commit(p.writing, verb, group, w.keys...)
	if err != nil {
		return err
	}
	rec := history.Write{By: p.args.Instance, Verb: verb, Group: group, Began: history.Now()}
	if group > 0 {
		err = w.tellGroup(verb)
	} else {
		err = w.tell(verb, versions)
	}
	rec.Ended = history.Now()
	p.rec.called(verb)
	p.waited(verb, w.keys[0], rec.Began, rec.Ended, p.limitOf(verb, w.group), err)
	var many *rc.ManyError
	whole := err
	if errors.As(err, &many) {
		whole = nil
	}
	w.rests = verb == "Set" && err == nil && w.failed && rand.IntN(2) == 0
	w.failed = err != nil
	w.doubt = w.failed || rec.Ended.Sub(rec.Began) > p.args.Limits.OpTimeout/4
	for i, key := range w.keys {
		one := whole
		if many != nil {
			one = many.Errs[p.args.Keys[key].ID]
		}
		rec.Key, rec.Version = key, versions[i]
		p.wrote(rec, one)
	}
	return nil
}

// tell makes the call of the cache. It is not cancelled at the end of the phase:
// then nobody would know what became of it.
func (w *writer) tell(verb string, versions []uint64) error {
	ctx := context.Background()
	k := w.p.args.Keys[w.keys[0]]
	svc := w.p.service[w.keys[0]]
	switch verb {
	case "Set":
		return svc.Set(ctx, k.ID, Row{k.ID, versions[0]})
	case "Delete":
		return svc.Delete(ctx, k.ID)
	case "Expire":
		return svc.Expire(ctx, k.ID)
	case "DeleteBefore":
		return svc.DeleteBefore(ctx, k.ID, versions[0])
	}
	rows, ids := map[string]Row{}, []string{}
	for i, key := range w.keys {
		id := w.p.args.Keys[key].ID
		rows[id] = Row{id, versions[i]}
		ids = append(ids, id)
	}
	if verb == "SetMany" {
		return svc.SetMany(ctx, rows)
	}
	return svc.DeleteMany(ctx, ids)
}

// wrote records how the write of a key ended. w.Ended is set.
func (p *phase) wrote(w history.Write, err error) {
	own := &p.own[w.Key]
	var inv *rc.InvalidationError
	switch {
	case err == nil:
		w.Acked = w.Ended
		p.board.Acknowledge(w.Key, w.Version, w.Ended)
		own.raise(w.Version << 1)
	case errors.As(err, &inv) && inv.Queued:
		w.Queued = true
		own.raise(w.Version<<1 | 1)
		own.mu.Lock()
		own.failed = append(own.failed, w)
		own.mu.Unlock()
	}
	if err != nil {
		w.Err = err.Error()
	}
	p.rec.wrote(w)
}

// raise is for one writer at a time; there may be several of one key, and then
// the newest version counts.
func (o *ownWrites) raise(v uint64) {
	for old := o.newest.Load(); v > old && !o.newest.CompareAndSwap(old, v); old = o.newest.Load() {
	}
}

// replayed records that the queue delivered the invalidation of a key, or of a
// group that it is in. What had failed long enough before to be covered by it is
// acknowledged by that.
func (p *phase) replayed(key, group int, at history.Time) {
	own := &p.own[key]
	own.mu.Lock()
	defer own.mu.Unlock()
	kept := own.failed[:0]
	for _, w := range own.failed {
		if w.Group != group || !p.args.Limits.Delivered(w.Ended, at) {
			kept = append(kept, w)
			continue
		}
		p.board.Acknowledge(key, w.Version, at)
	}
	own.failed = kept
	p.rec.replayed(Replay{Key: key, Group: group, At: at})
}

// peek looks at the bytes that Redis holds for a key, and records it if they
// are older than what was acknowledged before.
func (p *phase) peek(key int) {
	k := p.args.Keys[key]
	switch k.Class {
	case history.ClassTagFast, history.ClassTagSlow, history.ClassTagSet, history.ClassSpace:
		return // its tokens say whether it is good
	}
	ctx, cancel := context.WithTimeout(p.reading, p.args.Limits.OpTimeout)
	defer cancel()
	began := history.Now()
	v, err := p.raw(ctx, key)
	if err != nil || v == 0 {
		return // no value is nothing forgotten that a reader could be shown
	}
	if t := p.board.Superseded(key, v); t != 0 && t < began {
		p.rec.peeked(history.Peek{Key: key, By: p.args.Instance, Began: began, Ended: history.Now(), Version: v})
	}
}

// raw returns the version that Redis holds, 0 if none, or one that is marked
// stale or does not say.
func (p *phase) raw(ctx context.Context, n int) (uint64, error) {
	key, err := p.service[n].Key(p.args.Keys[n].ID)
	if err != nil {
		return 0, err
	}
	c := p.manager.Client()
	raw, err := c.Do(ctx, c.B().Get().Key(key).Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	h, payload, err := envelope.Parse(raw, key)
	if err != nil || h.Stale || h.Negative {
		return 0, err
	}
	r, err := workers.Decode[Row](payload)
	return r.Version, err
}

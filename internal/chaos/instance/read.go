//go:build unix

package instance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/rc"
)

// read reads random keys until the phase ends.
func (p *phase) read(spin bool) {
	const group = 8
	for i := 1; p.reading.Err() == nil; i++ {
		p.readOne(rand.IntN(len(p.args.Keys)))
		if !spin && i%group == 0 {
			time.Sleep(time.Millisecond) // sets the rate; decides nothing
		}
	}
}

// reading is one read under way.
type reading struct {
	verb  string
	began history.Time
	own   []uint64 // ownWrites.newest of each key, before the read
}

func (p *phase) readOne(key int) {
	k := p.args.Keys[key]
	patience := readPatience
	dice := rand.IntN(100)
	if dice%5 == 0 {
		patience = hastyPatience
	}
	ctx, cancel := context.WithTimeout(p.reading, patience)
	defer cancel()
	ctx, tr := withTrace(ctx)
	r := reading{verb: "GetOrSet", own: []uint64{p.own[key].newest.Load()}}
	svc := p.service[key]
	var row Row
	var err error
	found, judged := true, true
	switch k.Class {
	case history.ClassMany:
		if dice < 90 {
			p.readMany(ctx, tr, patience, k.Class)
			return
		}
	case history.ClassTagFast, history.ClassTagSlow:
		if dice >= 90 {
			p.readMany(ctx, tr, patience, k.Class)
			return
		}
	}
	r.began = history.Now()
	switch {
	case dice < 8:
		r.verb = "Get"
		row, found, err = svc.Get(ctx, k.ID)
	case dice < 16:
		r.verb = "Lookup"
		var it rc.Item[Row]
		it, err = svc.Lookup(ctx, k.ID)
		row, found = it.Value, it.Found
		if err == nil && it.NotFound {
			err = rc.ErrNotFound
		}
	case dice < 18:
		r.verb, judged = "Exists", false
		_, err = svc.Exists(ctx, k.ID)
	case dice < 20:
		r.verb, judged = "TTL", false
		_, _, err = svc.TTL(ctx, k.ID)
	case dice < 21 && k.Class != history.ClassQuiet:
		r.verb = "Refresh"
		row, err = svc.Refresh(ctx, k.ID, p.loader(key))
	default:
		row, err = svc.GetOrSet(ctx, k.ID, p.loader(key))
	}
	ended := history.Now()
	p.rec.called(r.verb)
	p.waited(r.verb, key, r.began, ended, p.readLimit(patience), err)
	notFound := errors.Is(err, rc.ErrNotFound)
	if notFound {
		err = nil
	}
	if err != nil || !judged {
		p.rec.ended(p.ended(ended.Sub(r.began), p.unlessClosing(err)), r.began, err)
		return
	}
	p.answer(r, key, 0, row, found, notFound, tr.of(k.ID), ended)
}

// unlessClosing is err, but not what a read gets because the phase ends.
func (p *phase) unlessClosing(err error) error {
	if err != nil && p.reading.Err() != nil {
		return context.Canceled
	}
	return err
}

// readMany reads all keys of a class at once.
func (p *phase) readMany(ctx context.Context, tr *trace, patience time.Duration, class history.Class) {
	keys := p.byClass[class]
	ids := make([]string, len(keys))
	r := reading{verb: "GetOrSetMany"}
	for i, key := range keys {
		ids[i] = p.args.Keys[key].ID
		r.own = append(r.own, p.own[key].newest.Load())
	}
	r.began = history.Now()
	rows, err := p.service[keys[0]].GetOrSetMany(ctx, ids, p.loadMany)
	ended := history.Now()
	p.rec.called(r.verb)
	p.waited(r.verb, keys[0], r.began, ended, p.readLimit(patience), err)
	var many *rc.ManyError
	if err != nil && !errors.As(err, &many) {
		p.rec.ended(p.ended(ended.Sub(r.began), p.unlessClosing(err)), r.began, err)
		return
	}
	for i, key := range keys {
		if many != nil && many.Errs[ids[i]] != nil {
			err := many.Errs[ids[i]]
			p.rec.ended(p.ended(ended.Sub(r.began), p.unlessClosing(err)), r.began, err)
			continue
		}
		row, ok := rows[ids[i]]
		p.answer(r, key, i, row, ok, !ok, tr.of(ids[i]), ended)
	}
}

// answer judges what a read returned for a key, the i-th of the read. found is
// false for a miss; notFound is the answer that there is no such value.
func (p *phase) answer(r reading, key, i int, row Row, found, notFound bool, source string, ended history.Time) {
	k := p.args.Keys[key]
	switch {
	case notFound && k.Class == history.ClassNegative:
		row.Version = lastAbsent(p.board.Current(key))
	case notFound:
		p.rec.ended(failed, r.began, fmt.Errorf("%s(%q): not found, though the source has it", r.verb, k.ID))
		return
	case !found: // a miss of a verb that does not load
		p.rec.ended(gave, r.began, nil)
		return
	case row.ID != k.ID:
		p.rec.ended(failed, r.began, fmt.Errorf("%s(%q) is the value of %q", r.verb, k.ID, row.ID))
		return
	case absent(k.Class, row.Version):
		p.rec.ended(failed, r.began, fmt.Errorf("%s(%q) is version %d, which does not exist", r.verb, k.ID, row.Version))
		return
	}
	p.rec.ended(gave, r.began, nil)
	p.board.See(p.args.Instance, key, row.Version)
	p.judge(history.Sample{
		Instance: p.args.Instance, Key: key, Verb: r.verb, Version: row.Version,
		Began: r.began, Ended: ended, Source: source,
	}, r.own[i])
}

// judge decides whether a read is kept for the judge.
func (p *phase) judge(s history.Sample, own uint64) {
	if own/2 > s.Version {
		s.Own, s.OwnVersion, s.OwnQueued = true, own/2, own%2 == 1
	}
	var staleness time.Duration
	if t := p.board.Superseded(s.Key, s.Version); t != 0 {
		staleness = max(s.Began.Sub(t), 0)
	}
	if staleness > 0 && s.Source == history.FromL2 {
		p.rec.regress(s)
	}
	if s.Own || staleness > p.args.Bound {
		p.rec.suspect(s)
		return
	}
	p.rec.fresh(staleness, s.Began)
}

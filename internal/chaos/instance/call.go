//go:build unix

package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/rc"
)

// loads asks the database for the current versions of keys.
func (p *phase) loads(ctx context.Context, keys []int) ([]uint64, error) {
	var out Versions
	err := p.link.Call(ctx, OpLoad, Load{keys}, &out)
	if err == nil && len(out.Versions) != len(keys) {
		err = fmt.Errorf("instance: %d versions of %d keys", len(out.Versions), len(keys))
	}
	return out.Versions, err
}

// commit asks the database for the next versions of keys; a group of 0 is none.
func (p *phase) commit(ctx context.Context, verb string, group int, keys ...int) ([]uint64, error) {
	var out Versions
	err := p.link.Call(ctx, OpCommit, Commit{keys, verb, group}, &out)
	if err == nil && len(out.Versions) != len(keys) {
		err = fmt.Errorf("instance: %d versions of %d keys", len(out.Versions), len(keys))
	}
	return out.Versions, err
}

// absent reports whether the source has nothing in that version of a key.
func absent(c history.Class, version uint64) bool {
	return c == history.ClassNegative && version%2 == 1
}

// lastAbsent returns the newest version up to v in which the source has nothing.
func lastAbsent(v uint64) uint64 {
	if v%2 == 0 && v > 0 {
		v--
	}
	return v
}

// loader returns the loader of a key.
func (p *phase) loader(key int) func(context.Context) (Row, error) {
	k := p.args.Keys[key]
	return func(ctx context.Context) (Row, error) {
		v, err := p.loads(ctx, []int{key})
		if err != nil {
			return Row{}, err
		}
		returned(ctx, k.ID, v[0])
		if len(k.Added) > 0 {
			rc.AddTags(ctx, k.Added...)
		}
		if absent(k.Class, v[0]) {
			return Row{}, rc.ErrNotFound
		}
		return Row{k.ID, v[0]}, nil
	}
}

// loadMany is the loader of several keys.
func (p *phase) loadMany(ctx context.Context, ids []string) (map[string]Row, error) {
	keys := make([]int, len(ids))
	for i, id := range ids {
		keys[i] = p.number[id]
	}
	versions, err := p.loads(ctx, keys)
	if err != nil {
		return nil, err
	}
	rows := make(map[string]Row, len(ids))
	for i, id := range ids {
		returned(ctx, id, versions[i])
		if added := p.args.Keys[keys[i]].Added; len(added) > 0 {
			rc.AddTags(ctx, added...) // to all values of the batch
		}
		rows[id] = Row{id, versions[i]}
	}
	return rows, nil
}

// The limits that calls are held to. Those of reads are contexts of their own,
// shorter than the sum of what is configured.
const (
	readPatience  = 2 * time.Second
	hastyPatience = 300 * time.Millisecond
)

// writeLimit is how long a write may take: one operation, or one that waits for
// a connection to be made, and another to delete what could not be stored.
func (p *phase) writeLimit() time.Duration {
	return p.args.Limits.OpTimeout + p.args.Limits.DialTimeout
}

// limitOf is writeLimit for a verb. A Set with tags has to read their tokens
// first, and to delete what it cannot store; a pattern is looked for with a
// deadline of its own, and found on all nodes.
func (p *phase) limitOf(verb string, group int) time.Duration {
	switch {
	case verb == "InvalidatePattern", verb == "Set" && group > 0:
		return 2 * p.writeLimit()
	}
	return p.writeLimit()
}

// readLimit is how long a read may take whose context ends after patience. An
// operation that finds a connection being made for another one waits for that,
// whatever its context says (Options.DialTimeout).
func (p *phase) readLimit(patience time.Duration) time.Duration {
	return max(patience, p.args.Limits.OpTimeout) + p.args.Limits.DialTimeout
}

// waited records a call that took longer than its limit.
func (p *phase) waited(verb string, key int, began, ended history.Time, limit time.Duration, err error) {
	if ended.Sub(began) <= limit {
		return
	}
	w := history.Wait{Instance: p.args.Instance, Key: key, Verb: verb, Began: began, Ended: ended, Limit: limit}
	if err != nil {
		w.Err = err.Error()
	}
	p.rec.waited(w)
}

// ended says how a read that took so long ended. A load that ran into its own
// limit did what it should; it does so in a process that was frozen meanwhile.
func (p *phase) ended(took time.Duration, err error) answered {
	if errors.Is(err, rc.ErrLoadTimeout) && took >= p.args.Limits.LoadTimeout {
		return timedOut
	}
	return how(err)
}

// how says how a read with an error ended.
func how(err error) answered {
	switch {
	case err == nil:
		return gave
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return timedOut
	case errors.Is(err, rc.ErrUnavailable):
		return unavailable
	}
	return failed
}

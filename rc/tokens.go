package rc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/near"
)

// heldTokens is how many tokens are kept in memory: some 300 bytes each.
const heldTokens = 100_000

// A token is what is known of a tag, a namespace or a guard. It does not
// change after it was read.
type token struct {
	tokens *tokens
	key    string
	value  lease.Token // 0 if there is none
	known  int64       // when the read that found it was answered
	until  int64       // when it ends
	// entry vouches for it; nil if it could not be tracked. alone has just
	// that, for values that depend on nothing else.
	entry *near.Entry
	alone []*near.Entry
	err   error // it could not be read
}

// tokens keeps the tokens this process has met, under tracking, and shares
// reads of them.
type tokens struct {
	m    *Manager
	held *otter.Cache[string, *token]

	guardOnce  sync.Once
	guardNames []string

	mu      sync.Mutex // protects reading
	reading map[string]*tokenRead
}

type tokenRead struct {
	done chan struct{} // closed when t is set
	// void reports that this process invalidated the tag after the read began:
	// its result goes to those who wait, and is not kept.
	void atomic.Bool
	t    *token
	// again reports that the one who asked gave up: the others ask for
	// themselves.
	again bool
}

func newTokens(m *Manager) (*tokens, error) {
	held, err := otter.New(&otter.Options[string, *token]{
		MaximumSize: heldTokens,
		OnAtomicDeletion: func(e otter.DeletionEvent[string, *token]) {
			m.table.Retire(e.Value.entry) // or what depends on it would never hear of it again
		},
	})
	return &tokens{m: m, held: held, reading: map[string]*tokenRead{}}, err
}

func (ts *tokens) close() {
	ts.held.InvalidateAll()
	ts.held.StopAllGoroutines()
}

// good reports whether a token is known to be the current one.
func (ts *tokens) good(t *token, now int64) bool {
	return t != nil && t.entry != nil && ts.m.table.FreshAt(t.entry, now)
}

// remembered returns the token of a key if memory is sure of it, and it lasts
// for some time still.
func (ts *tokens) remembered(key string, now int64, life time.Duration) *token {
	t, ok := ts.held.GetIfPresent(key)
	if !ok || !ts.good(t, now) || t.until-now < int64(life/2) {
		return nil
	}
	return t
}

// drop takes a token that was killed out of memory.
func (ts *tokens) drop(t *token) {
	ts.held.ComputeIfPresent(t.key, func(old *token) (*token, otter.ComputeOp) {
		if old == t {
			return nil, otter.InvalidateOp
		}
		return old, otter.CancelOp
	})
}

// forget makes later readers of keys start a read of their own.
func (ts *tokens) forget(keys ...string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, k := range keys {
		for _, rk := range []string{k, making + k} {
			if rd := ts.reading[rk]; rd != nil {
				rd.void.Store(true)
				delete(ts.reading, rk)
			}
		}
	}
}

// making sets reads that make what is not there apart from those that do not.
const making = "\x00"

// asked is one key on its way through get.
type asked struct {
	i  int // in keys
	rd *tokenRead
}

// get returns the tokens of keys, from memory or from Redis, each with its
// value or an error. With life those that do not exist are made, to live that
// long, and all returned live for half of it still.
func (ts *tokens) get(ctx context.Context, keys []string, life time.Duration) []*token {
	out := make([]*token, len(keys))
	for {
		mine, theirs := ts.split(keys, out, life)
		if len(mine) > 0 {
			ts.exchange(ctx, keys, mine, life)
		}
		again := false
		for _, a := range mine {
			out[a.i] = a.rd.t
		}
		for _, a := range theirs {
			select {
			case <-a.rd.done:
				if a.rd.again {
					again = true
					continue
				}
				out[a.i] = a.rd.t
			case <-ctx.Done():
				out[a.i] = &token{tokens: ts, key: keys[a.i], err: ctx.Err()}
			}
		}
		if !again {
			return out
		}
	}
}

// split answers what memory can, and divides the rest into what this caller
// asks for and what others have asked for already.
func (ts *tokens) split(keys []string, out []*token, life time.Duration) (mine, theirs []asked) {
	now := ts.m.now()
	for i, k := range keys {
		if out[i] == nil {
			out[i] = ts.remembered(k, now, life)
		}
		if out[i] != nil {
			continue
		}
		rk := k
		if life > 0 {
			rk = making + k
		}
		ts.mu.Lock()
		rd := ts.reading[rk]
		if rd == nil {
			rd = &tokenRead{done: make(chan struct{})}
			ts.reading[rk] = rd
			mine = append(mine, asked{i, rd})
		} else {
			theirs = append(theirs, asked{i, rd})
		}
		ts.mu.Unlock()
	}
	return mine, theirs
}

// exchange reads tokens for all who wait for them.
func (ts *tokens) exchange(ctx context.Context, keys []string, mine []asked, life time.Duration) {
	m := ts.m
	var send []asked
	var ask []string
	for _, a := range mine {
		k := keys[a.i]
		a.rd.t = &token{tokens: ts, key: k}
		if a.rd.t.err = m.queue.settle(ctx, k); a.rd.t.err == nil {
			a.rd.t.err = m.serving(k)
		}
		if a.rd.t.err == nil {
			send, ask = append(send, a), append(ask, k)
		}
	}
	octx, cancel := m.opMany(ctx, len(ask))
	defer cancel()
	var values []lease.ValueOr
	switch {
	case len(ask) == 0:
	case life > 0:
		values = m.redis.MakeTokens(octx, ask, life)
	default:
		values = m.redis.ReadMany(octx, ask, true)
	}
	for n, v := range values {
		send[n].rd.t.err = m.done(ctx, m.topo.For(ask[n]), v.Err)
		ts.keep(send[n].rd, v.Value) // from here on others read the token
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, a := range mine {
		a.rd.again = a.rd.t.err != nil && ctx.Err() != nil
		for _, rk := range []string{keys[a.i], making + keys[a.i]} {
			if ts.reading[rk] == a.rd {
				delete(ts.reading, rk)
			}
		}
		close(a.rd.done)
	}
}

// keep fills in a token from what was read, and puts it in memory. Whether it is
// void is asked while its entry is in the table and not yet alive: an
// invalidation that ends later kills the entry.
func (ts *tokens) keep(rd *tokenRead, v lease.Value) {
	t := rd.t
	t.value, t.known = lease.ParseToken(v.Raw), ts.m.now()
	if v.Entry == nil {
		return
	}
	if t.value == 0 || rd.void.Load() || ts.m.foreign(v.Entry) {
		ts.m.table.Release(v.Entry)
		return
	}
	t.until = v.At + int64(min(v.Left, maxTime))
	t.entry, t.alone = v.Entry, []*near.Entry{v.Entry}
	v.Entry.Meta = t
	if !ts.m.table.Publish(v.Entry, t.until) {
		t.entry, t.alone = nil, nil // replaced meanwhile
		return
	}
	ts.held.Set(t.key, t)
	if v.Entry.Killed() { // the reaper may have come before
		ts.m.reaper.add(v.Entry)
	}
}

// guard returns the guards of all tags as they are now; those that cannot be
// read have an error.
func (ts *tokens) guards(ctx context.Context) []*token {
	return ts.get(ctx, ts.guardKeys(), guardLife)
}

const guardLife = 24 * time.Hour

func (ts *tokens) guardKeys() []string {
	ts.guardOnce.Do(func() {
		for g := range key.TagGroups {
			ts.guardNames = append(ts.guardNames, key.GuardKey(ts.m.opts.Prefix, g))
		}
	})
	return ts.guardNames
}

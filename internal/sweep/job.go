package sweep

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/rueidis"
	"golang.org/x/sync/errgroup"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/key"
)

const (
	// listSlots is up to how many slots of a node are listed one by one. More
	// are found by SCAN, which looks at all keys of the node.
	listSlots = 2048
	// listKeys is how many keys are listed in one go. Slots with more are found
	// by SCAN, because a slot cannot be listed in parts.
	listKeys = 16384
	// slotPipeline is the number of slots asked for in one pipeline.
	slotPipeline = 256
	// listSpare is how many keys a slot may gain between being counted and being
	// listed.
	listSpare = 16
	// tries is how often a command is sent before the node is given up for the
	// pass.
	tries = 3
)

// failures are slots that could not be swept, and why.
type failures map[uint16]error

// sweepSlots deletes what it finds in the slots todo: at their owners, and then
// at the nodes that open slots are going to. The error ends the sweep.
func (s *sweeper) sweepSlots(ctx context.Context, v *view, todo *slotSet) (failures, error) {
	failed := make(failures)
	owners := make(map[*member]*slotSet)
	peers := make(map[*member]*slotSet)
	for slot := range todo.all() {
		o := v.owner[slot]
		if o == nil {
			if _, err := v.where(slot); err != nil {
				failed[slot] = err
			}
			continue
		}
		assign(owners, o, slot)
		for _, id := range v.peersOf(slot) {
			if m := v.members[id]; m != nil && m.primary {
				assign(peers, m, slot)
			} else {
				failed[slot] = fmt.Errorf("slot %d is open: %w", slot, v.missing(id))
			}
		}
	}
	for _, jobs := range []map[*member]*slotSet{owners, peers} {
		if err := s.sweepNodes(ctx, jobs, failed); err != nil {
			return failed, err
		}
	}
	return failed, nil
}

func assign(jobs map[*member]*slotSet, m *member, slot uint16) {
	if jobs[m] == nil {
		jobs[m] = new(slotSet)
	}
	jobs[m].add(slot)
}

// sweepNodes works on several nodes side by side. One that fails does not stop
// the others.
func (s *sweeper) sweepNodes(ctx context.Context, jobs map[*member]*slotSet, failed failures) error {
	var mu sync.Mutex // protects failed
	g, ctx := errgroup.WithContext(ctx)
	for m, slots := range jobs {
		g.Go(func() error {
			err := s.sweepNode(ctx, m, slots)
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			case !transient(err):
				return nodeError(m.addr, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for slot := range slots.all() {
				failed[slot] = err
			}
			return nil
		})
	}
	return g.Wait()
}

// wanted is one kind of keys to delete.
type wanted struct {
	match   string
	keep    func(key string) bool // nil: all that match
	counted bool
}

// sweepNode deletes what it finds in some slots of one node: first the keys of
// Options.First, then the others. If a slot moves in between, both are looked
// for again.
func (s *sweeper) sweepNode(ctx context.Context, m *member, slots *slotSet) error {
	if s.opt.First != "" {
		if err := s.sweepKind(ctx, m, slots, wanted{s.opt.First, s.opt.FirstKeep, false}); err != nil {
			return err
		}
	}
	return s.sweepKind(ctx, m, slots, wanted{s.opt.Match, s.opt.Keep, true})
}

// sweepKind deletes the keys of one kind in some slots of one node. Keys are
// deleted while the next ones are looked for.
func (s *sweeper) sweepKind(ctx context.Context, m *member, slots *slotSet, w wanted) error {
	batches := make(chan []string)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for keys := range batches {
			if err := s.unlink(ctx, keys, w.counted); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		defer close(batches)
		b := &batcher{s: s, wanted: w, ctx: ctx, out: batches}
		if err := s.find(ctx, m, slots, b); err != nil {
			return err
		}
		return b.flush()
	})
	return g.Wait()
}

// find hands all keys of the slots at node m to b.
func (s *sweeper) find(ctx context.Context, m *member, slots *slotSet, b *batcher) error {
	if slots.len() <= listSlots {
		large, err := s.list(ctx, m, slots, b)
		if err != nil || large.len() == 0 {
			return err
		}
		slots = large
	}
	return s.scan(ctx, m, slots, b)
}

// scan finds keys by SCAN.
func (s *sweeper) scan(ctx context.Context, m *member, slots *slotSet, b *batcher) error {
	whole := m.slots.within(slots)
	for cursor, first := uint64(0), true; first || cursor != 0; first = false {
		entry, err := s.scanOnce(ctx, m.client, cursor, b.match)
		if err != nil {
			return fmt.Errorf("SCAN: %w", err)
		}
		b.found(len(entry.Elements))
		for _, k := range entry.Elements {
			if whole || slots.has(hashslot.Of(k)) {
				if err := b.add(k); err != nil {
					return err
				}
			}
		}
		cursor = entry.Cursor
	}
	return nil
}

func (s *sweeper) scanOnce(ctx context.Context, c rueidis.Client, cursor uint64, match string) (entry rueidis.ScanEntry, err error) {
	err = s.retry(ctx, func(ctx context.Context) error {
		cmd := c.B().Scan().Cursor(cursor).Match(match).Count(int64(s.opt.Count)).Build().Pin()
		entry, err = c.Do(ctx, cmd).AsScanEntry()
		return err
	})
	return entry, err
}

// list finds keys slot by slot, and returns the slots that have too many for
// that.
func (s *sweeper) list(ctx context.Context, m *member, slots *slotSet, b *batcher) (large *slotSet, err error) {
	large = new(slotSet)
	var some []uint16
	for slot := range slots.all() {
		if some = append(some, slot); len(some) == slotPipeline {
			if err := s.listSome(ctx, m.client, some, b, large); err != nil {
				return nil, err
			}
			some = some[:0]
		}
	}
	return large, s.listSome(ctx, m.client, some, b, large)
}

// listSome lists some slots, in pipelines that return no more than listKeys.
func (s *sweeper) listSome(ctx context.Context, c rueidis.Client, slots []uint16, b *batcher, large *slotSet) error {
	counts, err := s.countKeys(ctx, c, slots)
	if err != nil {
		return fmt.Errorf("CLUSTER COUNTKEYSINSLOT: %w", err)
	}
	var asks []slotAsk
	sum := int64(0)
	for i, n := range counts {
		switch {
		case n == 0:
			continue
		case n > listKeys:
			large.add(slots[i])
			continue
		case sum+n > listKeys:
			if err := s.listKeys(ctx, c, asks, b, large); err != nil {
				return err
			}
			asks, sum = asks[:0], 0
		}
		asks = append(asks, slotAsk{slots[i], n + listSpare})
		sum += n
	}
	return s.listKeys(ctx, c, asks, b, large)
}

// slotAsk is a slot and how many of its keys to ask for.
type slotAsk struct {
	slot uint16
	max  int64
}

func (s *sweeper) countKeys(ctx context.Context, c rueidis.Client, slots []uint16) ([]int64, error) {
	counts := make([]int64, len(slots))
	err := s.retry(ctx, func(ctx context.Context) error {
		cmds := make(rueidis.Commands, len(slots))
		for i, slot := range slots {
			cmds[i] = c.B().ClusterCountkeysinslot().Slot(int64(slot)).Build().Pin()
		}
		for i, r := range c.DoMulti(ctx, cmds...) {
			n, err := r.AsInt64()
			if err != nil {
				return err
			}
			counts[i] = n
		}
		return nil
	})
	return counts, err
}

// listKeys hands the keys of the slots to b. A slot that has more keys than
// asked for goes to large: those that were left out may be the old ones.
func (s *sweeper) listKeys(ctx context.Context, c rueidis.Client, asks []slotAsk, b *batcher, large *slotSet) error {
	if len(asks) == 0 {
		return nil
	}
	var replies [][]string
	err := s.retry(ctx, func(ctx context.Context) error {
		cmds := make(rueidis.Commands, len(asks))
		for i, a := range asks {
			cmds[i] = c.B().ClusterGetkeysinslot().Slot(int64(a.slot)).Count(a.max).Build().Pin()
		}
		replies = replies[:0]
		for _, r := range c.DoMulti(ctx, cmds...) {
			keys, err := r.AsStrSlice()
			if err != nil {
				return err
			}
			replies = append(replies, keys)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("CLUSTER GETKEYSINSLOT: %w", err)
	}
	for i, keys := range replies {
		if int64(len(keys)) >= asks[i].max {
			large.add(asks[i].slot)
			continue
		}
		for _, k := range keys {
			if key.MatchGlob(b.match, k) {
				b.found(1)
				if err := b.add(k); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// retry runs a command until it does not fail in a way that passes, several
// times at most, each within OpTimeout.
func (s *sweeper) retry(ctx context.Context, op func(context.Context) error) error {
	var wait backoff
	for try := 1; ; try++ {
		err := s.within(ctx, op)
		if err == nil || !transient(err) || try == tries || errors.Is(err, rueidis.ErrClosing) {
			return err
		}
		if ctx.Err() != nil || wait.next(ctx) != nil {
			return err
		}
	}
}

// within runs op with OpTimeout, and tells that limit from the end of ctx.
func (s *sweeper) within(ctx context.Context, op func(context.Context) error) error {
	octx, cancel := context.WithTimeout(ctx, s.opt.OpTimeout)
	defer cancel()
	err := op(octx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", s.opt.OpTimeout)
	}
	return err
}

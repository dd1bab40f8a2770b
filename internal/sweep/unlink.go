package sweep

import (
	"context"
	"fmt"
	"slices"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/redis/rueidis"
)

// batcher gathers keys to delete into batches.
type batcher struct {
	s *sweeper
	wanted
	ctx  context.Context // of the job that owns the batcher
	out  chan<- []string
	keys []string
}

// found counts keys that match, if they are of a kind that is counted.
func (b *batcher) found(n int) {
	if b.counted {
		b.s.counted(0, int64(n))
	}
}

// add takes a key that matches. It blocks while the batches before are being
// deleted.
func (b *batcher) add(k string) error {
	if b.keep != nil && !b.keep(k) {
		return nil
	}
	if b.keys == nil {
		b.keys = make([]string, 0, b.s.opt.Batch)
	}
	b.keys = append(b.keys, k)
	if len(b.keys) < b.s.opt.Batch {
		return nil
	}
	return b.flush()
}

// flush passes on what is there.
func (b *batcher) flush() error {
	if len(b.keys) == 0 {
		return nil
	}
	select {
	case b.out <- b.keys:
		b.keys = nil
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

// unlink deletes keys, wherever they are by now: the client follows redirects.
// Neighbours of one slot share a command, as servers list them that keep their
// keys by slot. It is refused if the slot is open and its keys are not all on
// the same side: then each key gets a command of its own.
func (s *sweeper) unlink(ctx context.Context, keys []string, counted bool) error {
	groups := s.bySlot(keys)
	err := s.retry(ctx, func(ctx context.Context) error {
		cmds := make(rueidis.Commands, len(groups))
		for i, g := range groups {
			cmds[i] = s.client.B().Unlink().Key(g...).Build().Pin()
		}
		var failed [][]string
		var cause error
		deleted := int64(0)
		for i, r := range s.client.DoMulti(ctx, cmds...) {
			n, err := r.AsInt64()
			if err != nil {
				failed = slices.AppendSeq(failed, slices.Chunk(groups[i], 1))
				if cause == nil || !transient(err) {
					cause = err
				}
				continue
			}
			deleted += n
		}
		if counted {
			s.counted(deleted, 0)
		}
		groups = failed
		return cause
	})
	if err != nil {
		return fmt.Errorf("UNLINK: %w", err)
	}
	return nil
}

// bySlot cuts keys where the slot changes. Outside a cluster there are no slots.
func (s *sweeper) bySlot(keys []string) [][]string {
	if s.client.Mode() != rueidis.ClientModeCluster {
		return [][]string{keys}
	}
	groups := make([][]string, 0, len(keys))
	begin, slot := 0, hashslot.Of(keys[0])
	for i, k := range keys {
		if next := hashslot.Of(k); next != slot {
			groups = append(groups, keys[begin:i:i])
			begin, slot = i, next
		}
	}
	return append(groups, keys[begin:])
}

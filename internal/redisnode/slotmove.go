package redisnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	slotBatch      = 100              // slots that are open at the same time
	slotConns      = 8                // connections to tell one server about a batch
	migrateBatch   = 100              // keys per MIGRATE
	migrateTimeout = 10 * time.Second // for one MIGRATE, between the servers
)

// MoveSlot moves slot with its keys to the primary to, the way operators do
// while clients read and write, and blocks until every node that answers knows
// the new owner. Moving a slot to its owner does nothing. When it fails halfway
// the slot stays open, with keys on both sides; calling it again completes the
// move.
func (c *Cluster) MoveSlot(ctx context.Context, slot int, to *Server) error {
	return c.MoveSlots(ctx, slot, slot, to)
}

// MoveSlots moves the slots first to last to the primary to, each as
// [Cluster.MoveSlot] does, a hundred at a time. Those that to has already stay
// as they are. When it fails halfway some slots have moved, and at most a
// hundred are open; calling it again completes the move.
func (c *Cluster) MoveSlots(ctx context.Context, first, last int, to *Server) error {
	return c.reassign(ctx, slotRange{first, last}, to, (*slotMove).migrate)
}

// SetSlot makes the primary to the owner of slot without moving any keys, and
// blocks until every node that answers knows. Keys of the slot at the former
// owner are lost: it drops them when it learns that the slot is not its own any
// more. Giving a slot to its owner does nothing.
func (c *Cluster) SetSlot(ctx context.Context, slot int, to *Server) error {
	return c.SetSlots(ctx, slot, slot, to)
}

// SetSlots is [Cluster.SetSlot] for the slots first to last.
func (c *Cluster) SetSlots(ctx context.Context, first, last int, to *Server) error {
	return c.reassign(ctx, slotRange{first, last}, to, (*slotMove).seize)
}

// reassign gives slots to the primary to, in batches of one former owner each.
func (c *Cluster) reassign(
	ctx context.Context, slots slotRange, to *Server, step func(*slotMove, context.Context) error,
) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	if slots.first < 0 || slots.last >= SlotCount || slots.first > slots.last {
		return fmt.Errorf("redisnode: %s: want 0 to %d", slots, SlotCount-1)
	}
	moves, err := c.planMoves(ctx, slots, to)
	if err != nil || len(moves) == 0 {
		return err
	}
	for _, m := range moves {
		if err := step(m, ctx); err != nil {
			return fmt.Errorf("move %d slots from %s to %s: %w", len(m.slots), m.from, to, err)
		}
	}
	return c.awaitOwner(ctx, slots, to)
}

// slotMove is a batch of slots on their way from one primary to another.
type slotMove struct {
	slots        []string
	from, to     *Server
	fromID, toID string
	primaries    []*Server // to tell, the new owner first, then the old one; only those that answer
}

// planMoves looks up who has the slots and who has to be told. Slots that to has
// already are not among the moves.
func (c *Cluster) planMoves(ctx context.Context, slots slotRange, to *Server) ([]*slotMove, error) {
	seen, err := c.observe(ctx)
	if err != nil {
		return nil, err
	}
	known, err := to.view(ctx)
	if err != nil {
		return nil, err
	}
	target, ok := known.myself()
	if !ok || target.primary != "" {
		return nil, fmt.Errorf("redisnode: %s is no primary", to)
	}
	owners, err := c.ownersIn(seen, slots)
	if err != nil {
		return nil, err
	}
	var moves []*slotMove
	open := make(map[*Server]*slotMove)
	for i, from := range owners {
		if from == to {
			continue
		}
		m := open[from]
		if m == nil || len(m.slots) == slotBatch {
			source, ok := known.byAddr(from.announced)
			if !ok {
				return nil, fmt.Errorf("redisnode: %s does not know %s", to, from)
			}
			m = &slotMove{from: from, fromID: source.id, to: to, toID: target.id,
				primaries: c.toTell(known, to, from)}
			open[from], moves = m, append(moves, m)
		}
		m.slots = append(m.slots, strconv.Itoa(slots.first+i))
	}
	return moves, nil
}

// toTell returns the primaries which have to learn that slots go from one to
// another. Replicas are not told: they refuse, and learn it from their
// primaries.
func (c *Cluster) toTell(known view, to, from *Server) []*Server {
	tell := []*Server{to}
	if from.Responsive() {
		tell = append(tell, from)
	}
	for _, n := range known {
		s := c.at(n.addr)
		if s != nil && n.primary == "" && s.Responsive() && !slices.Contains(tell, s) {
			tell = append(tell, s)
		}
	}
	return tell
}

// setSlots tells one server about all slots of the batch, over some connections
// at once: Valkey answers each SETSLOT only when its replicas have it.
func (m *slotMove) setSlots(ctx context.Context, at *Server, state, id string) error {
	chunks := slices.Collect(slices.Chunk(m.slots, (slotBatch+slotConns-1)/slotConns))
	return inParallel(len(chunks), func(i int) error {
		cmds := make([][]string, len(chunks[i]))
		for j, slot := range chunks[i] {
			cmds[j] = []string{"CLUSTER", "SETSLOT", slot, state, id}
		}
		_, err := at.doAll(ctx, cmds...)
		return err
	})
}

// migrate moves the slots with their keys.
func (m *slotMove) migrate(ctx context.Context) error {
	if err := m.setSlots(ctx, m.to, "IMPORTING", m.fromID); err != nil {
		return err
	}
	if err := m.setSlots(ctx, m.from, "MIGRATING", m.toID); err != nil {
		return err
	}
	if err := m.migrateKeys(ctx); err != nil {
		return err
	}
	return m.settle(ctx, m.primaries)
}

// seize makes the target the owner of the slots without their keys.
func (m *slotMove) seize(ctx context.Context) error {
	// A node that takes over a slot it was importing takes a higher config
	// epoch with it. Without that, the former owner's older claim could win by
	// gossip.
	if err := m.setSlots(ctx, m.to, "IMPORTING", m.fromID); err != nil {
		return err
	}
	// The former owner would refuse to let go of keys. It obeys the message
	// that the new one has just sent to all nodes.
	others := slices.DeleteFunc(slices.Clone(m.primaries), func(s *Server) bool { return s == m.from })
	return m.settle(ctx, others)
}

// settle tells the primaries who has the slots now: the new owner first, which
// must not miss it if the move stops here, then the old one, then the others.
func (m *slotMove) settle(ctx context.Context, primaries []*Server) error {
	const inOrder = 2
	for _, s := range primaries[:min(inOrder, len(primaries))] {
		if err := m.setSlots(ctx, s, "NODE", m.toID); err != nil {
			return err
		}
	}
	rest := primaries[min(inOrder, len(primaries)):]
	return inParallel(len(rest), func(i int) error {
		return m.setSlots(ctx, rest[i], "NODE", m.toID)
	})
}

// migrateKeys moves keys until the source has none. It ends although clients
// write: the source redirects commands for keys it does not have. A
// MIGRATE stops the source for as long as it takes, so they are sent one by one
// and other clients get their turn in between.
func (m *slotMove) migrateKeys(ctx context.Context) error {
	for {
		cmds, err := m.nextKeys(ctx)
		if err != nil || len(cmds) == 0 {
			return err
		}
		for _, cmd := range cmds {
			if _, err := m.from.Do(ctx, cmd...); err != nil {
				return fmt.Errorf("redisnode: MIGRATE from %s: %w", m.from, err)
			}
		}
	}
}

// nextKeys returns a MIGRATE for each slot that still has keys at the source.
func (m *slotMove) nextKeys(ctx context.Context) (migrates [][]string, err error) {
	cmds := make([][]string, len(m.slots))
	for i, slot := range m.slots {
		cmds[i] = []string{"CLUSTER", "GETKEYSINSLOT", slot, strconv.Itoa(migrateBatch)}
	}
	replies, err := m.from.doAll(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	for i, reply := range replies {
		keys, ok := reply.([]any)
		if !ok {
			return nil, fmt.Errorf("redisnode: %v at %s: unexpected %v", cmds[i], m.from, reply)
		}
		if len(keys) == 0 {
			continue
		}
		cmd, err := m.migrateCommand(keys)
		if err != nil {
			return nil, err
		}
		migrates = append(migrates, cmd)
	}
	return migrates, nil
}

func (m *slotMove) migrateCommand(keys []any) ([]string, error) {
	a := m.to.announced
	// REPLACE completes a move that had failed between the two servers: while
	// the source has a key, every command for it goes there.
	cmd := []string{"MIGRATE", a.IP, strconv.Itoa(a.Port), "", "0",
		strconv.FormatInt(migrateTimeout.Milliseconds(), 10), "REPLACE"}
	switch access := m.to.access; {
	case access.Password == "":
	case access.Username == "":
		cmd = append(cmd, "AUTH", access.Password)
	default:
		cmd = append(cmd, "AUTH2", access.Username, access.Password)
	}
	cmd = append(cmd, "KEYS")
	for _, key := range keys {
		name, ok := key.(string)
		if !ok {
			return nil, errors.New("redisnode: GETKEYSINSLOT has an entry that is no text")
		}
		cmd = append(cmd, name)
	}
	return cmd, nil
}

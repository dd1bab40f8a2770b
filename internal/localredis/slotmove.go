package localredis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	migrateBatch   = 100              // keys per MIGRATE
	migrateTimeout = 10 * time.Second // for one MIGRATE, between the servers
)

// MoveSlot moves slot with its keys to the primary to, the way operators do
// while clients read and write, and blocks until every node that answers knows
// the new owner. Moving a slot to its owner does nothing. When it fails halfway
// the slot stays open, with keys on both sides; calling it again completes the
// move.
func (c *Cluster) MoveSlot(ctx context.Context, slot int, to *Server) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	m, err := c.openMove(ctx, slot, to)
	if err != nil || m == nil {
		return err
	}
	if err := m.setSlot(ctx, to, "IMPORTING", m.fromID); err != nil {
		return err
	}
	if err := m.setSlot(ctx, m.from, "MIGRATING", m.toID); err != nil {
		return err
	}
	if err := m.migrateKeys(ctx); err != nil {
		return err
	}
	for _, s := range m.primaries {
		if err := m.setSlot(ctx, s, "NODE", m.toID); err != nil {
			return err
		}
	}
	return c.awaitOwner(ctx, slot, to)
}

// SetSlot makes the primary to the owner of slot without moving any keys, and
// blocks until every node that answers knows. Keys of the slot at the former
// owner are lost: it drops them when it learns that the slot is not its own any
// more. Giving a slot to its owner does nothing.
func (c *Cluster) SetSlot(ctx context.Context, slot int, to *Server) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	m, err := c.openMove(ctx, slot, to)
	if err != nil || m == nil {
		return err
	}
	// A node that takes over a slot it was importing takes a higher config
	// epoch with it. Without that, the former owner's older claim could win by
	// gossip.
	if err := m.setSlot(ctx, to, "IMPORTING", m.fromID); err != nil {
		return err
	}
	for _, s := range m.primaries {
		// The former owner would refuse to let go of keys. It obeys the message
		// that the new one has just sent to all nodes.
		if s == m.from {
			continue
		}
		if err := m.setSlot(ctx, s, "NODE", m.toID); err != nil {
			return err
		}
	}
	return c.awaitOwner(ctx, slot, to)
}

// slotMove is a slot on its way.
type slotMove struct {
	slot         string
	from, to     *Server
	fromID, toID string
	primaries    []*Server // to tell, the new owner first, then the old one; only those that answer
}

// openMove looks up who has slot and who has to be told. It returns nil if to
// has it already.
func (c *Cluster) openMove(ctx context.Context, slot int, to *Server) (*slotMove, error) {
	if slot < 0 || slot >= SlotCount {
		return nil, fmt.Errorf("localredis: slot %d, want 0 to %d", slot, SlotCount-1)
	}
	from, err := c.PrimaryOf(ctx, slot)
	if err != nil {
		return nil, err
	}
	if from == to {
		return nil, nil
	}
	known, err := to.view(ctx)
	if err != nil {
		return nil, err
	}
	source, sourceKnown := known.byPort(from.port)
	target, targetKnown := known.myself()
	if !sourceKnown || !targetKnown {
		return nil, fmt.Errorf("localredis: %s does not know %s", to.Addr(), from.Addr())
	}
	m := &slotMove{
		slot: strconv.Itoa(slot),
		from: from, fromID: source.id,
		to: to, toID: target.id,
		primaries: []*Server{to},
	}
	if from.responsive() {
		m.primaries = append(m.primaries, from)
	}
	// Replicas are not told: they refuse, and learn it from their primaries.
	for _, n := range known {
		s := c.byPort[n.port]
		if s != nil && n.primary == "" && s.responsive() && !slices.Contains(m.primaries, s) {
			m.primaries = append(m.primaries, s)
		}
	}
	return m, nil
}

func (m *slotMove) setSlot(ctx context.Context, at *Server, state, id string) error {
	if _, err := at.Do(ctx, "CLUSTER", "SETSLOT", m.slot, state, id); err != nil {
		return fmt.Errorf("localredis: SETSLOT %s %s at %s: %w", m.slot, state, at.Addr(), err)
	}
	return nil
}

// migrateKeys moves keys until the source has none. It ends although clients
// write: the source redirects commands for keys it does not have.
func (m *slotMove) migrateKeys(ctx context.Context) error {
	for {
		reply, err := m.from.Do(ctx, "CLUSTER", "GETKEYSINSLOT", m.slot, strconv.Itoa(migrateBatch))
		if err != nil {
			return fmt.Errorf("localredis: keys of slot %s at %s: %w", m.slot, m.from.Addr(), err)
		}
		keys, _ := reply.([]any)
		if len(keys) == 0 {
			return nil
		}
		args := []string{"MIGRATE", "127.0.0.1", strconv.Itoa(m.to.port), "", "0",
			strconv.FormatInt(migrateTimeout.Milliseconds(), 10), "KEYS"}
		for _, key := range keys {
			name, ok := key.(string)
			if !ok {
				return fmt.Errorf("localredis: GETKEYSINSLOT %s at %s: unexpected %v", m.slot, m.from.Addr(), key)
			}
			args = append(args, name)
		}
		if _, err := m.from.Do(ctx, args...); err != nil {
			return fmt.Errorf("localredis: migrate slot %s to %s: %w", m.slot, m.to.Addr(), err)
		}
	}
}

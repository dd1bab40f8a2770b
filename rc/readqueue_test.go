package rc

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/near"
)

// These need an order that callers cannot force: TestReadsThatGather meets it
// by chance only.

func testQueue() *readQueue {
	m := &Manager{table: near.NewTable(near.Options{MaxStaleness: time.Second})}
	return &readQueue{m: m, senders: 1}
}

// A reader leaves at the moment it is given the turn to send: the next one
// gets it.
func TestReadQueueLeaverPassesTheTurnOn(t *testing.T) {
	t.Parallel()
	q := testQueue()
	leaver := &queuedRead{lead: true, turn: make(chan struct{}, 1)}
	gone := &queuedRead{gone: true, turn: make(chan struct{}, 1)}
	next := &queuedRead{turn: make(chan struct{}, 1)}
	q.pending = []*queuedRead{gone, next}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if q.wait(ctx, leaver) || !errors.Is(leaver.err, context.Canceled) {
		t.Errorf("the leaver is to send, or has no error: %v", leaver.err)
	}
	if !next.lead || len(next.turn) != 1 || gone.lead {
		t.Errorf("the turn went to nobody, or to one that left: next %v, gone %v", next.lead, gone.lead)
	}
	leaver = &queuedRead{lead: true, turn: make(chan struct{}, 1)}
	if q.wait(ctx, leaver); q.senders != 0 {
		t.Errorf("%d senders with nobody left, want 0", q.senders)
	}
}

// The answer of a reader that left is let go of.
func TestReadQueueAnswerOfALeaverIsReleased(t *testing.T) {
	t.Parallel()
	q := testQueue()
	e := q.m.table.Detached("k", 0)
	q.answerLocked(&queuedRead{gone: true}, lease.ValueOr{Value: lease.Value{Entry: e}})
	if n := q.m.table.Stats().Keys; n != 0 {
		t.Errorf("%d keys held for nobody", n)
	}
}

// The sender's context ends while its pipeline is on the way: that is its own
// answer, and the others are sent again by one of them.
func TestReadQueueSendersEndIsNotTheOthers(t *testing.T) {
	t.Parallel()
	q := testQueue()
	sender := &queuedRead{}
	other := &queuedRead{turn: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := lease.ValueOr{Err: context.Canceled}
	q.deliver(ctx, []*queuedRead{sender, other}, []lease.ValueOr{ended, ended})
	if !errors.Is(sender.err, context.Canceled) {
		t.Errorf("the sender got %v, want its own end", sender.err)
	}
	if other.answered || other.err != nil || !other.lead || len(other.turn) != 1 {
		t.Errorf("the other one: answered %v with %v, lead %v; want the turn to send", other.answered, other.err, other.lead)
	}
}

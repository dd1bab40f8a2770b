package lock

import (
	"context"
	"sync"
)

// turns lets one waiter of this process at a time ask Redis for a name, in the
// order in which they came.
type turns struct {
	mu sync.Mutex // protects by
	// by has an entry for each name that somebody asks for: the channels of
	// those behind him. A channel is closed when it is its owner's turn.
	by map[string][]chan struct{}
}

// enter waits for the turn, which ends with leave.
func (t *turns) enter(ctx context.Context, name string, stop <-chan struct{}) error {
	t.mu.Lock()
	behind, busy := t.by[name]
	if t.by == nil {
		t.by = map[string][]chan struct{}{}
	}
	if !busy {
		t.by[name] = nil
		t.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	t.by[name] = append(behind, mine)
	t.mu.Unlock()
	var err error
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-stop:
		err = ErrClosed
	}
	t.giveUp(name, mine)
	return err
}

// giveUp takes a waiter out, who may have got the turn meanwhile.
func (t *turns) giveUp(name string, mine chan struct{}) {
	t.mu.Lock()
	for i, c := range t.by[name] {
		if c == mine {
			t.by[name] = append(t.by[name][:i:i], t.by[name][i+1:]...)
			t.mu.Unlock()
			return
		}
	}
	t.mu.Unlock()
	t.leave(name)
}

// leave passes the turn on.
func (t *turns) leave(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	behind := t.by[name]
	if len(behind) == 0 {
		delete(t.by, name)
		return
	}
	t.by[name] = behind[1:]
	close(behind[0])
}

package lock

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// A call is what a waiter hears from others.
type call struct {
	// now is signalled when it is worth asking at once: the lock may be free, or
	// we could not hear for a while. later: the one before us was granted it.
	now, later chan struct{}
	given      chan gift // the lock was granted to us
	// again ends the present subscription, so that another is made.
	again atomic.Pointer[context.CancelFunc]
}

func newCall() *call {
	return &call{now: make(chan struct{}, 1), later: make(chan struct{}, 1), given: make(chan gift, 1)}
}

// A gift is a lock that its holder before passed on: see handover.lua.
type gift struct {
	token uint64
	at    int64 // by the clock of the server, in microseconds
}

// hear passes on a message of a station.
func (c *call) hear(text string) {
	if text == "next" {
		signal(c.later)
		return
	}
	if token, at, ok := strings.Cut(strings.TrimPrefix(text, "go:"), ":"); ok {
		n, err1 := strconv.ParseUint(token, 10, 64)
		t, err2 := strconv.ParseInt(at, 10, 64)
		if err1 == nil && err2 == nil {
			select {
			case c.given <- gift{n, t}:
				return
			default: // there is one already; asking tells which counts
			}
		}
	}
	signal(c.now)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is enough
	}
}

// wait queues in Redis until the lock is granted, by a message or when it asks:
// a holder that died calls nobody.
func (l *Locker) wait(ctx context.Context, name string) (*Lock, error) {
	id, c := newID(), newCall()
	hearing, unhear := context.WithCancel(context.WithoutCancel(ctx))
	granted := make(chan bool, 1)
	started := l.start(func() { // ends with unhear and the time limits of the engine
		var wg sync.WaitGroup
		for _, s := range l.engine.stations(name, id) {
			wg.Go(func() { l.hear(hearing, s, c) })
		}
		wg.Wait()
		// Only now nobody can grant us the lock any more. It is part of this
		// goroutine so that Close, which may be why we leave, waits for it.
		if !<-granted {
			l.undo(name, id, true)
		}
	})
	if !started {
		unhear()
		return nil, ErrClosed
	}
	k, err := l.await(ctx, name, id, c)
	granted <- err == nil
	unhear()
	return k, err
}

// A mark is a moment of which the time is known on two clocks: what the server
// said to be server happened after sent.
type mark struct {
	sent   time.Time
	server int64
}

// await waits for a call and asks, until the lock is granted. The first call is
// that the subscription stands: what was asked before could miss the answer.
func (l *Locker) await(ctx context.Context, name, id string, c *call) (*Lock, error) {
	timer := time.NewTimer(l.cfg.OpTimeout)
	defer timer.Stop()
	var last mark
	for {
		select {
		case g := <-c.given:
			k, err := l.accept(ctx, name, id, g, last)
			if k != nil || errors.Is(err, ErrClosed) {
				return k, err
			} // else too late or unclear: the answer to an attempt counts
		case <-c.now:
		case <-timer.C:
		case <-c.later:
			timer.Reset(l.cfg.Grace)
			continue
		case <-l.stop:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("lock: acquire %q: %w", name, ctx.Err())
		}
		sent := time.Now()
		k, a, err := l.attempt(ctx, name, id, true)
		if !errors.Is(err, ErrNotAcquired) {
			return k, err
		}
		last = mark{sent, a.server}
		if cancel := c.again.Load(); a.deaf && cancel != nil {
			(*cancel)() // a failover has left it behind at the replica
		}
		timer.Reset(a.left)
	}
}

// accept takes a lock that was passed on, without asking. By the time at which
// the server did it we know a time before it on our clock: as much later than
// our last request as the server says it was later than that was executed. How
// long the message has been on its way does not matter then: one that comes to a
// process that was frozen is known to be old. The lock is ours for the grace, and
// is extended at once.
func (l *Locker) accept(ctx context.Context, name, id string, g gift, last mark) (*Lock, error) {
	if last.server == 0 || g.at < last.server {
		return nil, nil // the clock was set back, or we had not asked
	}
	since := time.Duration(g.at-last.server) * time.Microsecond
	k, err := l.newLock(ctx, grant{
		name: name, id: id, token: g.token,
		sent: last.sent.Add(since - since/100), lasts: l.cfg.Grace,
	})
	if err == nil {
		l.n.handed.Add(1)
	}
	return k, err
}

// minRetry is the pause before a lost subscription is made again.
const minRetry = 20 * time.Millisecond

// hear listens on a channel until ctx ends.
func (l *Locker) hear(ctx context.Context, s station, c *call) {
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(p rueidis.PubSubSubscription) {
		if p.Kind == "ssubscribe" {
			signal(c.now) // what was said before, we did not hear
		}
	})
	for {
		cmd := s.client.B().Ssubscribe().Channel(s.channel).Build()
		present, cancel := context.WithCancel(hooked)
		c.again.Store(&cancel)
		_ = s.client.Receive(present, cmd, func(m rueidis.PubSubMessage) { c.hear(m.Message) })
		cancel()
		// The connection ended, the slot has moved, or we are done.
		if ctx.Err() != nil {
			break
		}
		l.n.resubscribed.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(minRetry):
		}
	}
	// The end of Receive does not unsubscribe.
	end, cancel := context.WithTimeout(context.Background(), l.cfg.OpTimeout)
	defer cancel()
	if err := s.client.Do(end, s.client.B().Sunsubscribe().Channel(s.channel).Build()).Error(); err != nil {
		l.n.releaseErrors.Add(1) // the connection hears what nobody wants
	}
}

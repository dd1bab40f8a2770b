package invalidation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/rueidis"
)

var (
	errNotReady = errors.New("the connection is still being made")
	errReplica  = errors.New("the server is not a primary")
)

// line is a connection to one primary on which its partitions are heard. The
// states of the partitions are read on it too: with RESP3 their replies come
// behind all messages that were published before.
//
// A line that fails stays failed, and the next round makes a new one.
type line struct {
	bus   *Bus
	addr  string
	ready chan struct{} // closed when conn is set

	mu   sync.Mutex // protects what follows
	conn rueidis.DedicatedClient
	down bool
}

// newLine makes a line to a node. Its goroutine connects and then waits for the
// connection to end; Bus.wg waits for it.
func (b *Bus) newLine(addr string, node rueidis.Client) *line {
	l := &line{bus: b, addr: addr, ready: make(chan struct{})}
	b.wg.Go(func() { l.hold(node) })
	return l
}

// hold connects, and returns when the connection has ended.
func (l *line) hold(node rueidis.Client) {
	conn, _ := node.Dedicate() // closed in fail, which gives it back
	l.bus.stats.connections.Add(1)
	ended := conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: l.message, OnSubscription: l.change})
	l.mu.Lock()
	l.conn = conn
	down := l.down
	l.mu.Unlock()
	close(l.ready)
	if down {
		conn.Close()
		return
	}
	err, ok := <-ended
	if !ok || err == nil {
		err = errors.New("the connection has ended")
	}
	l.fail(err)
}

// message is called by the goroutine that reads the connection.
func (l *line) message(m rueidis.PubSubMessage) {
	if p := l.bus.byChannel[m.Channel]; p != nil {
		p.receive(l, m.Message)
	}
}

// change is called by the goroutine that reads the connection. The server ends a
// subscription by itself when it loses the slot.
func (l *line) change(s rueidis.PubSubSubscription) {
	p := l.bus.byChannel[s.Channel]
	if p != nil && strings.HasSuffix(s.Kind, "unsubscribe") {
		p.leave(l, "", errors.New("the server ended the subscription"))
		l.bus.nudge()
	}
}

// fail ends the line for all its partitions. Those that joined a line which had
// failed already are found by the next call, since nothing works on it.
func (l *line) fail(err error) {
	l.mu.Lock()
	down, conn := l.down, l.conn
	l.down = true
	l.mu.Unlock()
	lost := 0
	for _, p := range l.bus.parts {
		if p.lose(l, err) {
			lost++
		}
	}
	if lost > 0 && l.bus.ctx.Err() == nil {
		l.bus.cfg.Logger.Warn("invalidation: connection lost", "node", l.addr, "partitions", lost, "err", err)
	}
	if !down && conn != nil {
		conn.Close()
	}
	l.bus.nudge()
}

func (l *line) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// members returns the partitions that are heard on the line.
func (l *line) members() (ps []*partition) {
	for _, p := range l.bus.parts {
		if p.on() == l {
			ps = append(ps, p)
		}
	}
	return ps
}

// beat checks that nothing was missed.
func (l *line) beat() {
	ctx, cancel := l.bus.opContext(l.bus.ctx)
	defer cancel()
	if ps := l.members(); len(ps) > 0 {
		l.check(ctx, ps)
	}
}

// join subscribes to partitions that the node owns.
func (l *line) join(ps []*partition) {
	ctx, cancel := l.bus.opContext(l.bus.ctx)
	defer cancel()
	select {
	case <-l.ready:
	case <-ctx.Done():
		for _, p := range ps {
			p.fail(errNotReady)
		}
		return
	}
	cmds := make([]rueidis.Completed, len(ps))
	for i, p := range ps {
		p.enter(l)
		if l.bus.mode == Classic {
			cmds[i] = l.conn.B().Subscribe().Channel(p.channel).Build()
		} else {
			cmds[i] = l.conn.B().Ssubscribe().Channel(p.channel).Build()
		}
	}
	joined := ps[:0:0]
	for i, res := range l.conn.DoMulti(ctx, cmds...) {
		if err := res.Error(); err == nil {
			joined = append(joined, ps[i])
		} else if !l.refused(ps[i], err) {
			return
		}
	}
	if len(joined) > 0 {
		l.check(ctx, joined)
	}
}

// check reads the states of the partitions, and compares their chains with them.
func (l *line) check(ctx context.Context, ps []*partition) {
	b := l.conn.B()
	floors := make([]position, len(ps))
	cmds := make([]rueidis.Completed, 0, len(ps)+1)
	for i, p := range ps {
		floors[i] = p.floor()
		cmds = append(cmds, b.Get().Key(p.state).Build())
	}
	if !l.bus.cluster { // in a cluster a replica refuses the read
		cmds = append(cmds, b.Role().Build())
	}
	asked := l.bus.cfg.Clock()
	res := l.conn.DoMulti(ctx, cmds...)
	if !l.bus.cluster {
		if err := primary(res[len(ps)]); err != nil {
			l.broken(err)
			return
		}
	}
	for i, p := range ps {
		state, err := readState(res[i])
		if err != nil {
			if !l.refused(p, err) {
				return
			}
			l.bus.stats.fails.Add(1)
			continue
		}
		if err := p.compare(l, state, floors[i], asked); err != nil {
			l.broken(err)
			return
		}
	}
	l.bus.stats.beats.Add(1)
}

// broken fails the line because of what a heartbeat has found.
func (l *line) broken(err error) {
	if l.bus.ctx.Err() == nil {
		l.bus.stats.fails.Add(1)
	}
	l.fail(err)
}

// refused takes a partition off the line because of an error about it alone,
// or, and then it returns false, fails the line.
func (l *line) refused(p *partition, err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	if !ok {
		l.broken(err)
		return false
	}
	addr, _ := re.IsMoved()
	p.leave(l, addr, err)
	return true
}

// readState reads the reply to the state of a partition. A key of another type
// counts as none, as it does for the script. While the slot is migrating the
// state may be at its next owner already; the messages go there as well then.
func readState(res rueidis.RedisResult) (position, error) {
	s, err := res.ToString()
	re, ok := rueidis.IsRedisErr(err)
	switch {
	case err == nil:
		return parseState(s), nil
	case rueidis.IsRedisNil(err), ok && strings.HasPrefix(re.Error(), "WRONGTYPE"):
		return position{}, nil
	}
	return position{}, err
}

// primary reads the reply to ROLE: without a cluster, a server that became a
// replica answers reads, and even passes messages on. A proxy that does not know
// the command chooses the server itself.
func primary(res rueidis.RedisResult) error {
	arr, err := res.ToArray()
	if err != nil {
		if unknownCommand(err) {
			return nil
		}
		return fmt.Errorf("ROLE: %w", err)
	}
	if len(arr) > 0 {
		if role, _ := arr[0].ToString(); role == "master" {
			return nil
		}
	}
	return errReplica
}

// unknownCommand reports whether the server does not have the command at all.
func unknownCommand(err error) bool {
	var re *rueidis.RedisError // which rueidis.IsRedisErr does not find when it is wrapped
	return errors.As(err, &re) && strings.Contains(strings.ToLower(re.Error()), "unknown command")
}

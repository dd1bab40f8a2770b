package invalidation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

const (
	// maxHops is how many nodes are asked for the owner of a slot in one round.
	maxHops = 5
	// firstRetry is the time to the next round after one that left a partition
	// unheard. It doubles up to maxRetry.
	firstRetry = 20 * time.Millisecond
	maxRetry   = 200 * time.Millisecond
)

// keep runs the rounds until Close: one per heartbeat, one at once when a
// partition was lost, and in growing intervals while one cannot be heard.
func (b *Bus) keep() {
	timer := time.NewTimer(b.pause(0, b.unheard()))
	defer timer.Stop()
	retries := 0
	for {
		wake := b.wake
		if retries > 0 { // a node that fails at once does not make rounds without pause
			wake = nil
		}
		select {
		case <-b.ctx.Done():
			for _, l := range b.lines {
				l.fail(ErrClosed)
			}
			return
		case <-timer.C:
		case <-wake:
		}
		began := time.Now()
		b.round()
		unheard := b.unheard()
		if unheard {
			retries++
		} else {
			retries = 0
		}
		timer.Reset(max(b.pause(retries, unheard)-time.Since(began), time.Millisecond))
	}
}

// pause is the time from the beginning of one round to that of the next.
func (b *Bus) pause(retries int, unheard bool) time.Duration {
	if !unheard {
		return b.cfg.Heartbeat
	}
	return min(firstRetry<<min(retries, 10), maxRetry, b.cfg.Heartbeat)
}

// nudge makes keep look at once.
func (b *Bus) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// unheard reports whether a partition is on no line.
func (b *Bus) unheard() bool {
	return slices.ContainsFunc(b.parts, func(p *partition) bool { return p.on() == nil })
}

// round sends a heartbeat on every line, and finds a line for every partition
// that has none. It takes twice OpTimeout at most. The lines map is touched by
// one round at a time, and not by the goroutines that a round starts and joins.
func (b *Bus) round() {
	for addr, l := range b.lines {
		if !b.cluster && addr != b.primaryAddr() {
			l.fail(fmt.Errorf("the primary is %s now", b.primaryAddr()))
		}
		if l.failed() {
			delete(b.lines, addr)
		}
	}
	var homeless []*partition
	for _, p := range b.parts {
		if p.on() == nil {
			homeless = append(homeless, p)
		}
	}
	var wg sync.WaitGroup
	for _, l := range b.lines {
		wg.Go(l.beat)
	}
	owners := make([]string, len(homeless))
	for i, p := range homeless {
		wg.Go(func() { owners[i] = b.route(p) })
	}
	wg.Wait()
	b.settle(homeless, owners)
	for addr, l := range b.lines {
		if l.idle() {
			l.fail(nil)
			delete(b.lines, addr)
		}
	}
}

// settle puts partitions on the lines to their owners.
func (b *Bus) settle(ps []*partition, owners []string) {
	nodes := b.client.Nodes()
	joins := map[*line][]*partition{}
	for i, p := range ps {
		addr := owners[i]
		if addr == "" {
			continue
		}
		l := b.lines[addr]
		if l == nil || l.failed() {
			node := nodes[addr]
			if node == nil {
				continue // it left the cluster in this very moment
			}
			l = b.newLine(addr, node)
			b.lines[addr] = l
		}
		joins[l] = append(joins[l], p)
	}
	var wg sync.WaitGroup
	for l, ps := range joins {
		wg.Go(func() { l.join(ps) })
	}
	wg.Wait()
}

// idle reports whether the line is connected and nothing is heard on it.
func (l *line) idle() bool {
	select {
	case <-l.ready:
		return len(l.members()) == 0
	default:
		return false
	}
}

// primaryAddr is the address of the only primary, without a cluster.
func (b *Bus) primaryAddr() string {
	for addr := range b.client.Nodes() {
		return addr
	}
	return ""
}

// route returns the address of the node that owns the slot of the partition; ""
// if that cannot be found out now. It follows the redirections itself, starting
// at the node that is likely to know: rueidis does not tell whom it talks to.
func (b *Bus) route(p *partition) string {
	if !b.cluster {
		return b.primaryAddr()
	}
	ctx, cancel := b.opContext(b.ctx)
	defer cancel()
	p.mu.Lock()
	addr, avoid := p.hint, p.avoid
	p.mu.Unlock()
	for range maxHops {
		node := b.client.Nodes()[addr]
		if node == nil {
			if addr, node = b.anyNode(avoid); node == nil {
				p.fail(fmt.Errorf("no node is known but %s", avoid))
				return ""
			}
		}
		_, err := readState(node.Do(ctx, node.B().Get().Key(p.state).Build()))
		re, isRedis := rueidis.IsRedisErr(err)
		if err == nil {
			return addr
		}
		if !isRedis || !strings.HasPrefix(re.Error(), "MOVED") {
			p.fail(fmt.Errorf("node %s: %w", addr, err))
			addr, avoid = "", addr
			continue
		}
		if addr, _ = re.IsMoved(); b.client.Nodes()[addr] == nil {
			b.meet(ctx, p)
		}
	}
	return ""
}

// meet makes the client know the owner of a slot, by following the redirection.
func (b *Bus) meet(ctx context.Context, p *partition) {
	if _, err := readState(b.client.Do(ctx, b.client.B().Get().Key(p.state).Build())); err != nil {
		p.fail(err)
	}
}

// anyNode returns a random node, not the one to avoid unless there is no other.
func (b *Bus) anyNode(avoid string) (string, rueidis.Client) {
	nodes := b.client.Nodes()
	if len(nodes) > 1 {
		delete(nodes, avoid)
	}
	n := rand.IntN(max(len(nodes), 1))
	for addr, node := range nodes {
		if n == 0 {
			return addr, node
		}
		n--
	}
	return "", nil
}

// fail notes why the partition cannot be heard. The next round asks another
// node for its owner.
func (p *partition) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.hint = err, ""
}

// opContext limits one round trip.
func (b *Bus) opContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.cfg.OpTimeout)
}

package invalidation

import (
	"context"
	"crypto/sha1"
	_ "embed" // for the script
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/redis/rueidis"
)

//go:embed scripts/publish.lua
var publishScript string

// publishSHA names the script on the server.
var publishSHA = func() string {
	sum := sha1.Sum([]byte(publishScript))
	return hex.EncodeToString(sum[:])
}()

// message is what is published on one partition.
type message struct {
	part   *partition
	events []*Event
	id     string
	body   string
}

// Publish publishes events to all that subscribe, this Bus included. Those of
// one partition go out as one message, in their order, and arrive together; the
// partitions are published side by side, each in one round trip, or two if the
// server does not know the script or the connection was lost. It blocks until
// all have answered, ctx ends, or Config.OpTimeout is over.
//
// There is a receipt for each partition that was published, in their order. The
// error joins a [*PublishError] for each that was not; it wraps [ErrBadEvent] or
// [ErrTooLarge], and nothing was published, if an event cannot be. There is no
// queue: what failed is for the caller to publish again, which does no harm if
// it was published after all, but may then be delivered twice.
func (b *Bus) Publish(ctx context.Context, events ...Event) ([]Receipt, error) {
	if b.closed.Load() {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	msgs, err := b.messages(events)
	if err != nil || len(msgs) == 0 {
		return nil, err
	}
	limited, cancel := b.opContext(ctx)
	defer cancel()
	return b.receipts(ctx, msgs, b.send(limited, msgs))
}

// messages checks the events and makes one message for each partition involved.
func (b *Bus) messages(events []Event) ([]*message, error) {
	var msgs []*message
	for i := range events {
		e := &events[i]
		if err := e.check(i); err != nil {
			return nil, err
		}
		p := b.parts[b.Partition(e.Namespace, e.Name)]
		at := slices.IndexFunc(msgs, func(m *message) bool { return m.part == p })
		if at < 0 {
			at = len(msgs)
			msgs = append(msgs, &message{part: p})
		}
		msgs[at].events = append(msgs[at].events, e)
	}
	for _, m := range msgs {
		body := appendBody(nil, b.origin, m.events)
		if len(body) > MaxMessage {
			return nil, fmt.Errorf("%w: %d events of partition %d make %d bytes, limit %d; publish fewer at a time",
				ErrTooLarge, len(m.events), m.part.index, len(body), MaxMessage)
		}
		m.body, m.id = string(body), formatID(rand.Uint64()|1) // never 0, the id of no message
	}
	slices.SortFunc(msgs, func(x, y *message) int { return x.part.index - y.part.index })
	return msgs, nil
}

// send runs the script for each message, and again for those it is worth it.
func (b *Bus) send(ctx context.Context, msgs []*message) []rueidis.RedisResult {
	cmds := make([]rueidis.Completed, len(msgs))
	for i, m := range msgs {
		cmds[i] = b.command(m, false)
	}
	var results []rueidis.RedisResult
	if len(cmds) == 1 {
		results = []rueidis.RedisResult{b.client.Do(ctx, cmds[0])}
	} else {
		results = b.client.DoMulti(ctx, cmds...)
	}
	var wg sync.WaitGroup
	for i, m := range msgs {
		if err := results[i].Error(); err != nil && (noScript(err) || !isRedis(err) && ctx.Err() == nil) {
			wg.Go(func() { results[i] = b.sendAgain(ctx, m, noScript(err)) })
		}
	}
	wg.Wait()
	return results
}

// sendAgain runs the script for a message that the server did not know the
// script of, or whose connection was lost. Where the partition is heard is the
// better address then: after a failover the client needs about a second to find
// out.
func (b *Bus) sendAgain(ctx context.Context, m *message, whole bool) rueidis.RedisResult {
	res := b.nodeOf(m.part).Do(ctx, b.command(m, whole))
	if noScript(res.Error()) {
		res = b.nodeOf(m.part).Do(ctx, b.command(m, true))
	}
	if re, ok := rueidis.IsRedisErr(res.Error()); ok {
		if _, moved := re.IsMoved(); moved {
			res = b.client.Do(ctx, b.command(m, true))
		}
	}
	return res
}

// nodeOf returns the node the partition is heard on, or the whole client.
func (b *Bus) nodeOf(p *partition) rueidis.Client {
	if l := p.on(); l != nil && b.cluster {
		if node := b.client.Nodes()[l.addr]; node != nil {
			return node
		}
	}
	return b.client
}

// command returns the command that publishes the message.
func (b *Bus) command(m *message, whole bool) rueidis.Completed {
	verb := "SPUBLISH"
	if b.mode == Classic {
		verb = "PUBLISH"
	}
	args := []string{verb, m.part.channel, m.id, head, m.body}
	if whole {
		return b.client.B().Eval().Script(publishScript).Numkeys(1).Key(m.part.state).Arg(args...).Build()
	}
	return b.client.B().Evalsha().Sha1(publishSHA).Numkeys(1).Key(m.part.state).Arg(args...).Build()
}

func noScript(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && re.IsNoScript()
}

// receipts reads the replies.
func (b *Bus) receipts(ctx context.Context, msgs []*message, results []rueidis.RedisResult) ([]Receipt, error) {
	var (
		out  []Receipt
		errs []error
	)
	for i, m := range msgs {
		reply, err := results[i].AsIntSlice()
		if err == nil && len(reply) != 2 {
			err = fmt.Errorf("the script answered %v", reply)
		}
		if err != nil {
			b.stats.publishFailed.Add(uint64(len(m.events)))
			errs = append(errs, &PublishError{
				Partition: m.part.index, Channel: m.part.channel, Unsure: !isRedis(err), Err: b.explain(ctx, err),
			})
			continue
		}
		b.stats.published.Add(uint64(len(m.events)))
		out = append(out, Receipt{Partition: m.part.index, Seq: uint64(reply[0]), Receivers: reply[1]})
	}
	return out, errors.Join(errs...)
}

// explain tells our own deadline from the caller's.
func (b *Bus) explain(ctx context.Context, err error) error {
	switch {
	case b.closed.Load():
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("no answer within %v: %w", b.cfg.OpTimeout, err)
	}
	return err
}

func isRedis(err error) bool {
	_, ok := rueidis.IsRedisErr(err)
	return ok
}

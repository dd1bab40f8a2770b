package rc

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// A consumer is one call of Consume. Everything in it is of its goroutine.
type consumer struct {
	Stream
	m    *Manager
	n    *eventCounters
	life context.Context // ends with the Manager

	ready   bool  // the group was there
	began   bool  // it was there before
	resumed bool  // what an earlier run of the same name left has been read
	nextRun int64 // in the time of the Manager
	held    map[string]*entry
	lost    int64 // entries that were cut unread, as far as that was told
}

// An entry is one of the stream, in hand.
type entry struct {
	id     string
	fields map[string]string
	fate   fate
	tries  int
	bad    int // of the tries, those that ended poisoned
	due    int64
	// settled reports that there is nothing left to do but to acknowledge it.
	settled bool
}

func (c *consumer) run(ctx context.Context) error {
	wait := streamRetryMin
	for ctx.Err() == nil {
		err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			wait = streamRetryMin
			continue
		case hasCode(err, "NOGROUP", "UNBLOCKED"):
			c.ready = c.ready && !hasCode(err, "NOGROUP")
			continue
		case hasCode(err, "NOPERM", "WRONGTYPE"):
			return fmt.Errorf("rc: consume %q: %w", c.Name, err)
		default:
			c.n.errors.Add(1)
			c.m.opts.Logger.Warn("fleetcache: cannot read a stream", "stream", c.Name, "error", err)
			pause(ctx, wait)
			wait = min(2*wait, streamRetryMax)
		}
	}
	c.leave()
	return ctx.Err()
}

// round does what is due, and reads once.
func (c *consumer) round(ctx context.Context) error {
	if !c.ready {
		if err := c.create(ctx); err != nil {
			return err
		}
	}
	if !c.resumed {
		if err := c.resume(ctx); err != nil {
			return err
		}
		c.resumed = true
	}
	if c.m.now() >= c.nextRun {
		if err := c.takeOver(ctx); err != nil {
			return err
		}
		c.nextRun = c.m.now() + int64(c.ClaimIdle/3)
	}
	c.retry(ctx)
	if len(c.held)+c.Count > streamHeld {
		pause(ctx, streamRetryMin)
		return nil
	}
	if err := c.look(ctx); err != nil {
		return err
	}
	entries, err := c.read(ctx)
	if err != nil {
		return err
	}
	c.n.read.Add(uint64(len(entries)))
	c.handle(ctx, entries)
	return nil
}

// create makes the group, and the stream, if they are not there.
func (c *consumer) create(ctx context.Context) error {
	start := c.Start
	if c.began {
		start = "0" // whatever is there came after the loss
	}
	err := c.do(ctx, func(ctx context.Context) error {
		cmd := c.m.client.B().XgroupCreate().Key(c.Name).Group(c.Group).Id(start).Mkstream().Build()
		return c.m.client.Do(ctx, cmd).Error()
	})
	if err != nil && !hasCode(err, "BUSYGROUP") {
		return err
	}
	if c.began {
		c.gap("its group was gone")
	}
	c.ready, c.began = true, true
	return nil
}

// gap says that entries may be lost.
func (c *consumer) gap(why string) {
	c.n.gaps.Add(1)
	c.m.opts.Logger.Warn("fleetcache: events of a stream may be lost", "stream", c.Name, "group", c.Group, "why", why)
	if c.OnGap != nil {
		c.OnGap()
	}
}

// look notices that the stream was cut in front of what the group has read: all
// that is left is unread, and more is gone than was read. It is asked before
// each read; what is cut between the two is not noticed.
func (c *consumer) look(ctx context.Context) error {
	return c.do(ctx, func(ctx context.Context) error {
		b := c.m.client.B()
		res := c.m.client.DoMulti(ctx, b.XinfoStream().Key(c.Name).Build(), b.XinfoGroups().Key(c.Name).Build())
		stream, err := res[0].AsMap()
		if err != nil {
			return err
		}
		groups, err := res[1].ToArray()
		if err != nil {
			return err
		}
		for _, g := range groups {
			if kv, err := g.AsMap(); err == nil && text(kv, "name") == c.Group {
				c.compare(stream, kv)
			}
		}
		return nil
	})
}

func (c *consumer) compare(stream, group map[string]rueidis.RedisMessage) {
	head := stream["first-entry"]
	first, err := head.AsXRangeEntry()
	if err != nil || !idLess(text(group, "last-delivered-id"), first.ID) {
		return
	}
	added, ok1 := number(stream, "entries-added")
	length, ok2 := number(stream, "length")
	read, ok3 := number(group, "entries-read") // unknown if entries were deleted one by one
	if lost := added - length - read; ok1 && ok2 && ok3 && lost > c.lost {
		c.lost = lost
		c.gap(fmt.Sprintf("it was cut, %d entries were not read", lost))
	}
}

// read waits for entries that nobody has had yet.
func (c *consumer) read(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	block := c.Block
	for _, e := range c.held {
		block = min(block, since(e.due, c.m.now()))
	}
	block = max(min(block, since(c.nextRun, c.m.now())), time.Millisecond)
	return c.xreadgroup(ctx, ">", block)
}

// xreadgroup reads entries: new ones with ">", otherwise those this consumer
// has had, behind an id. Only the former waits.
func (c *consumer) xreadgroup(ctx context.Context, from string, block time.Duration) ([]rueidis.XRangeEntry, error) {
	if err := c.m.serving(c.Name); err != nil {
		return nil, err
	}
	n := c.m.topo.For(c.Name)
	// A server that was frozen must not hold it for ever.
	octx, cancel := context.WithTimeout(ctx, block+c.m.opts.OpTimeout)
	defer cancel()
	group := c.m.client.B().Xreadgroup().Group(c.Group, c.Consumer).Count(int64(c.Count))
	cmd := group.Streams().Key(c.Name).Id(from).Build()
	if from == ">" {
		cmd = c.m.client.B().Xreadgroup().Group(c.Group, c.Consumer).Count(int64(c.Count)).
			Block(max(1, block.Milliseconds())).Streams().Key(c.Name).Id(from).Build()
	}
	streams, err := c.m.client.Do(octx, cmd).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err = c.m.done(ctx, n, err); err != nil {
		return nil, err
	}
	return streams[c.Name], nil
}

// resume takes up what an earlier run of this consumer has left.
func (c *consumer) resume(ctx context.Context) error {
	for from := "0"; ; {
		entries, err := c.xreadgroup(ctx, from, 0)
		if err != nil || len(entries) == 0 {
			return err
		}
		from = entries[len(entries)-1].ID
		c.n.takenOver.Add(uint64(len(entries)))
		c.handle(ctx, entries)
	}
}

// takeOver takes entries from consumers that have not said anything for
// ClaimIdle. First it says something itself about those it holds.
func (c *consumer) takeOver(ctx context.Context) error {
	if err := c.keep(ctx); err != nil {
		return err
	}
	for from := "0-0"; ; {
		var entries []rueidis.XRangeEntry
		var deleted int
		err := c.do(ctx, func(ctx context.Context) error {
			cmd := c.m.client.B().Xautoclaim().Key(c.Name).Group(c.Group).Consumer(c.Consumer).
				MinIdleTime(strconv.FormatInt(c.ClaimIdle.Milliseconds(), 10)).Start(from).Count(int64(c.Count)).Build()
			reply, err := c.m.client.Do(ctx, cmd).ToArray()
			if err == nil && len(reply) < 2 {
				err = fmt.Errorf("XAUTOCLAIM answered %d values", len(reply))
			}
			if err != nil {
				return err
			}
			if len(reply) > 2 {
				gone, _ := reply[2].ToArray()
				deleted = len(gone)
			}
			if from, err = reply[0].ToString(); err != nil {
				return err
			}
			entries, err = reply[1].AsXRange()
			return err
		})
		if err != nil {
			return err
		}
		if deleted > 0 {
			c.gap(fmt.Sprintf("it was cut, %d entries were not applied", deleted))
		}
		c.n.takenOver.Add(uint64(len(entries)))
		c.handle(ctx, entries)
		if from == "0-0" || ctx.Err() != nil || len(c.held) >= streamHeld {
			return nil
		}
	}
}

// keep tells the group that this consumer still has what it holds, so that
// others leave it alone. It does not count as a delivery.
func (c *consumer) keep(ctx context.Context) error {
	if len(c.held) == 0 {
		return nil
	}
	ids := make([]string, 0, len(c.held))
	for id := range c.held {
		ids = append(ids, id)
	}
	return c.do(ctx, func(ctx context.Context) error {
		cmd := c.m.client.B().Xclaim().Key(c.Name).Group(c.Group).Consumer(c.Consumer).
			MinIdleTime("0").Id(ids...).Justid().Build()
		return c.m.client.Do(ctx, cmd).Error()
	})
}

// handle applies entries that were just read.
func (c *consumer) handle(ctx context.Context, read []rueidis.XRangeEntry) {
	todo := make([]*entry, 0, len(read))
	lost := 0
	for _, x := range read {
		if c.held[x.ID] != nil {
			continue
		}
		e := &entry{id: x.ID, fields: x.FieldValues}
		if x.FieldValues == nil { // cut from the stream before it was applied
			e.settled = true
			lost++
		}
		todo = append(todo, e)
	}
	if lost > 0 {
		c.gap(fmt.Sprintf("it was cut, %d entries were not applied", lost))
	}
	c.apply(ctx, todo)
}

// retry tries entries again whose time has come.
func (c *consumer) retry(ctx context.Context) {
	now := c.m.now()
	var todo []*entry
	for _, e := range c.held {
		if now >= e.due {
			todo = append(todo, e)
			if len(todo) == c.Count {
				break
			}
		}
	}
	c.n.retried.Add(uint64(len(todo)))
	c.apply(ctx, todo)
}

// apply applies entries, acknowledges those that are done, and holds the rest.
// It goes on when ctx ends: what was read is best applied now.
func (c *consumer) apply(ctx context.Context, todo []*entry) {
	if len(todo) == 0 {
		return
	}
	ctx, cancel := c.work(ctx)
	defer cancel()
	sem := make(chan struct{}, streamParallel)
	var wg sync.WaitGroup
	for _, e := range todo {
		sem <- struct{}{}
		wg.Go(func() { // as long as its operations
			c.try(ctx, e)
			<-sem
		})
	}
	wg.Wait()
	var done []string
	for _, e := range todo {
		if e.settled {
			done = append(done, e.id)
		}
	}
	if len(done) > 0 {
		if err := c.ack(ctx, done); err != nil {
			c.n.errors.Add(1)
			done = nil
		}
	}
	c.n.acked.Add(uint64(len(done)))
	was := len(c.held)
	now := c.m.now()
	for _, e := range todo {
		c.held[e.id] = e
		e.due = now + int64(min(streamRetryMin<<min(e.tries, 10), streamRetryMax))
		e.tries++
	}
	for _, id := range done {
		delete(c.held, id)
	}
	c.n.held.Add(int64(len(c.held) - was))
}

// work returns a context to apply entries with. It ends with the Manager, after
// ClaimIdle, when others take the entries over, or some time after ctx.
func (c *consumer) work(ctx context.Context) (context.Context, context.CancelFunc) {
	grace := 4 * c.m.opts.OpTimeout
	work, cancel := context.WithTimeout(c.life, max(c.ClaimIdle, grace))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return work, func() {
		stop()
		cancel()
	}
}

// try applies one entry, and settles it if it can.
func (c *consumer) try(ctx context.Context, e *entry) {
	if e.settled {
		return
	}
	if name, ok := e.fields[fieldType]; !ok {
		c.n.undecodable.Add(1)
		e.fate = fate{fateUndecodable, fmt.Errorf("%w: the entry has no field %q", ErrEvent, fieldType)}
	} else {
		e.fate = c.m.arrive(ctx, name, []byte(e.fields[fieldData]))
	}
	switch e.fate.kind {
	case fateLanded:
		e.settled = true
	case fateUnknown:
		e.settled = !c.DeadLetterUnknown || c.bury(ctx, e) == nil
	case fateUndecodable:
		e.settled = c.bury(ctx, e) == nil
	case fatePoisoned:
		e.bad++
		if max(e.bad, c.delivered(ctx, e)) >= c.MaxDeliveries {
			e.settled = c.bury(ctx, e) == nil
		}
	}
}

// delivered says how often the group has delivered an entry, to all its
// consumers, and counts the try that is to come as a further one. It says 0 if
// that is not known.
func (c *consumer) delivered(ctx context.Context, e *entry) (n int) {
	_ = c.do(ctx, func(ctx context.Context) error {
		b := c.m.client.B()
		res := c.m.client.DoMulti(ctx,
			b.Xpending().Key(c.Name).Group(c.Group).Start(e.id).End(e.id).Count(1).Build(),
			b.Xclaim().Key(c.Name).Group(c.Group).Consumer(c.Consumer).MinIdleTime("0").Id(e.id).Build())
		rows, err := res[0].ToArray()
		if err != nil || len(rows) == 0 {
			return err
		}
		row, err := rows[0].ToArray()
		if err == nil && len(row) == 4 {
			var count int64
			count, err = row[3].AsInt64()
			n = int(count)
		}
		return err
	})
	return n
}

// bury puts an entry aside that cannot be applied.
func (c *consumer) bury(ctx context.Context, e *entry) error {
	why := "it has no mapping"
	if e.fate.err != nil {
		why = e.fate.err.Error()
	}
	c.m.opts.Logger.Error("fleetcache: an event cannot be applied", "stream", c.Name, "id", e.id, "event", e.fields[fieldType], "error", why)
	if c.DropPoison {
		c.n.dropped.Add(1)
		return nil
	}
	fields := []string{"stream", c.Name, "group", c.Group, "id", e.id, "error", why}
	for k, v := range e.fields {
		fields = append(fields, k, v)
	}
	if _, err := c.m.xadd(ctx, c.DeadLetter, deadLetterMaxLen, fields); err != nil {
		c.n.errors.Add(1)
		return err
	}
	c.n.deadLettered.Add(1)
	return nil
}

func (c *consumer) ack(ctx context.Context, ids []string) error {
	return c.do(ctx, func(ctx context.Context) error {
		return c.m.client.Do(ctx, c.m.client.B().Xack().Key(c.Name).Group(c.Group).Id(ids...).Build()).Error()
	})
}

// do runs an operation on the node of the stream.
func (c *consumer) do(ctx context.Context, op func(context.Context) error) error {
	return c.m.do(ctx, c.Name, op)
}

//go:embed scripts/forget.lua
var forgetScript string

// leave takes this consumer out of the group, and those that died long ago. It
// is tidiness: without, their names stay.
func (c *consumer) leave() {
	if !c.ready {
		return
	}
	_ = c.do(c.life, func(ctx context.Context) error {
		cmd := c.m.client.B().Eval().Script(forgetScript).Numkeys(1).Key(c.Name).
			Arg(c.Group, c.Consumer, strconv.FormatInt(max(100*c.ClaimIdle, time.Hour).Milliseconds(), 10)).Build()
		return c.m.client.Do(ctx, cmd).Error()
	})
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// hasCode reports whether a server answered with an error of one of the codes.
func hasCode(err error, codes ...string) bool {
	var re *rueidis.RedisError
	if !errors.As(err, &re) {
		return false
	}
	for _, code := range codes {
		if strings.HasPrefix(re.Error(), code) {
			return true
		}
	}
	return false
}

func text(kv map[string]rueidis.RedisMessage, field string) string {
	v := kv[field]
	s, _ := v.ToString()
	return s
}

func number(kv map[string]rueidis.RedisMessage, field string) (int64, bool) {
	v := kv[field]
	n, err := v.AsInt64()
	return n, err == nil
}

package rc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// Defaults of [Stream] and [AppendEvent].
const (
	DefaultStreamCount      = 64
	DefaultStreamBlock      = 2 * time.Second
	DefaultStreamClaimIdle  = 30 * time.Second
	DefaultStreamDeliveries = 5
	DefaultStreamMaxLen     = 100_000
)

const (
	// streamParallel is how many entries of a batch are applied side by side.
	streamParallel = 16
	// streamHeld is how many entries may wait to be tried again before no new
	// ones are read: they are in memory.
	streamHeld = 10_000
	// deadLetterMaxLen bounds the dead-letter stream, roughly.
	deadLetterMaxLen = 10_000
	// Retries, of entries and of reading the stream, wait for this long at
	// first, and twice as long each time up to the second.
	streamRetryMin = 50 * time.Millisecond
	streamRetryMax = 5 * time.Second
)

// The fields of an entry; see [AppendEvent].
const (
	fieldType = "type"
	fieldData = "data"
)

// StreamMaxLen sets roughly how many entries [AppendEvent] leaves in the stream,
// in place of DefaultStreamMaxLen. [Off], or any number below 0, leaves all of
// them.
func StreamMaxLen(n int64) EventOpt { return EventOpt{kind: eventMaxLen, n: n} }

// AppendEvent appends an event to a Redis stream, for [Manager.Consume], and
// returns the id of its entry. It applies no mapping here. It costs one round
// trip, within OpTimeout. After an error the event may have been appended all
// the same: append it again, an event that is there twice does no harm.
//
// An entry has two fields, so that programs in any language can append:
//
//	XADD orders MAXLEN ~ 100000 * type OrderShipped data {"order_id":"17"}
//
// type is the name of the event, as [On] has it, and data its JSON. Other
// fields are ignored. The stream is a key with just this name,
// Options.Prefix is not put in front of it. Old entries are cut off at
// [StreamMaxLen], whether they were consumed or not, so it must cover the
// longest time that nobody consumes.
//
// What a primary acknowledged can be lost if it fails before its replica has
// it; that goes for entries of streams as for everything else.
func AppendEvent[E any](ctx context.Context, m *Manager, stream string, e E, opts ...EventOpt) (id string, err error) {
	o, err := eventOpts[E](opts, eventName, eventMaxLen)
	if err != nil {
		return "", err
	}
	if stream == "" {
		return "", fmt.Errorf("%w: %s needs the name of a stream", ErrEvent, o.name)
	}
	data, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("%w: encode %s: %w", ErrEvent, o.name, err)
	}
	if m.closed.Load() {
		return "", ErrClosed
	}
	fields := []string{fieldType, o.name, fieldData, string(data)}
	id, err = m.xadd(ctx, stream, cmp.Or(o.n, DefaultStreamMaxLen), fields)
	if err == nil {
		m.events.n.appended.Add(1)
	}
	return id, err
}

func (m *Manager) xadd(ctx context.Context, stream string, maxLen int64, fields []string) (id string, err error) {
	args := []string{}
	if maxLen > 0 {
		args = append(args, "MAXLEN", "~", strconv.FormatInt(maxLen, 10))
	}
	args = append(append(args, "*"), fields...)
	err = m.do(ctx, stream, func(ctx context.Context) (err error) {
		id, err = m.client.Do(ctx, m.client.B().Arbitrary("XADD").Keys(stream).Args(args...).Build()).ToString()
		return err
	})
	return id, err
}

// Stream configures [Manager.Consume]. Name and Group are required; zero values
// of the others mean their defaults.
type Stream struct {
	// Name is the key of the stream, as [AppendEvent] has it. An ACL user must
	// be allowed it, and DeadLetter.
	Name string
	// Group is the consumer group. Its members share the entries: each is
	// applied by one of them. One group per cache is enough, because what it
	// invalidates is invalidated for all processes.
	Group string
	// Consumer is the name of this process in the group. Two that run at the
	// same time must not share one. A name that a restarted process has again
	// lets it go on with what it left at once; with others that takes ClaimIdle.
	// Defaults to host name, process id and a random number.
	Consumer string

	// Start is where the group begins if there is none yet: "0" for everything
	// that is in the stream, "$" for what comes, or an id. "$" misses what was
	// appended before the first consumer. Defaults to "0".
	Start string
	// Count is how many entries are read at a time, at most. Defaults to 64.
	Count int
	// Block is how long one read waits for entries. It does not delay them, and
	// has a connection of its own. Defaults to 2s.
	Block time.Duration
	// ClaimIdle is how long an entry lies with a consumer that says nothing
	// before others take it over. It must be longer than applying Count entries
	// takes, otherwise they are applied twice. Defaults to 30s.
	ClaimIdle time.Duration
	// MaxDeliveries is how often an entry is tried whose mapping panics or
	// names a target that cannot be, before it goes to the DeadLetter stream.
	// Entries that fail because Redis does not take an invalidation are tried
	// until they succeed. Defaults to 5.
	MaxDeliveries int
	// DeadLetter is the stream for entries that cannot be applied, with the
	// fields of the entry and stream, group, id and error. It keeps the last
	// 10,000 or so. Defaults to Name + ":dead".
	DeadLetter string
	// DropPoison acknowledges such entries and keeps them nowhere.
	DropPoison bool
	// DeadLetterUnknown puts entries whose type has no mapping into the
	// DeadLetter stream, too; otherwise they are acknowledged. A group that is
	// updated process by process needs the new mappings everywhere before the
	// first event of a new type is appended.
	DeadLetterUnknown bool

	// OnGap, if not nil, is called when entries may be lost that were never
	// applied: the group was gone (FLUSHALL, a server that lost its data) and
	// was made again, or the stream was cut (MAXLEN) in front of what this group
	// had read. What can be stale then is for the application to know; clearing
	// it is one SET ([CacheService.Clear]). It is called from Consume.
	OnGap func()
}

func (s Stream) withDefaults() Stream {
	if s.Consumer == "" {
		host, _ := os.Hostname()
		s.Consumer = fmt.Sprintf("%s-%d-%06x", cmp.Or(host, "host"), os.Getpid(), rand.Uint32()>>8)
	}
	s.Start = cmp.Or(s.Start, "0")
	s.Count = cmp.Or(s.Count, DefaultStreamCount)
	s.Block = cmp.Or(s.Block, DefaultStreamBlock)
	s.ClaimIdle = cmp.Or(s.ClaimIdle, DefaultStreamClaimIdle)
	s.MaxDeliveries = cmp.Or(s.MaxDeliveries, DefaultStreamDeliveries)
	s.DeadLetter = cmp.Or(s.DeadLetter, s.Name+":dead")
	return s
}

func (s Stream) validate() error {
	switch {
	case s.Name == "":
		return errors.New("rc: Stream.Name is empty")
	case s.Group == "":
		return errors.New("rc: Stream.Group is empty")
	case s.DeadLetter == s.Name:
		return errors.New("rc: Stream.DeadLetter is Stream.Name")
	case !startID(s.Start):
		return fmt.Errorf("rc: Stream.Start is %q, must be \"0\", \"$\" or the id of an entry", s.Start)
	case s.Count < 1 || s.Count > streamHeld:
		return fmt.Errorf("rc: Stream.Count is %d, must be 1 to %d", s.Count, streamHeld)
	case s.MaxDeliveries < 1:
		return fmt.Errorf("rc: Stream.MaxDeliveries is %d, must be at least 1", s.MaxDeliveries)
	case s.Block < time.Millisecond || s.Block > time.Minute:
		return fmt.Errorf("rc: Stream.Block is %v, must be 1ms to 1m0s", s.Block)
	case s.ClaimIdle < 10*time.Millisecond || s.ClaimIdle > 24*time.Hour:
		return fmt.Errorf("rc: Stream.ClaimIdle is %v, must be 10ms to 24h0m0s", s.ClaimIdle)
	}
	return nil
}

// Consume reads events from a Redis stream as a member of a consumer group, and
// applies the mappings of this Manager to them, until ctx ends or the Manager
// is closed. It blocks all the while, and returns the error of ctx or
// [ErrClosed]; any other error is one that trying again does not help: a bad
// Stream, a missing permission, a key that is no stream. Run it in a goroutine,
// once or several times per process.
//
// Every event is applied at least once: it is acknowledged only after all it
// invalidates has landed. If Redis does not take an invalidation, the entry is
// tried again, more and more slowly but without end, and others go on
// meanwhile; up to 10,000 such entries are held, then nothing new is read. What
// a consumer has left that died or was cut off is taken over by others after
// Stream.ClaimIdle. Events can be applied twice, and in any order, which an
// invalidation does not mind. When ctx ends, what was read is still applied and
// acknowledged, so Consume returns within a few OpTimeout.
//
// An entry never blocks the feed. One that does not decode goes to the
// Stream.DeadLetter stream at once, one whose mapping panics or names a target
// that cannot be after Stream.MaxDeliveries tries. One whose type has no mapping
// is acknowledged. A mapping that ends the process is beyond help: so does
// whoever takes its entry over.
//
// Stream and group are made if they are missing. If they get lost, or entries
// do before they were read, see Stream.OnGap. A read has a connection of its own
// (Options.BlockingPool), and costs two round trips, with the acknowledgement of
// a batch three.
func (m *Manager) Consume(ctx context.Context, s Stream) error {
	s = s.withDefaults()
	if err := s.validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	both, life, end, err := m.events.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	c := &consumer{Stream: s, m: m, life: life, n: &m.events.n, held: map[string]*entry{}}
	err = c.run(both)
	m.events.n.held.Add(int64(-len(c.held)))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case m.closed.Load():
		return ErrClosed
	}
	return err
}

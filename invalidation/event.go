package invalidation

import (
	"errors"
	"fmt"
)

// The limits that [Bus.Publish] checks.
const (
	// MaxName limits Namespace and Name, each, in bytes.
	MaxName = 64 << 10
	// MaxPayload limits Payload, in bytes.
	MaxPayload = 1 << 20
	// MaxMessage limits the events of one partition in one call of Publish,
	// encoded, in bytes.
	MaxMessage = 8 << 20
)

// AllPartitions is the Partition of a [Gap] that concerns all of them.
const AllPartitions = -1

// Kind says what an event is about.
type Kind uint8

// The kinds of events. The numbers go over the wire and do not change.
const (
	// Key says that the value of the key Name has changed.
	Key Kind = 1
	// Tag says that everything tagged Name has changed.
	Tag Kind = 2
	// Namespace says that everything in Namespace has changed. Its Name may be
	// empty, its Namespace may not.
	Namespace Kind = 3
	// Pattern says that every key that matches the pattern Name has changed.
	Pattern Kind = 4
	// User is an event of the application, with Name as its type.
	User Kind = 5
	// Gap says that events of Partition, or of all if that is AllPartitions, may
	// have been missed up to now: drop what was derived from what they are about.
	// Only a Bus makes it; it has no other fields.
	Gap Kind = 255
)

// String returns the name of the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Key:
		return "key"
	case Tag:
		return "tag"
	case Namespace:
		return "namespace"
	case Pattern:
		return "pattern"
	case User:
		return "user"
	case Gap:
		return "gap"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Event is what is published and delivered. Publish takes Kind, Namespace, Name
// and Payload from it; the rest is set when it is delivered.
type Event struct {
	Kind Kind
	// Namespace and Name together decide on the partition, so that events with
	// the same two are delivered in the order in which they were published.
	Namespace, Name string
	// Payload is the application's. The handlers of a Bus share it, and must not
	// change it.
	Payload []byte

	// Partition is the partition the event came on.
	Partition int
	// Seq is the sequence number of the message the event came in. Messages of
	// a partition count up by one; a failover or a loss of data can set it back.
	Seq uint64
	// Origin is [Bus.Origin] of the Bus that published the event.
	Origin string
}

// Receipt says what became of the events of one partition.
type Receipt struct {
	Partition int
	// Seq is the sequence number of the message.
	Seq uint64
	// Receivers is how many connections the server passed the message to; in
	// Classic mode in a cluster, those of one node only.
	Receivers int64
}

// Errors for errors.Is.
var (
	// ErrClosed is what the methods of a closed Bus return.
	ErrClosed = errors.New("invalidation: bus is closed")
	// ErrTooLarge is in the error of a Publish that is over one of the limits
	// [MaxName], [MaxPayload] and [MaxMessage]. Nothing was published.
	ErrTooLarge = errors.New("invalidation: too large")
	// ErrBadEvent is in the error of a Publish of an event that has no name or a
	// kind that cannot be published. Nothing was published.
	ErrBadEvent = errors.New("invalidation: bad event")
)

// PublishError says why the events of one partition were not published.
type PublishError struct {
	Partition int
	// Channel names the partition in Redis; its hash tag is in one slot.
	Channel string
	// Unsure reports whether the message may have been published all the same,
	// because it was sent but its reply did not come. To publish it again does
	// no harm.
	Unsure bool
	Err    error
}

// Error says which partition it was, and what is known.
func (e *PublishError) Error() string {
	fate := "not published"
	if e.Unsure {
		fate = "not surely published"
	}
	return fmt.Sprintf("invalidation: partition %d (%s): %s: %v", e.Partition, e.Channel, fate, e.Err)
}

// Unwrap returns the cause.
func (e *PublishError) Unwrap() error { return e.Err }

// check says what is wrong with event number i of a Publish.
func (e *Event) check(i int) error {
	switch {
	case e.Kind < Key || e.Kind > User:
		return fmt.Errorf("%w: event %d: kind %v cannot be published", ErrBadEvent, i, e.Kind)
	case e.Kind == Namespace && e.Namespace == "":
		return fmt.Errorf("%w: event %d: kind %v without a namespace", ErrBadEvent, i, e.Kind)
	case e.Kind != Namespace && e.Name == "":
		return fmt.Errorf("%w: event %d: kind %v without a name", ErrBadEvent, i, e.Kind)
	case len(e.Namespace) > MaxName:
		return fmt.Errorf("%w: event %d: namespace of %d bytes, limit %d", ErrTooLarge, i, len(e.Namespace), MaxName)
	case len(e.Name) > MaxName:
		return fmt.Errorf("%w: event %d: name of %d bytes, limit %d", ErrTooLarge, i, len(e.Name), MaxName)
	case len(e.Payload) > MaxPayload:
		return fmt.Errorf("%w: event %d: payload of %d bytes, limit %d", ErrTooLarge, i, len(e.Payload), MaxPayload)
	}
	return nil
}

package lock

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// An engine is how locks are kept in Redis. It limits its round trips itself. The
// methods without a context finish whatever becomes of the caller.
type engine interface {
	// try asks for the lock under id. With queue it takes a place in the queue if
	// the engine has one, until release. If it returns early because ctx has
	// ended, which is an error, a release that is called then comes after it.
	try(ctx context.Context, name, id string, queue bool) answer
	// extend reports whether the lock is still held under id, and whether no
	// part of it is missing.
	extend(ctx context.Context, name, id string) (held, whole bool, err error)
	// release gives back what is held under id, and its place in the queue. It
	// reports whether the lock was held.
	release(name, id string, queued bool) (bool, error)
	// stations are the channels on which who waits under id is called.
	stations(name, id string) []station
	close()
}

// An answer is what an attempt brought.
type answer struct {
	granted bool
	// id is what the lock is held under.
	id    string
	token uint64
	// whole, if there is one, reports whether all nodes have granted by now:
	// a grant is made by the first that are enough.
	whole func() bool
	// left is how long it is before another attempt is worth while, unless
	// there is a message.
	left time.Duration
	// server is the time of the server in microseconds, between sending and
	// answering; 0 if it is of no use.
	server int64
	// deaf is whether the node that answered does not know our subscription.
	deaf bool
	// why says more about a lock that was not granted.
	why string
	err error
}

// A station is a channel on which a waiter is called.
type station struct {
	client  rueidis.Client
	channel string
}

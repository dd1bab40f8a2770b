package lock

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-redsync/redsync/v4/redis"
	"github.com/redis/rueidis"
)

// A pool is a node as redsync wants it, for one step.
type pool struct {
	n      *node
	i      int    // the number of the node
	op     string // of the step: redsync runs scripts in failed acquires too
	ballot *ballot
	// uncalled counts releases that waiters could not be told of.
	uncalled *atomic.Uint64
}

// Get returns the connection that all share.
func (p pool) Get(ctx context.Context) (redis.Conn, error) {
	c := p.n.client.Load()
	if c == nil {
		return nil, errNotConnected
	}
	return conn{pool: p, c: *c, ctx: ctx}, nil
}

// A conn sends the commands of one step of redsync.
type conn struct {
	pool
	c   rueidis.Client
	ctx context.Context // of the step; redsync's interface has none per command
}

// limit ends a command with the node's time limit or the deadline of the step,
// but not when redsync cancels the step: it does so when the others have decided,
// and then the command has to reach this node all the same.
func (c conn) limit() (context.Context, context.CancelFunc) {
	end := time.Now().Add(c.n.timeout)
	if d, ok := c.ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	return context.WithDeadline(context.WithoutCancel(c.ctx), end)
}

// SetNX casts the vote of the node: SET NX, unless it abstains.
func (c conn) SetNX(name, value string, expiry time.Duration) (bool, error) {
	ctx, cancel := c.limit()
	defer cancel()
	v, err := c.n.cast(ctx, name, value, expiry, false)
	if err == nil {
		c.ballot.set(c.i, v)
	}
	return v.held, err
}

// Eval sends the whole script: redsync's have a few lines, and the digest would
// cost a second round trip now and then.
func (c conn) Eval(s *redis.Script, keysAndArgs ...any) (any, error) {
	if len(keysAndArgs) < s.KeyCount || s.KeyCount == 0 {
		return nil, errReply
	}
	keys, args := make([]string, s.KeyCount), make([]string, 0, len(keysAndArgs))
	for i, v := range keysAndArgs {
		if i < s.KeyCount {
			keys[i] = c.n.key(toString(v))
		} else {
			args = append(args, toString(v))
		}
	}
	ctx, cancel := c.limit()
	defer cancel()
	cmds := rueidis.Commands{c.c.B().Eval().Script(s.Src).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()}
	if c.op == opRelease { // tell who waits that the lock may be free
		cmds = append(cmds, c.c.B().Spublish().Channel(c.n.channel(toString(keysAndArgs[0]))).Message("go").Build())
	}
	replies := c.c.DoMulti(ctx, cmds...)
	if len(replies) > 1 && replies[1].Error() != nil {
		c.uncalled.Add(1)
	}
	v, err := replies[0].ToAny()
	if rueidis.IsRedisNil(err) {
		v, err = nil, nil
	}
	if err == nil && c.op != opAcquire {
		c.ballot.set(c.i, vote{said: true, held: v == int64(1)})
	}
	return v, err
}

// Get returns whose the vote is, "" for nobody's.
func (c conn) Get(name string) (string, error) {
	ctx, cancel := c.limit()
	defer cancel()
	v, err := c.c.Do(ctx, c.c.B().Get().Key(c.n.key(name)).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		return "", nil
	}
	return v, err
}

// Set is not used by any step: a vote without an end would be nobody's to give.
func (c conn) Set(string, string) (bool, error) { return false, errReply }

// PTTL returns how long the vote lasts, in the way of Redis.
func (c conn) PTTL(name string) (time.Duration, error) {
	ctx, cancel := c.limit()
	defer cancel()
	ms, err := c.c.Do(ctx, c.c.B().Pttl().Key(c.n.key(name)).Build()).AsInt64()
	return time.Duration(ms) * time.Millisecond, err
}

// ScriptLoad does nothing: Eval sends scripts whole.
func (c conn) ScriptLoad(*redis.Script) error { return nil }

// Close does nothing: the connection is shared.
func (c conn) Close() error { return nil }

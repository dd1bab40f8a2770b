package lock

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
)

// A redlock keeps each lock in a majority of nodes, by the rules of redsync. It
// is immutable.
type redlock struct {
	cfg   Config
	nodes []*node
	n     *counters
	steps sync.WaitGroup // of attempts whose callers may have left
}

// quorum is the number of nodes that grant a lock.
func (e *redlock) quorum() int { return len(e.nodes)/2 + 1 }

// step makes a mutex for one step: redsync's are not safe for concurrent use.
func (e *redlock) step(op, name, id string) (*redsync.Mutex, *ballot) {
	b := &ballot{votes: make([]vote, len(e.nodes))}
	pools := make([]redis.Pool, len(e.nodes))
	for i, n := range e.nodes {
		pools[i] = pool{n: n, i: i, op: op, ballot: b, uncalled: &e.n.releaseErrors}
	}
	return redsync.New(pools...).NewMutex(name,
		redsync.WithExpiry(e.cfg.TTL), redsync.WithTries(1),
		redsync.WithValue(id), redsync.WithGenValueFunc(func() (string, error) { return id, nil }),
		// redsync limits all nodes together, by default with a twentieth of the
		// TTL: 50 ms of a second. The limit per node is ours, see conn.limit.
		redsync.WithTimeoutFactor(2*float64(e.cfg.OpTimeout)/float64(e.cfg.TTL)),
		redsync.WithFailFast(true)), b // a frozen node delays nobody while the others agree
}

// try goes through all steps of redsync whatever becomes of ctx: a failed one
// gives its votes back, and one that succeeds when the caller has left is undone
// when all its votes have been asked for.
func (e *redlock) try(ctx context.Context, name, _ string, _ bool) answer {
	answers := make(chan answer, 1)
	var settled atomic.Bool // by the answer, or by the caller's leaving
	e.steps.Go(func() {     // ends by the time limits of the nodes
		a := e.attempt(name)
		if settled.CompareAndSwap(false, true) {
			answers <- a
		} else if a.granted {
			_, _ = e.release(name, a.id, false) // what is left ends by itself
		}
	})
	select {
	case a := <-answers:
		return a
	case <-ctx.Done():
		if settled.CompareAndSwap(false, true) {
			return answer{err: ctx.Err()}
		}
		return <-answers // a finished result beats a context that ended
	}
}

// attempt is one round of redsync, with an id of its own: what redsync sends to
// give back the votes of a failed one may reach slow nodes after the votes of the
// next have been asked for.
func (e *redlock) attempt(name string) answer {
	id := newID()
	m, b := e.step(opAcquire, name, id)
	err := m.TryLockContext(context.Background())
	if err == nil {
		return answer{granted: true, id: id, whole: b.whole}
	}
	if err = e.verdict(opAcquire, err); err != nil {
		return answer{err: err}
	}
	return answer{left: e.left(b), why: b.abstentions()}
}

// verdict turns an error of redsync into one of nodes, or nil if enough nodes
// answered to say that somebody else holds the lock, or parts of it.
func (e *redlock) verdict(op string, err error) error {
	var taken *redsync.ErrTaken
	if errors.As(err, &taken) {
		return nil
	}
	if errors.Is(err, redsync.ErrFailed) || errors.Is(err, redsync.ErrExtendFailed) { // granted, too late
		return &NodeError{Op: op, Node: e.nodes[0].name, Err: context.DeadlineExceeded}
	}
	failed := e.failures(op, err)
	if len(e.nodes)-len(failed) >= e.quorum() {
		return nil
	}
	return errors.Join(failed...)
}

// failures are the errors of the nodes that did not answer, in their order.
func (e *redlock) failures(op string, err error) []error {
	failed := make([]error, len(e.nodes))
	each(err, func(err error) {
		if re, ok := err.(*redsync.RedisError); ok { //nolint:errorlint // each unwraps
			failed[re.Node] = &NodeError{Op: op, Node: e.nodes[re.Node].name, Err: re.Err}
		}
	})
	return slices.DeleteFunc(failed, func(err error) bool { return err == nil })
}

// unproven is what became of a step of the holder that did not reach a majority:
// nil if a majority says that the lock is not ours. If part refuse and part are
// silent, it may have stood until now.
func (e *redlock) unproven(op string, b *ballot, err error) error {
	if b.refusals() >= e.quorum() {
		return nil
	}
	if err := e.verdict(op, err); err != nil {
		return err
	}
	if failed := e.failures(op, err); len(failed) > 0 {
		return errors.Join(failed...)
	}
	return &NodeError{Op: op, Node: e.nodes[0].name, Err: errors.New("no majority answered")}
}

// each calls f with all errors that are joined in err.
func each(err error, f func(error)) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			each(err, f)
		}
		return
	}
	f(err)
}

// spread is the longest pause of those who kept each other from a majority.
const spread = 50 * time.Millisecond

// left returns how long it is before another attempt is worth while: until a
// majority of the votes can be had, and a little more, other for each waiter. If
// no other has a majority, several have kept each other from it, and gave their
// votes back: then the little is all.
func (e *redlock) left(b *ballot) time.Duration {
	free, rivals := []time.Duration{}, map[string]int{}
	for _, v := range b.copy() {
		switch {
		case v.holder != "":
			rivals[v.holder]++
			free = append(free, v.left)
		case v.said:
			free = append(free, v.left) // ours, or it abstains
		default:
			free = append(free, e.cfg.OpTimeout)
		}
	}
	most := 0
	for _, n := range rivals {
		most = max(most, n)
	}
	if most > 0 && most < e.quorum() {
		for i, v := range b.copy() {
			if v.holder != "" {
				free[i] = 0
			}
		}
	}
	slices.Sort(free)
	return min(free[e.quorum()-1], e.cfg.TTL) + time.Millisecond + rand.N(spread)
}

// extend extends the votes that are ours. If they are a majority, it asks the
// other nodes for theirs as well: they forgot them, or did not answer before.
// Such a vote does not count in this step, but the next failure may be of another
// node. Without a majority nothing is asked for: somebody else may have it.
func (e *redlock) extend(ctx context.Context, name, id string) (held, whole bool, err error) {
	m, b := e.step(opExtend, name, id)
	ok, err := m.ExtendContext(ctx)
	if !ok {
		return false, false, e.unproven(opExtend, b, err)
	}
	var wg sync.WaitGroup // ends with ctx and OpTimeout
	for i, v := range b.copy() {
		if v.held {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, e.cfg.OpTimeout)
			defer cancel()
			if v, err := e.nodes[i].cast(ctx, name, id, e.cfg.TTL, true); err == nil {
				b.set(i, v)
			}
		})
	}
	wg.Wait()
	return true, b.whole(), nil
}

func (e *redlock) release(name, id string, _ bool) (bool, error) {
	m, b := e.step(opRelease, name, id)
	ok, err := m.UnlockContext(context.Background())
	if ok {
		return true, nil
	}
	return false, e.unproven(opRelease, b, err)
}

func (e *redlock) stations(name, _ string) (out []station) {
	for _, n := range e.nodes {
		if c := n.client.Load(); c != nil {
			out = append(out, station{*c, n.channel(name)})
		}
	}
	return out
}

func (e *redlock) close() {
	e.steps.Wait()
	for i, n := range e.nodes {
		c := n.client.Load()
		if c == nil || i > 0 && e.nodes[i-1].client.Load() == c { // shards share one
			continue
		}
		(*c).Close()
	}
}

package rc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/key"
)

// ReplicasError says that a write was done, and that fewer replicas than were
// asked for are known to have it. The write is not taken back, and need not be
// repeated for this Manager's sake; a failover may lose it.
type ReplicasError struct {
	// Key is the Redis key.
	Key string
	// Want is how many replicas were asked for, Got how many have it; 0 if
	// that is not known.
	Want, Got int
	// Err is why it is not known how many have it. Nil if it is known, and too
	// few.
	Err error
}

func (e *ReplicasError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("rc: %q is written, but it is not known whether %d replicas have it: %v", e.Key, e.Want, e.Err)
	}
	return fmt.Sprintf("rc: %q is written, but %d replicas have it, and %d were asked for", e.Key, e.Got, e.Want)
}

// Unwrap returns why it is not known how many replicas have it, or nil.
func (e *ReplicasError) Unwrap() error { return e.Err }

var (
	errNoReplicas = errors.New("the primary has no replicas")
	errNewPrimary = errors.New("the primary was replaced or restarted meanwhile, and may have lost it")
)

// waitKeyLife is how long the key lives that is written to wait for replicas.
const waitKeyLife = 10 * time.Second

// replicaWait is what WaitReplicas asks for.
type replicaWait struct {
	n       int
	timeout time.Duration
}

type replicaWaitKey struct{}

// WaitReplicas returns a context with which every write and invalidation waits,
// once Redis has taken it, until n replicas of its primary have it too (WAIT), for
// the given time at most: after it a failover to one of them does not lose it. It
// holds for Set, SetMany, Delete, DeleteMany, DeleteBefore, Expire, Clear,
// ExpireAll, InvalidateTag and ExpireTag, also by Emit, and not for what
// loads store, InvalidatePattern removes or Consume applies.
//
// If fewer have it in time, the error joins a [*ReplicasError] for each primary;
// the write itself is done then. It costs two round trips more, and a connection
// of Options.BlockingPool while it waits. With n of 0 or less nothing waits.
func WaitReplicas(ctx context.Context, n int, timeout time.Duration) context.Context {
	return context.WithValue(ctx, replicaWaitKey{}, replicaWait{n, timeout})
}

// replicated performs a write of keys, and then waits for the replicas that ctx
// asks for, all primaries side by side.
func (m *Manager) replicated(ctx context.Context, keys []string, write func() error) error {
	w, _ := ctx.Value(replicaWaitKey{}).(replicaWait)
	if w.n <= 0 {
		return write()
	}
	var marks []replicaMark
	seen := map[string]bool{}
	for _, k := range keys { // one for each primary
		if a := addr(m.topo.For(k)); !seen[a] {
			seen[a] = true
			marks = append(marks, m.markReplicas(ctx, k))
		}
	}
	if err := write(); err != nil {
		return err
	}
	errs := make([]error, len(marks))
	var wg sync.WaitGroup
	for i, mark := range marks {
		wg.Go(func() { errs[i] = m.waitReplicas(ctx, mark, w.n, w.timeout) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// replicated is [Manager.replicated] for a write of identifiers.
func (c *core) replicated(ctx context.Context, opts []Opt, write func() error, ids ...string) error {
	if ctx.Value(replicaWaitKey{}) == nil {
		return write()
	}
	o, err := c.call(opts)
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(ids))
	for _, id := range ids {
		if k, err := c.key(id, o.params); err == nil { // else the write says so
			keys = append(keys, k.rk)
		}
	}
	return c.m.replicated(ctx, keys, write)
}

// A replicaMark is what is known of a key's primary before a write.
type replicaMark struct {
	key, addr string
	life      primaryLife
	err       error // the primary could not be asked
}

// primaryLife is one life of a primary: it is another one after a restart, and
// after a replica has taken over.
type primaryLife struct {
	role, run, replid string
	replicas          int // connected now; -1 if it may not say
}

func (l primaryLife) same(o primaryLife) bool {
	return l.role == o.role && l.run == o.run && l.replid == o.replid
}

// markReplicas notes who the primary of key is. It must be called before the
// write: afterwards nobody can tell whether the primary is still the one that
// took it. It takes one round trip.
func (m *Manager) markReplicas(ctx context.Context, key string) replicaMark {
	n := m.topo.For(key)
	mark := replicaMark{key: key, addr: addr(n)}
	c := m.client.Nodes()[mark.addr]
	if n == nil || c == nil {
		mark.err = &NodeError{Node: mark.addr, Err: errNotServing}
		return mark
	}
	octx, cancel := m.opContext(ctx)
	defer cancel()
	mark.life, mark.err = lifeOf(c.Do(octx, infoCommand(c)))
	mark.err = m.done(ctx, n, mark.err)
	return mark
}

func infoCommand(c rueidis.Client) rueidis.Completed {
	return c.B().Info().Section("server", "replication").Build()
}

// lifeOf reads a reply to INFO. A user who may not ask gets one that is the
// same as any other such one.
func lifeOf(r rueidis.RedisResult) (primaryLife, error) {
	text, err := r.ToString()
	if re, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(re.Error(), "NOPERM") {
		return primaryLife{replicas: -1}, nil
	}
	l := primaryLife{replicas: -1}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch name {
		case "role":
			l.role = value
		case "run_id":
			l.run = value
		case "master_replid":
			l.replid = value
		case "connected_slaves":
			if n, err := strconv.Atoi(value); err == nil {
				l.replicas = n
			}
		}
	}
	return l, err
}

// waitReplicas waits until n replicas have what was written since the mark, for
// timeout at most. The error is a [*ReplicasError].
//
// WAIT asks for the writes of its own connection, and blocks it. So it gets a
// connection of its own, of Options.BlockingPool, with a small write ahead of it
// to the same node: replication is one stream in order, so replicas that have
// the later write have the earlier one. That the node is the one that took the
// write, and has lost nothing since, is known by its answer to INFO, before the
// write and behind WAIT: it is still in the same life as a primary, and still
// serves the slot. If the slot has been away and back, its keys came back
// through the same stream.
//
// Not seen is a deposed primary that still answers, as one on the far side of a
// partition, if the write has gone to its successor: see "split brain" in the
// README.
func (m *Manager) waitReplicas(ctx context.Context, mark replicaMark, n int, timeout time.Duration) error {
	unknown := func(err error) error { return &ReplicasError{Key: mark.key, Want: n, Err: err} }
	node := m.topo.For(mark.key)
	c := m.client.Nodes()[mark.addr]
	switch {
	case mark.err != nil:
		return unknown(mark.err)
	case mark.life.replicas == 0:
		return unknown(errNoReplicas)
	case c == nil || addr(node) != mark.addr:
		return unknown(errNewPrimary)
	}
	if end, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(end))
	}
	timeout = max(timeout, time.Millisecond)
	octx, cancel := context.WithTimeout(ctx, timeout+m.opts.OpTimeout)
	defer cancel()
	res := c.DoMulti(octx,
		c.B().Set().Key(waitKey(m.opts.Prefix, mark.key)).Value("").PxMilliseconds(waitKeyLife.Milliseconds()).Build(),
		c.B().Wait().Numreplicas(int64(n)).Timeout(timeout.Milliseconds()).Build(),
		infoCommand(c))
	if err := res[0].Error(); err != nil {
		return unknown(m.refusedWait(ctx, mark, err))
	}
	got, err := res[1].AsInt64()
	if err != nil {
		return unknown(m.refusedWait(ctx, mark, err))
	}
	life, err := lifeOf(res[2])
	switch {
	case err != nil:
		return unknown(m.refusedWait(ctx, mark, err))
	case !life.same(mark.life):
		return unknown(errNewPrimary)
	case int(got) < n:
		return &ReplicasError{Key: mark.key, Want: n, Got: int(got)}
	}
	return nil
}

// refusedWait is the error of a node that could not be asked. One that no longer
// serves the slot, or is no primary any more, was replaced.
func (m *Manager) refusedWait(ctx context.Context, mark replicaMark, err error) error {
	if re, ok := rueidis.IsRedisErr(err); ok {
		for _, gone := range []string{"MOVED", "ASK", "READONLY", "CLUSTERDOWN", "UNBLOCKED", "MASTERDOWN"} {
			if strings.HasPrefix(re.Error(), gone) {
				return fmt.Errorf("%w: %w", errNewPrimary, &NodeError{Node: mark.addr, Err: err})
			}
		}
	}
	return &NodeError{Node: mark.addr, Err: m.opError(ctx, err)}
}

// waitKey returns a key in the slot of another one. It is no key of a value,
// because no part of one may contain '#'.
func waitKey(prefix, k string) string {
	tag := k
	if i := strings.IndexByte(k, '{'); i >= 0 {
		if j := strings.IndexByte(k[i+1:], '}'); j > 0 {
			tag = k[i+1 : i+1+j]
		}
	}
	return cmp.Or(prefix, key.DefaultPrefix) + ":#wait:{" + tag + "}"
}

package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// errNotConnected is the error of a node that has not been reached since Open.
var errNotConnected = errors.New("not connected yet")

// A node is one vote of Redlock: a deployment, or a hash tag of a cluster.
type node struct {
	name    string                         // as in NodeError
	root    string                         // of its keys: <prefix>:redlock:{tag}
	client  atomic.Pointer[rueidis.Client] // nil until connected; set once
	timeout time.Duration
	known   atomic.Bool // the node has had the script
}

func newNode(name string, cfg Config, tag string) *node {
	return &node{name: name, root: cfg.Prefix + ":redlock:{" + tag + "}", timeout: cfg.OpTimeout}
}

// key returns the key of a vote. The root itself is what the node remembers of
// its past.
func (n *node) key(name string) string { return n.root + ":" + name }

// channel returns the channel of those who wait for a lock.
func (n *node) channel(name string) string { return n.key(name) + ":w" }

// lifeTime is how long a node's memory of its past is kept without a vote: far
// longer than any lock.
const lifeTime = 2 * maxTTL

// A vote is what a node said in one step.
type vote struct {
	said bool // it answered
	held bool // the vote is ours
	// left is how long it is before the vote can be another one: the rest of
	// its time, or of the node's abstention.
	left     time.Duration
	holder   string // whose it is, if it is somebody else's
	abstains bool
}

// cast asks a node for its vote. back is for a holder that has a majority and
// wants back what the node has forgotten.
func (n *node) cast(ctx context.Context, name, id string, ttl time.Duration, back bool) (v vote, err error) {
	c := n.client.Load()
	if c == nil {
		return v, errNotConnected
	}
	arr, err := (*c).Do(ctx, n.ask(*c, name, id, millis(ttl), flag(back), millis(lifeTime))).ToArray()
	if e, ok := rueidis.IsRedisErr(err); ok && e.IsNoScript() {
		// It has just been started or promoted, and will abstain. It is not
		// asked again at once: the second request could reach it behind the
		// release of a holder who had enough other votes, and would stay.
		n.known.Store(false)
	}
	if err != nil {
		return v, err
	}
	n.known.Store(true)
	if len(arr) == 0 {
		return v, errReply
	}
	code, err := arr[0].AsInt64()
	switch {
	case err != nil:
		return v, err
	case code == 1 && len(arr) == 1:
		return vote{said: true, held: true}, nil
	case code == 0 && len(arr) == 3:
		ms, err1 := arr[1].AsInt64()
		holder, err2 := arr[2].ToString()
		return vote{said: true, left: time.Duration(ms) * time.Millisecond, holder: holder}, errors.Join(err1, err2)
	case code == 2 && len(arr) == 2:
		ms, err := parseInt(arr[1])
		return vote{said: true, left: time.Duration(ms) * time.Millisecond, abstains: true}, err
	}
	return v, errReply
}

// ask makes the request for a vote: by the digest of the script if the node is
// likely to have it.
func (n *node) ask(c rueidis.Client, name string, args ...string) rueidis.Completed {
	if n.known.Load() {
		return c.B().Evalsha().Sha1(voteDigest).Numkeys(2).Key(n.key(name), n.root).Arg(args...).Build()
	}
	return c.B().Eval().Script(voteText).Numkeys(2).Key(n.key(name), n.root).Arg(args...).Build()
}

// A ballot collects what the nodes say in one step. Those that are slow say it
// when the step is over.
type ballot struct {
	mu    sync.Mutex // protects votes
	votes []vote     // by node
}

func (b *ballot) set(i int, v vote) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.votes[i] = v
}

func (b *ballot) copy() []vote {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]vote(nil), b.votes...)
}

// whole reports whether all votes are ours.
func (b *ballot) whole() bool {
	for _, v := range b.copy() {
		if !v.held {
			return false
		}
	}
	return true
}

// refusals is how many nodes have answered that the vote is not ours.
func (b *ballot) refusals() (n int) {
	for _, v := range b.copy() {
		if v.said && !v.held {
			n++
		}
	}
	return n
}

// abstentions says which nodes abstain, for the error of who got no lock.
func (b *ballot) abstentions() string {
	n, longest := 0, time.Duration(0)
	for _, v := range b.copy() {
		if v.abstains {
			n, longest = n+1, max(longest, v.left)
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d nodes were restarted, promoted or moved and abstain, for %v at most", n, len(b.votes), longest.Round(time.Millisecond))
}

package topology

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/near"
)

// Config is what a [Watcher] needs. All fields but those that
// begin with On are required.
type Config struct {
	Client rueidis.Client
	Table  *near.Table
	Logger *slog.Logger
	// Prefix begins the keys of keyed beats, so that an ACL that allows the
	// cache's keys allows them too.
	Prefix string
	// Heartbeat is the time between two beats of a node.
	Heartbeat time.Duration
	// WatchInterval is the time between two looks at the slot owners.
	WatchInterval time.Duration
	// Timeout bounds one beat and one look.
	Timeout time.Duration
	// OnUp, if not nil, is called when a node answers again after its
	// breaker was open, and with nil when slots changed owner: then writes
	// that failed can be sent again. It must not block.
	OnUp func(n *Node)
	// OnMoved, if not nil, is called when slots changed owner, or a primary
	// outside a cluster was replaced; silence is for how long one of the former
	// primaries had not answered. It must not block.
	OnMoved func(moved func(slot uint16) bool, silence time.Duration)
	// OnDown, if not nil, is called when the breaker of a node opens. It
	// must not block.
	OnDown func(n *Node)
}

// snapshot is one view of the deployment. It is never changed.
type snapshot struct {
	nodes  []*Node
	byAddr map[string]*Node
	slots  *[slotCount]*Node // nil outside a cluster: then nodes[0] owns all
}

const slotCount = 16384

// A Watcher follows the primaries of a deployment. It is safe for concurrent
// use.
type Watcher struct {
	cfg     Config
	cluster bool
	snap    atomic.Pointer[snapshot]
	poke    chan struct{} // asks the watch to look now

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// Moves counts slots seen to change owner, Kills the near entries that
	// ended because of it, Demotions the primaries found to be replicas.
	Moves, Kills, Demotions atomic.Uint64

	claims map[string]*claimSet // used by the watch goroutine, and by New before it
}

// New looks at the deployment once, sends every primary a beat, and starts
// following them. It fails if no primary can be found, and if a beat shows
// that the deployment cannot work as a cache: a missing permission, a server
// without tracking.
func New(ctx context.Context, cfg Config) (*Watcher, error) {
	w := &Watcher{cfg: cfg, cluster: cfg.Client.Mode() == rueidis.ClientModeCluster, poke: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.snap.Store(&snapshot{byAddr: map[string]*Node{}})
	if err := w.look(ctx); err != nil {
		w.cancel()
		w.wg.Wait()
		return nil, err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(w.snap.Load().nodes))
	for i, n := range w.snap.Load().nodes {
		wg.Go(func() { errs[i] = w.beat(ctx, n) })
	}
	wg.Wait()
	if err := refusal(errs); err != nil {
		w.Close()
		return nil, err
	}
	w.wg.Go(w.watch)
	return w, nil
}

// refusal returns the first answer that says the library may not do what it
// must. Nodes that are merely down come back; this does not.
func refusal(errs []error) error {
	for _, err := range errs {
		if re, ok := rueidis.IsRedisErr(err); ok && !Unreachable(err) {
			return fmt.Errorf("beat refused: %w", re)
		}
	}
	return nil
}

// Close stops following and waits until all goroutines have ended.
func (w *Watcher) Close() {
	w.cancel()
	w.wg.Wait()
}

// For returns the primary of a key, nil if none is known.
func (w *Watcher) For(key string) *Node {
	s := w.snap.Load()
	if s.slots != nil {
		return s.slots[hashslot.Of(key)]
	}
	if len(s.nodes) == 0 {
		return nil
	}
	return s.nodes[0]
}

// Report tells that an operation on a node failed. If the error says that the
// node does not serve, it is sent a beat at once, and the slot owners are
// looked at. It does not block.
func (w *Watcher) Report(n *Node, err error) {
	if n == nil || !Unreachable(err) {
		return
	}
	n.beatSoon()
	w.Look()
}

func (w *Watcher) down(n *Node, err error) {
	w.cfg.Logger.Warn("fleetcache: node does not answer, operations on it fail at once until it does", "node", n.Addr, "error", err)
	if w.cfg.OnDown != nil {
		w.cfg.OnDown(n)
	}
}

// Look asks for a look at the slot owners now. It does not block.
func (w *Watcher) Look() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// Beat asks every pulse for a beat now. It does not block.
func (w *Watcher) Beat() {
	for _, n := range w.snap.Load().nodes {
		n.beatSoon()
	}
}

// Nodes returns the primaries known at the moment.
func (w *Watcher) Nodes() []*Node { return w.snap.Load().nodes }

// Silence returns for how long the primary that has not answered for the longest
// time has not.
func (w *Watcher) Silence() time.Duration { return w.silence(w.snap.Load()) }

func (w *Watcher) silence(s *snapshot) (longest time.Duration) {
	now := w.cfg.Table.Clock().Now()
	for _, n := range s.nodes {
		if n.answered.Load() {
			longest = max(longest, time.Duration(now-n.heard.Load()))
		}
	}
	return longest
}

// Health returns what is known of each primary, without asking.
func (w *Watcher) Health() []Health {
	nodes := w.snap.Load().nodes
	out := make([]Health, 0, len(nodes))
	for _, n := range nodes {
		h := Health{Addr: n.Addr, BreakerOpen: n.Open(), FeedAge: -1, Reachable: n.lastErr.Load() == nil && n.answered.Load()}
		if age, ok := w.cfg.Table.FeedAge(n.Addr); ok {
			h.FeedAge = age
		}
		if e := n.lastErr.Load(); e != nil {
			h.Err = *e
		}
		out = append(out, h)
	}
	return out
}

// watch looks at the slot owners until Close.
func (w *Watcher) watch() {
	tick := time.NewTicker(w.cfg.WatchInterval)
	defer tick.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-tick.C:
		case <-w.poke:
		}
		if err := w.look(w.ctx); err != nil && w.ctx.Err() == nil {
			w.cfg.Logger.Debug("fleetcache: cannot look at the slot owners", "error", err)
		}
		// A poke right behind is served, but not a storm of them.
		if !w.pause(w.cfg.WatchInterval / 10) {
			return
		}
	}
}

// pause waits and reports whether the watcher is still open.
func (w *Watcher) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

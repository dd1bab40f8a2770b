package rc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/near"
	"github.com/fleetcache/fleetcache/internal/plainclient"
	"github.com/fleetcache/fleetcache/internal/successor"
	"github.com/fleetcache/fleetcache/internal/testclock"
	"github.com/fleetcache/fleetcache/internal/topology"
	"github.com/fleetcache/fleetcache/invalidation"
)

// A Manager is a process' connection to one Redis deployment, and the memory
// tier of everything cached there. Make one per process with [Open]. All
// methods are safe for concurrent use.
type Manager struct {
	opts   Options
	client rueidis.Client
	table  *near.Table
	redis  *lease.Client
	topo   *topology.Watcher
	queue  *recovery
	recent recent
	feed   feed
	// broadcast is nil in coherence mode Tracking.
	broadcast *broadcast
	events    events
	dialer    *successor.Dialer
	reaper    reaper
	own       own
	clock     *near.Clock

	// queues gather reads by node: [0] plain ones, [1] tracked ones. Keys are
	// *topology.Node, values *readQueue.
	queues [2]sync.Map

	tokens *tokens
	// marks counts tags and namespaces invalidated, markErrors those that
	// Redis could not be told of.
	marks, markErrors atomic.Uint64
	opShared          atomic.Pointer[sharedContext]

	// refreshes bounds background loads: a slot is taken by sending.
	refreshes chan struct{}

	closed    atomic.Bool
	closeOnce sync.Once
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup

	mu     sync.Mutex // protects groups
	groups map[string]*group
}

// A group is the services that share keys: those with the same prefix, key
// version and namespace. A write through one is a write for all.
type group struct {
	cores atomic.Pointer[[]*core]
}

// forget makes later readers of a key start anew, in all services of the group.
func (g *group) forget(key string) {
	for _, c := range *g.cores.Load() {
		c.flights.Forget(key)
		c.reads.forget(key)
	}
}

func newManager(ctx context.Context, opt rueidis.ClientOption, opts Options) (*Manager, error) {
	m := &Manager{opts: opts, groups: map[string]*group{}, refreshes: make(chan struct{}, opts.MaxRefreshes)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.clock = testclock.From(ctx)
	m.reaper.wake = make(chan struct{}, 1)
	var topo atomic.Pointer[topology.Watcher]
	m.makeTable(&topo)
	m.queue = newRecovery(m, opts.RecoveryQueue)
	m.recent = recent{m: m, window: max(0, opts.ReplayWindow), limit: opts.RecoveryQueue}
	if err := m.connect(ctx, opt, &topo); err != nil {
		return nil, m.abandon(explain(err, opt))
	}
	var err error
	if m.tokens, err = newTokens(m); err != nil {
		return nil, m.abandon(err)
	}
	if err := m.start(ctx, &topo); err != nil {
		return nil, m.abandon(explain(err, opt))
	}
	return m, nil
}

// abandon ends what an Open that failed has begun.
func (m *Manager) abandon(err error) error {
	m.cancel()
	if m.client != nil {
		m.client.Close()
	}
	_ = m.feed.close() // the error of Open says more
	m.wg.Wait()
	return err
}

// makeTable makes the memory. topo is set once there is a watcher.
func (m *Manager) makeTable(topo *atomic.Pointer[topology.Watcher]) {
	o := near.Options{
		Clock:        m.clock,
		MaxStaleness: m.opts.MaxStaleness,
		RawBytes:     m.opts.ClientCacheBytes,
		OnKill:       m.reaper.add,
		OnLost:       func(node string) { m.onLost(topo.Load(), node) },
		OnNewFeed: func() {
			if w := topo.Load(); w != nil {
				w.Beat()
			}
		},
	}
	if m.opts.Coherence == Broadcast {
		o.Partitions = invalidation.DefaultPartitions
		o.Partition = func(key string) int { return m.broadcast.partition(key) }
	}
	m.table = near.NewTable(o)
	m.clock = m.table.Clock()
}

// connect makes the client, and in coherence mode Broadcast the bus.
func (m *Manager) connect(ctx context.Context, opt rueidis.ClientOption, topo *atomic.Pointer[topology.Watcher]) (err error) {
	m.feed.option = opt
	m.dialer = successor.New(opt, func(addr string, err error) {
		m.opts.Logger.Warn("fleetcache: the server does not end old connections: a write that timed out may land late", "node", addr, "error", err)
	})
	opt.DialCtxFn = m.dialer.Dial
	var teller lease.Teller
	if m.opts.Coherence == Broadcast {
		if m.broadcast, err = openBroadcast(ctx, m); err != nil {
			return err
		}
		teller = m.broadcast
		opt.DisableCache = true
		m.dialer.OnLost = func(node string) { m.onLost(topo.Load(), node) }
	} else {
		opt.NewCacheStoreFn = m.table.NewStore
	}
	if m.client, err = plainclient.Connect(ctx, opt); err != nil {
		m.client = nil
		return err
	}
	m.redis = lease.New(m.client, m.table, teller)
	if m.broadcast != nil {
		m.broadcast.listen(ctx)
	}
	return nil
}

func (m *Manager) start(ctx context.Context, topo *atomic.Pointer[topology.Watcher]) error {
	ctx, cancel := context.WithTimeout(ctx, max(5*time.Second, 2*m.opts.DialTimeout))
	defer cancel()
	if err := m.checkServer(ctx); err != nil {
		return err
	}
	w, err := topology.New(ctx, topology.Config{
		Client:        m.client,
		Table:         m.table,
		Logger:        m.opts.Logger,
		Prefix:        m.opts.Prefix,
		Heartbeat:     m.opts.Heartbeat,
		WatchInterval: m.opts.WatchInterval,
		Timeout:       m.opts.OpTimeout,
		OnUp:          m.onUp,
		OnDown:        m.onDown,
		OnMoved:       m.onMoved,
	})
	if err != nil {
		return err
	}
	m.topo = w
	topo.Store(w)
	w.Beat() // for feeds that were born before there was somebody to ask
	if err := m.probe(ctx); err != nil {
		w.Close()
		return err
	}
	m.wg.Go(m.queue.run)
	m.wg.Go(func() { m.reaper.run(m.ctx) })
	return nil
}

// probe does once what the cache will do all the time, on a key of its own, so
// that a missing permission is an error of Open and not a cache that does not
// work.
func (m *Manager) probe(ctx context.Context) error {
	space, err := key.NewSpace(m.opts.Prefix, "", "fc-probe")
	if err != nil {
		return err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand aborts the process instead
	k := space.Key(hex.EncodeToString(id[:]))
	b, err := envelope.Finish(envelope.Begin(nil, envelope.Header{WriteID: 1, SoftTTL: time.Minute, HardTTL: time.Minute}, k), 0)
	if err != nil {
		return err
	}
	w := lease.Write{Key: k, Envelope: b, TTL: time.Minute, Versioned: true}
	if _, err := m.redis.Acquire(ctx, k, "", "probe", time.Minute); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	if _, err := m.redis.Extend(ctx, k, "probe", time.Minute); err != nil {
		return fmt.Errorf("prolong a claim: %w", err)
	}
	if out, _, err := m.redis.Fill(ctx, w, "probe"); err != nil || out != lease.Stored {
		return fmt.Errorf("fill: outcome %d: %w", out, orForbidden(err))
	}
	w.Track = true
	// Without pushes a command that is refused has an error of its own, and an
	// entry may be gone already by the announcement of the step before.
	kept := func(v lease.Value) bool { return v.Entry != nil || m.broadcast != nil }
	if out, v, err := m.redis.Set(ctx, w); err != nil || out != lease.Stored || !kept(v) {
		return fmt.Errorf("set, and read tracked behind it: outcome %d: %w", out, orForbidden(err))
	}
	v, err := m.redis.Read(ctx, k)
	if err != nil || v.Raw == nil || v.Left <= 0 || !kept(v) {
		return fmt.Errorf("read tracked: %w", orForbidden(err))
	}
	if found, err := m.redis.Expire(ctx, k); err != nil || !found {
		return fmt.Errorf("expire: %w", orForbidden(err))
	}
	if found, err := m.redis.Delete(ctx, k); err != nil || !found {
		return fmt.Errorf("delete: %w", orForbidden(err))
	}
	m.table.Evict(k)
	return nil
}

// orForbidden is the error of a command that did nothing and said nothing,
// because another one in front of it was refused.
func orForbidden(err error) error {
	if err == nil {
		return errors.New("NOPERM: no effect, a command of it seems to be forbidden")
	}
	return err
}

// checkServer refuses a server that is too old, and a cluster that rueidis takes
// for a standalone server because it may not ask for its slots. A server that
// does not say what it is, because of an ACL, is let in.
func (m *Manager) checkServer(ctx context.Context) error {
	for addr, c := range m.client.Nodes() {
		info, err := c.Do(ctx, c.B().Info().Section("server").Build()).ToString()
		if err != nil {
			continue
		}
		if strings.Contains(info, "redis_mode:cluster") && m.client.Mode() != rueidis.ClientModeCluster {
			return fmt.Errorf("NOPERM: node %s is of a cluster, and CLUSTER SLOTS or SHARDS is not allowed", addr)
		}
		for _, line := range strings.Split(info, "\n") {
			v, ok := strings.CutPrefix(line, "redis_version:")
			if !ok {
				continue
			}
			major, _, _ := strings.Cut(strings.TrimSpace(v), ".")
			if n, err := strconv.Atoi(major); err == nil && n < 7 {
				return fmt.Errorf("node %s runs version %s: Redis 7.0 or Valkey 8 is needed", addr, strings.TrimSpace(v))
			}
			return nil
		}
	}
	return nil
}

func (m *Manager) onUp(n *topology.Node) {
	m.table.KillDetached()
	m.queue.wake()
	if n != nil && m.opts.Observer != nil {
		m.opts.Observer.Recovered(m.ctx, RecoveredEvent{Node: n.Addr})
	}
}

// onMoved sends the invalidations of the last moments again that a failover may
// have lost.
func (m *Manager) onMoved(moved func(slot uint16) bool, silence time.Duration) {
	m.recent.again(silence, func(key string) bool { return moved(hashslot.Of(key)) })
}

// onLost does the same for a node whose connection ended: it may have been
// restarted.
func (m *Manager) onLost(w *topology.Watcher, node string) {
	if w == nil || m.closed.Load() {
		return
	}
	m.recent.again(w.Silence(), func(key string) bool { return addr(w.For(key)) == node })
}

func (m *Manager) onDown(n *topology.Node) {
	if m.opts.Observer != nil {
		m.opts.Observer.Degraded(m.ctx, DegradedEvent{Node: n.Addr})
	}
}

// Client returns the rueidis client, for everything else. What is read there
// with DoCache is kept in the same near cache, within Options.ClientCacheBytes
// and with the same bound on its age. It must not be closed.
func (m *Manager) Client() rueidis.Client { return m.client }

// Ping asks every primary once, and returns the errors of those that did not
// answer within OpTimeout, each a [*NodeError].
func (m *Manager) Ping(ctx context.Context) error {
	if m.closed.Load() {
		return ErrClosed
	}
	nodes := m.topo.Nodes()
	clients := m.client.Nodes()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			c := clients[n.Addr]
			if c == nil {
				errs[i] = &NodeError{Node: n.Addr, Err: errors.New("not connected")}
				return
			}
			octx, cancel := context.WithTimeout(ctx, m.opts.OpTimeout)
			defer cancel()
			if err := c.Do(octx, c.B().Ping().Build()).Error(); err != nil {
				errs[i] = &NodeError{Node: n.Addr, Err: m.opError(ctx, err)}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Available reports whether every primary answered its last beat. It does not
// block.
func (m *Manager) Available() bool {
	if m.closed.Load() {
		return false
	}
	nodes := m.topo.Health()
	for _, n := range nodes {
		if !n.Reachable || n.BreakerOpen {
			return false
		}
	}
	return len(nodes) > 0
}

// Health is what is known of one primary.
type Health struct {
	// Addr is the address the node announces.
	Addr string
	// Reachable reports whether the last beat was answered.
	Reachable bool
	// BreakerOpen reports whether operations on the node fail at once,
	// because beats went unanswered in a row.
	BreakerOpen bool
	// FeedAge is how long ago the newest beat that came back was sent;
	// negative if there is no live connection. Values of the node are served
	// from memory only while it is at most Options.MaxStaleness.
	FeedAge time.Duration
	// Err is why the last beat failed, empty if it did not.
	Err string
}

// Health returns what is known of each primary, without asking. It does not
// block.
func (m *Manager) Health() []Health {
	nodes := m.topo.Health()
	out := make([]Health, len(nodes))
	for i, n := range nodes {
		out[i] = Health(n)
	}
	return out
}

// Stats returns the counts of the Manager and the sum of those of its
// services. It takes some microseconds.
func (m *Manager) Stats() Stats {
	var s Stats
	m.mu.Lock()
	for _, g := range m.groups {
		for _, c := range *g.cores.Load() {
			s.add(c.n.stats())
		}
	}
	m.mu.Unlock()
	s.addNear(m.table.Stats())
	s.SlotMoves, s.SlotKills = m.topo.Moves.Load(), m.topo.Kills.Load()
	m.queue.addTo(&s)
	s.Tokens = m.tokens.held.EstimatedSize()
	s.L1Entries = max(0, s.L1Entries-s.Tokens)
	s.Marks, s.MarkErrors = m.marks.Load(), m.markErrors.Load()
	s.Unfenced = m.dialer.Unfenced.Load()
	if m.broadcast != nil {
		s.AnnounceErrors = m.broadcast.failed.Load()
	}
	return s
}

// Flush waits until no invalidation is left that could not be delivered, and
// returns an error when ctx ends before: it says how many are left, and they
// are still tried. It returns at once if there are none.
func (m *Manager) Flush(ctx context.Context) error {
	if m.closed.Load() {
		return ErrClosed
	}
	return m.queue.flush(ctx)
}

// Close ends the Manager: loads in flight are cancelled and sweeps of
// InvalidatePattern stopped, their callers get errors, and all goroutines have
// ended when it returns, but for loaders that do not heed their context.
// Invalidations that wait in the queue are tried once more, and returned as an
// error if they are still not delivered. Calls after the first do nothing and
// return nil.
func (m *Manager) Close() (err error) {
	m.closeOnce.Do(func() {
		m.closed.Store(true)
		m.mu.Lock()
		var cores []*core
		for _, g := range m.groups {
			cores = append(cores, *g.cores.Load()...)
		}
		m.mu.Unlock()
		for _, c := range cores {
			c.close()
		}
		m.tokens.close()
		m.events.close()
		m.cancel()
		m.wg.Wait()
		err = errors.Join(m.queue.last(), m.feed.close())
		m.topo.Close()
		m.client.Close()
	})
	return err
}

// join adds a service to those that share its keys.
func (m *Manager) join(name string, c *core) *group {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.groups[name]
	if g == nil {
		g = &group{}
		g.cores.Store(&[]*core{})
		m.groups[name] = g
	}
	old := *g.cores.Load()
	cores := append(old[:len(old):len(old)], c)
	g.cores.Store(&cores)
	return g
}

// do runs one operation on the node of key, within OpTimeout. Failures make the
// node be asked for a beat; while its breaker is open, nothing is sent.
func (m *Manager) do(ctx context.Context, key string, op func(context.Context) error) error {
	if err := m.serving(key); err != nil {
		return err
	}
	n := m.topo.For(key)
	octx, cancel := m.opContext(ctx)
	err := op(octx)
	cancel()
	return m.done(ctx, n, err)
}

// serving returns an error if the node of key is taken to be down.
func (m *Manager) serving(key string) error {
	if n := m.topo.For(key); n == nil || n.Open() {
		return &NodeError{Node: addr(n), Err: errNotServing}
	}
	return nil
}

// opContext bounds an operation by OpTimeout. Operations whose own context
// cannot end share one that ends a little later, so that most need no timer.
func (m *Manager) opContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Done() != nil {
		return context.WithTimeout(ctx, m.opts.OpTimeout)
	}
	slice := int64(m.opts.OpTimeout / 10)
	now := m.now()
	if s := m.opShared.Load(); s != nil && now-s.began < slice {
		return s.ctx, func() {}
	}
	s := &sharedContext{began: now}
	// The timer ends it; Close does for those that are left.
	s.ctx, s.cancel = context.WithTimeout(m.ctx, m.opts.OpTimeout+time.Duration(slice))
	m.opShared.Store(s)
	return s.ctx, func() {}
}

// sharedContext is a context for operations that begin within one slice of
// time.
type sharedContext struct {
	ctx    context.Context
	cancel context.CancelFunc // kept for vet: the timeout calls it
	began  int64
}

// done accounts for the outcome of an operation on a node.
func (m *Manager) done(ctx context.Context, n *topology.Node, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() == nil {
		m.topo.Report(n, err)
	}
	err = m.opError(ctx, err)
	if ctx.Err() != nil || errors.Is(err, ErrClosed) {
		return err
	}
	return &NodeError{Node: addr(n), Err: err}
}

var errNotServing = errors.New("does not answer")

func addr(n *topology.Node) string {
	if n == nil {
		return ""
	}
	return n.Addr
}

// opError tells the caller's deadline from ours, and the end of the Manager
// from both.
func (m *Manager) opError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case m.closed.Load() || errors.Is(err, rueidis.ErrClosing) && m.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", m.opts.OpTimeout)
	}
	return err
}

// foreign reports whether an entry came from another node than the one that is
// known to own its slot: nobody would end it if that node gave the slot away
// before we look.
func (m *Manager) foreign(e *near.Entry) bool {
	n, from := m.topo.For(e.Key()), e.Feed().Node()
	return from != "" && n != nil && n.Addr != from
}

// now returns the time all deadlines of the near cache are in.
func (m *Manager) now() int64 { return m.clock.Now() }

func since(now, then int64) time.Duration { return time.Duration(now - then) }

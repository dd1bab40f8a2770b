package rc_test

import (
	"cmp"
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// patience is how long a test waits for an event that must come. It decides
// only that a test fails.
const patience = 10 * time.Second

var errBoom = errors.New("boom")

// calm are options for tests that hold replies back: nothing times out, and
// the values in memory stay trusted meanwhile.
func calm() rc.Options {
	return rc.Options{OpTimeout: time.Minute, MaxStaleness: 10 * time.Minute, Heartbeat: 100 * time.Millisecond}
}

// quiet are calm options with no beat in sight, so that nothing is replayed
// but by what the test does.
func quiet() rc.Options {
	return rc.Options{OpTimeout: time.Minute, MaxStaleness: 10 * time.Minute, Heartbeat: 3 * time.Minute, WatchInterval: 3 * time.Minute}
}

func start(t *testing.T) *rctest.Server {
	t.Helper()
	srv := rctest.Start()
	t.Cleanup(srv.Close)
	return srv
}

// open opens a Manager. One whose times a test leaves open has patience: that
// the machine is busy is no fault.
func open(t *testing.T, srv *rctest.Server, opts rc.Options) *rc.Manager {
	t.Helper()
	opts.OpTimeout = cmp.Or(opts.OpTimeout, 20*time.Second)
	opts.MaxStaleness = cmp.Or(opts.MaxStaleness, time.Minute)
	m, err := srv.Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return m
}

// service makes a service of a namespace that all tests share, with times that
// leave nothing to chance.
func service[T any](t *testing.T, m *rc.Manager, cfg rc.Config[T]) *rc.CacheService[T] {
	t.Helper()
	if cfg.TTL == 0 {
		cfg.TTL = time.Minute
	}
	if cfg.Jitter == 0 {
		cfg.Jitter = rc.Off
	}
	if cfg.EarlyBeta == 0 {
		cfg.EarlyBeta = rc.Off
	}
	s, err := rc.New(m, "race", cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return s
}

// instance opens a Manager and makes a service on it.
func instance(t *testing.T, srv *rctest.Server, opts rc.Options, cfg rc.Config[string]) (*rc.Manager, *rc.CacheService[string]) {
	t.Helper()
	m := open(t, srv, opts)
	return m, service(t, m, cfg)
}

// loader is a load function that waits for the test.
type loader struct {
	calls atomic.Int32
	begun chan struct{}
	out   chan result
}

type result struct {
	v   string
	err error
}

func newLoader() *loader {
	return &loader{begun: make(chan struct{}, 1000), out: make(chan result, 1000)}
}

// load heeds its context, as loaders should.
func (l *loader) load(ctx context.Context) (string, error) {
	l.calls.Add(1)
	l.begun <- struct{}{}
	select {
	case r := <-l.out:
		return r.v, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (l *loader) begin(t *testing.T) {
	t.Helper()
	event(t, l.begun, "the loader to begin")
}

func (l *loader) finish(v string, err error) { l.out <- result{v, err} }

// gives is a load function that returns v and counts its calls.
func gives(v string, n *atomic.Int32) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		n.Add(1)
		return v, nil
	}
}

func fails(err error, n *atomic.Int32) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		n.Add(1)
		return "", err
	}
}

// never is a load function that must not be called.
func never(t *testing.T) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		t.Error("the loader was called, want the cached value")
		return "", errBoom
	}
}

// future is a call on a goroutine of its own.
type future struct {
	done chan struct{}
	v    string
	err  error
	// panicked is what the call panicked with.
	panicked any
}

func async(f func() (string, error)) *future {
	fu := &future{done: make(chan struct{})}
	go func() { // ends with f
		defer close(fu.done)
		defer func() { fu.panicked = recover() }()
		fu.v, fu.err = f()
	}()
	return fu
}

func (f *future) get(t *testing.T) (string, error) {
	t.Helper()
	event(t, f.done, "a call to return")
	if f.panicked != nil {
		t.Fatalf("a call panicked: %v", f.panicked)
	}
	return f.v, f.err
}

func (f *future) want(t *testing.T, want string) {
	t.Helper()
	if v, err := f.get(t); v != want || err != nil {
		t.Errorf("a call that waited = %q, %v, want %q", v, err, want)
	}
}

// event waits for a channel.
func event(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
	}
}

// until waits for a condition that no channel tells of.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// waiting is a context that tells when a call of the library waits on it.
type waiting struct {
	context.Context
	in   string // in a function whose name contains this
	once sync.Once
	ch   chan struct{}
}

// joined returns a context and a channel that is closed when a GetOrSet with
// it waits for a load of this process.
func joined(ctx context.Context) (context.Context, <-chan struct{}) {
	w := &waiting{Context: ctx, in: "flight.(*Group).Do", ch: make(chan struct{})}
	return w, w.ch
}

func (w *waiting) Done() <-chan struct{} {
	var pcs [1]uintptr
	if runtime.Callers(2, pcs[:]) == 1 {
		f, _ := runtime.CallersFrames(pcs[:]).Next()
		if strings.Contains(f.Function, w.in) {
			w.once.Do(func() { close(w.ch) })
		}
	}
	return w.Context.Done()
}

func set(t *testing.T, s *rc.CacheService[string], id, v string) {
	t.Helper()
	if err := s.Set(t.Context(), id, v); err != nil {
		t.Fatalf("Set(%q, %q) = %v", id, v, err)
	}
}

// cached checks what Get returns; "" for nothing. The write of another instance
// may still be on its way here as a push, so it gives that its time. That an
// instance sees its own writes at once is for the tests of that.
func cached(t *testing.T, s *rc.CacheService[string], id, want string) {
	t.Helper()
	began := time.Now()
	for {
		last := time.Since(began) > patience // only what is read after that counts
		v, found, err := s.Get(t.Context(), id)
		if v == want && found == (want != "") && err == nil {
			return
		}
		if err != nil || last {
			t.Errorf("Get(%q) = %q, %v, %v, want %q", id, v, found, err, want)
			return
		}
	}
}

// fill checks that GetOrSet loads v.
func fill(t *testing.T, s *rc.CacheService[string], id, v string) {
	t.Helper()
	var n atomic.Int32
	f := async(func() (string, error) { return s.GetOrSet(t.Context(), id, gives(v, &n)) })
	if got, err := f.get(t); got != v || err != nil || n.Load() != 1 {
		t.Errorf("GetOrSet(%q) = %q, %v with %d loads, want %q with 1", id, got, err, n.Load(), v)
	}
}

// key returns the Redis key of an identifier.
func key(t *testing.T, s *rc.CacheService[string], id string) string {
	t.Helper()
	k, err := s.Key(id)
	if err != nil {
		t.Fatalf("Key(%q): %v", id, err)
	}
	return k
}

func do(t *testing.T, srv *rctest.Server, args ...string) any {
	t.Helper()
	v, err := srv.Do(args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return v
}

// warm makes the server know the scripts: a Hold of EVALSHA then holds the
// call that does something.
func warm(t *testing.T, s *rc.CacheService[string]) {
	t.Helper()
	ctx := t.Context()
	fill(t, s, "warm", "v")
	_, _ = s.GetOrSet(ctx, "warm-failed", func(context.Context) (string, error) { return "", errBoom })
	set(t, s, "warm", "v")
	if err := s.Expire(ctx, "warm"); err != nil {
		t.Fatalf("Expire: %v", err)
	}
}

// a link is the connections of one Manager, on which pushes can be held back:
// what the server sends from the next push on stays in the pipe.
type link struct {
	srv *rctest.Server

	mu      sync.Mutex // protects the rest
	changed *sync.Cond
	holding bool
	held    chan struct{} // closed when a push is being held
	conns   []*linkConn
}

func newLink(srv *rctest.Server) *link {
	l := &link{srv: srv}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// linked opens a Manager whose connections are a link.
func linked(t *testing.T, srv *rctest.Server, opts rc.Options) (*rc.Manager, *link) {
	t.Helper()
	l := newLink(srv)
	m, err := srv.OpenDial(t.Context(), opts, l.dial)
	if err != nil {
		t.Fatalf("OpenDial: %v", err)
	}
	t.Cleanup(l.release)
	return m, l
}

func (l *link) dial(ctx context.Context) (net.Conn, error) {
	c, err := l.srv.Dial(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lc := &linkConn{Conn: c, l: l}
	l.conns = append(l.conns, lc)
	return lc, nil
}

// hold holds the next push and all that follows. The channel is closed when
// there is one.
func (l *link) hold() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding, l.held = true, make(chan struct{})
	return l.held
}

func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding = false
	l.changed.Broadcast()
}

// cut closes the connections; what they hold is lost.
func (l *link) cut() {
	l.mu.Lock()
	conns := l.conns
	l.conns, l.holding = nil, false
	l.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

type linkConn struct {
	net.Conn
	l      *link
	buf    []byte // protected by l.mu
	closed bool   // protected by l.mu
}

func (c *linkConn) Close() error {
	c.l.mu.Lock()
	c.closed = true
	c.l.changed.Broadcast()
	c.l.mu.Unlock()
	return c.Conn.Close()
}

const pushMark = ">2\r\n$10\r\ninvalidate\r\n"

// ready returns how much of the buffer may be read. It waits while that is
// nothing because a push is being held.
func (c *linkConn) ready() (n int, closed bool) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	for {
		n = len(c.buf)
		if c.l.holding {
			if i := strings.Index(string(c.buf), pushMark); i >= 0 {
				n = i
			}
		}
		if n > 0 || len(c.buf) == 0 || c.closed {
			return n, c.closed
		}
		select {
		case <-c.l.held:
		default:
			close(c.l.held)
		}
		c.l.changed.Wait()
	}
}

func (c *linkConn) Read(p []byte) (int, error) {
	n, closed := c.ready()
	if closed {
		return 0, net.ErrClosed
	}
	if n == 0 {
		in := make([]byte, 64<<10)
		n, err := c.Conn.Read(in)
		if err != nil {
			return 0, err
		}
		c.l.mu.Lock()
		c.buf = append(c.buf, in[:n]...)
		c.l.mu.Unlock()
		return c.Read(p)
	}
	n = copy(p, c.buf[:n])
	c.l.mu.Lock()
	c.buf = c.buf[n:]
	c.l.mu.Unlock()
	return n, nil
}

// leaseKey returns the Redis key of the claim on an identifier.
func leaseKey(t *testing.T, s *rc.CacheService[string], id string) string {
	t.Helper()
	return lease.Key(key(t, s, id))
}

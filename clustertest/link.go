package clustertest

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/redis/rueidis"
)

// addressBook tells a link where nodes are. It may change at any time.
type addressBook interface {
	// resolve returns where this process reaches the server that announces the
	// address, dead or alive. It reports false if there is no such server. It
	// must not block.
	resolve(announced string) (reach string, ok bool)

	// Export returns everything else, as of now.
	Export() Exported
}

// Link is the way from one client to the servers of a deployment. It maps the
// addresses that servers announce to those this process can reach, and can be
// cut, blackholed and delayed: the faults of a network, as one client sees them.
// [Cluster.Link], [Cluster.NewLink] and [NewLinkFrom] make one; the zero value
// is of no use. Its methods may be called concurrently.
//
// Faults name servers by the address they announce ([Node.Announced]), and all
// servers if they name none, also those that are added later. They hold for
// open connections and for new ones, and have taken effect when the method
// returns: bytes that the operating system had accepted before may still
// arrive. Faults of different kinds add up until [Link.Heal]. Without a fault, a
// connection costs a lock nobody contends for and an atomic load per call, and
// a call goes straight to the operating system.
type Link struct {
	book    addressBook
	running sync.WaitGroup // goroutines of connections with a fault

	mu      sync.Mutex // protects the fields below; taken before a flow's
	all     fault      // of addresses that ways does not name
	ways    map[string]fault
	conns   map[*conn]struct{}
	changed chan struct{} // closed and replaced when a fault changes
	dials   uint64        // seeds the jitter of each connection
	rng     *rand.Rand    // of the jitter of dials
	closed  bool
}

func newLink(book addressBook) *Link {
	return &Link{
		book:    book,
		ways:    map[string]fault{},
		conns:   map[*conn]struct{}{},
		changed: make(chan struct{}),
		rng:     rand.New(rand.NewPCG(0, 0)),
	}
}

// ClientOption returns what rueidis.NewClient needs to use the deployment
// through this link: addresses, dialer, credentials, TLS, and the mode. The
// caller may change the rest, for example ShardsRefreshInterval, by which a
// client notices a failover without being told.
func (l *Link) ClientOption() rueidis.ClientOption {
	e := l.book.Export()
	o := rueidis.ClientOption{
		Username:  e.Username,
		Password:  e.Password,
		TLSConfig: tlsConfig(e),
		DialCtxFn: l.dialRueidis,
	}
	servers := e.Nodes
	switch e.Mode {
	case Replicated:
		servers = servers[:min(1, len(servers))]
		o.ForceSingleClient = true
	case SentinelMode:
		servers = e.Sentinels
		o.Sentinel = rueidis.SentinelOption{MasterSet: e.Master, Password: e.SentinelPassword, TLSConfig: o.TLSConfig}
	}
	for _, s := range servers {
		o.InitAddress = append(o.InitAddress, s.Announced)
	}
	return o
}

// tlsConfig returns nil for a deployment without TLS.
func tlsConfig(e Exported) *tls.Config {
	if e.CA == "" {
		return nil
	}
	return (&authority{ca: []byte(e.CA)}).config()
}

// dialRueidis is a rueidis.ClientOption.DialCtxFn.
func (l *Link) dialRueidis(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
	// The dialer knows nothing of how long faults and TLS take.
	if d.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		ctx = limited
	}
	return l.dialTLS(ctx, d, "tcp", addr, cfg)
}

// DialContext connects to the server that announces addr, for clients other
// than rueidis: it is a go-redis Dialer. It does no TLS; see
// [Link.DialTLSContext]. It blocks until ctx ends while the way is blackholed.
// The network is that of [net.Dialer.DialContext], in general "tcp".
func (l *Link) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.dialTLS(ctx, &net.Dialer{}, network, addr, nil)
}

// DialTLSContext is [Link.DialContext] followed by a TLS handshake if the
// deployment uses TLS, for clients that leave TLS to their dialer, as go-redis
// does.
func (l *Link) DialTLSContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.dialTLS(ctx, &net.Dialer{}, network, addr, tlsConfig(l.book.Export()))
}

// dialTLS leaves TLS out if cfg is nil.
func (l *Link) dialTLS(ctx context.Context, d *net.Dialer, network, addr string, cfg *tls.Config) (net.Conn, error) {
	raw, err := l.dial(ctx, d, network, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: announcedAddr(addr), Err: err}
	}
	if cfg == nil {
		return raw, nil
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error is what counts
		return nil, fmt.Errorf("clustertest: TLS handshake with %s: %w", addr, err)
	}
	return conn, nil
}

// announcedAddr is the address of a server in errors.
type announcedAddr string

func (announcedAddr) Network() string  { return "tcp" }
func (a announcedAddr) String() string { return string(a) }

// dial waits as long as faults want, connects, and registers the connection.
func (l *Link) dial(ctx context.Context, d *net.Dialer, network, addr string) (*conn, error) {
	for delayed := false; ; {
		wait, changed, err := l.beforeDial(addr, delayed)
		if err != nil {
			return nil, err
		}
		if wait != 0 {
			delayed, err = pause(ctx, wait, changed)
			if err != nil {
				return nil, err
			}
			continue
		}
		reach, ok := l.book.resolve(addr)
		if !ok {
			return nil, fmt.Errorf("no server announces this address, only %v do", l.announced())
		}
		raw, err := d.DialContext(ctx, network, reach)
		if err != nil {
			return nil, fmt.Errorf("reached at %s: %w", reach, err)
		}
		if c := l.register(addr, raw); c != nil {
			return c, nil
		}
		_ = raw.Close() // a fault came meanwhile; nobody has used it
	}
}

// beforeDial returns how long a dial has to wait, or until changed is closed;
// less than 0 is for ever. A dial that has been delayed is not delayed again.
func (l *Link) beforeDial(addr string, delayed bool) (wait time.Duration, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.faultLocked(addr)
	switch {
	case l.closed:
		return 0, nil, net.ErrClosed
	case f.cut:
		return 0, nil, fmt.Errorf("cut by clustertest.Link: %w", syscall.ECONNREFUSED)
	case f.hole:
		wait = -1
	case !delayed:
		wait = f.roundTrip(l.rng)
	}
	return wait, l.changed, nil
}

// pause waits for d to pass, for ever if it is negative, and reports whether it
// has: it also returns when changed is closed.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) (passed bool, err error) {
	var after <-chan time.Time
	if d >= 0 {
		after = time.After(d)
	}
	select {
	case <-after:
		return true, nil
	case <-changed:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (l *Link) faultLocked(addr string) fault {
	if f, ok := l.ways[addr]; ok {
		return f
	}
	return l.all
}

func (l *Link) announced() []string {
	var addrs []string
	for _, s := range l.book.Export().servers() {
		addrs = append(addrs, s.Announced)
	}
	return addrs
}

// register makes a connection subject to faults. It returns nil if there is one
// already that would not have let it come about.
func (l *Link) register(addr string, raw net.Conn) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.faultLocked(addr)
	if l.closed || f.cut || f.hole {
		return nil
	}
	l.dials++
	c := newConn(l, addr, raw, l.dials)
	l.conns[c] = struct{}{}
	c.set(f)
	return c
}

func (l *Link) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

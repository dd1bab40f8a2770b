package busproxy

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// acceptPause is how long a proxy waits after a failed accept, for example
// because the process is out of file descriptors.
const acceptPause = 10 * time.Millisecond

// Proxy stands in front of the bus port of one node. [Switch.Add] makes one;
// the zero value is of no use.
type Proxy struct {
	sw       *Switch
	listener *net.TCPListener
	target   string          // host:port of the node's own bus port
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup // the accept loop and the links

	// Protected by sw.mu.
	id     string
	links  map[*link]struct{}
	closed bool
}

// Add puts a proxy in front of busPort of 127.0.0.1. It listens on a port of
// 127.0.0.1 that the kernel chose and keeps it until it is closed, whether or
// not anything listens on busPort: a node may be killed and started again
// behind it. While nothing does, connections are accepted and closed.
func (s *Switch) Add(busPort int) (*Proxy, error) {
	if busPort < 1 || busPort > 65535 {
		return nil, fmt.Errorf("busproxy: bus port is %d, want 1 to 65535", busPort)
	}
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("busproxy: listen for bus port %d: %w", busPort, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		sw:       s,
		listener: listener,
		target:   net.JoinHostPort("127.0.0.1", strconv.Itoa(busPort)),
		ctx:      ctx,
		cancel:   cancel,
		links:    map[*link]struct{}{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		cancel()
		_ = listener.Close() // nobody has connected
		return nil, ErrClosed
	}
	s.proxies[p] = struct{}{}
	p.running.Go(p.accept) // until Close, which waits for it
	return p, nil
}

// Port returns the port for others to connect to: the node's
// cluster-announce-bus-port, and the bus port to name in CLUSTER MEET.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// SetID tells the node's id (CLUSTER MYID), by which [Switch.Cut] names it. It
// has to be told again when it has changed. A cut in force applies with the new
// id at once: links that are not allowed any more are closed.
func (p *Proxy) SetID(id string) {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	p.id = id
	p.sw.sweepLocked()
}

// Close stops listening, closes all links, and returns when nothing of the
// proxy runs any more. The node's id becomes unknown. Closing again does
// nothing.
func (p *Proxy) Close() {
	p.sw.mu.Lock()
	p.closed = true
	delete(p.sw.proxies, p)
	_ = p.listener.Close() // it was the only thing to do with it
	for l := range p.links {
		l.closeLocked()
	}
	p.sw.mu.Unlock()
	p.cancel()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.AcceptTCP()
		if err == nil {
			p.running.Go(func() { p.serve(conn) }) // until the link is closed
			continue
		}
		select {
		case <-p.ctx.Done():
			return
		case <-time.After(acceptPause):
		}
	}
}

// serve owns one connection of another node.
func (p *Proxy) serve(client *net.TCPConn) {
	l := p.open(client)
	if l == nil {
		return
	}
	defer p.drop(l)
	first, from, err := readFirst(client)
	if err != nil || !p.admit(l, from) {
		return
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(p.ctx, "tcp4", p.target)
	if err != nil {
		return // the node is dead: close, as its own port would refuse
	}
	server := conn.(*net.TCPConn)
	if !p.attach(l, server) {
		return
	}
	if _, err := server.Write(first); err != nil {
		return
	}
	forward(client, server)
}

// open registers a connection that has said nothing yet. It returns nil, and
// has closed it, if the proxy is closed.
func (p *Proxy) open(client *net.TCPConn) *link {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	l := &link{client: client}
	if p.closed {
		l.closeLocked()
		return nil
	}
	p.links[l] = struct{}{}
	return l
}

// admit names the origin of a link and reports whether it may exist. From here
// on a cut closes it.
func (p *Proxy) admit(l *link, from string) bool {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	l.from = from
	return !l.closed && p.sw.allowedLocked(from, p.id)
}

// attach makes the connection to the node part of the link. It reports false
// if the link has been closed since it was admitted.
func (p *Proxy) attach(l *link, server *net.TCPConn) bool {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	l.server = server
	if l.closed {
		_ = server.Close() // nothing was written
		return false
	}
	return true
}

// drop closes a link and forgets it.
func (p *Proxy) drop(l *link) {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	l.closeLocked()
	delete(p.links, l)
}

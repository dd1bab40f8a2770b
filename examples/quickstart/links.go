package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"github.com/redis/rueidis"
)

var errLinkCut = errors.New("link is cut")

// links are the connections between the fleet and Redis. They can be cut,
// whatever Redis it is, without harm to anybody else on it.
type links struct {
	mu   sync.Mutex // protects the fields below
	down bool
	open map[*link]struct{}
}

func newLinks() *links { return &links{open: map[*link]struct{}{}} }

// through returns opt with all its connections made through the links.
func (l *links) through(opt rueidis.ClientOption) rueidis.ClientOption {
	dial := opt.DialCtxFn // set for the in-process Redis and for unix sockets
	if dial == nil {
		dial = dialTCP
	}
	opt.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, c *tls.Config) (net.Conn, error) {
		if l.isDown() {
			return nil, errLinkCut
		}
		conn, err := dial(ctx, addr, d, c)
		if err != nil {
			return nil, err
		}
		return l.add(conn)
	}
	return opt
}

func dialTCP(ctx context.Context, addr string, d *net.Dialer, c *tls.Config) (net.Conn, error) {
	if c != nil {
		return (&tls.Dialer{NetDialer: d, Config: c}).DialContext(ctx, "tcp", addr)
	}
	return d.DialContext(ctx, "tcp", addr)
}

func (l *links) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// add keeps a connection to be cut. The links may have been cut while it was
// made.
func (l *links) add(conn net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.Join(errLinkCut, conn.Close())
	}
	c := &link{Conn: conn, all: l}
	l.open[c] = struct{}{}
	return c, nil
}

// cut closes all connections and refuses new ones until mend. It returns how
// many there were.
func (l *links) cut() int {
	l.mu.Lock()
	l.down = true
	open := l.open
	l.open = map[*link]struct{}{}
	l.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close()
	}
	return len(open)
}

// mend lets connections be made again.
func (l *links) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// A link is one connection.
type link struct {
	net.Conn
	all *links
}

// Close closes the connection.
func (c *link) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

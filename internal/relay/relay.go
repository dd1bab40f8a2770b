// Package relay is a network for tests that can hold what a client sends, and
// deliver it after the client has given the connection up: what becomes of
// bytes in the socket of a frozen server, or behind a fault.
package relay

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A Relay makes connections to one server. Its zero value is of no use.
type Relay struct {
	to      string
	release chan struct{}

	mu   sync.Mutex // protects open
	open []*atomic.Bool
}

// New returns a relay to a server.
func New(to string) *Relay { return &Relay{to: to, release: make(chan struct{})} }

// Hold keeps back what is sent from now on over the connections there are. New
// ones are not affected.
func (r *Relay) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, holding := range r.open {
		holding.Store(true)
	}
}

// Release delivers what was held on connections that have been closed, and
// will be on those that are closed later. It must be called once.
func (r *Relay) Release() { close(r.release) }

// Dial connects to the server, whatever address is asked for.
func (r *Relay) Dial(ctx context.Context, _ string, nd *net.Dialer, _ *tls.Config) (net.Conn, error) {
	server, err := nd.DialContext(ctx, "tcp", r.to)
	if err != nil {
		return nil, err
	}
	client, inner := net.Pipe()
	holding := new(atomic.Bool)
	r.mu.Lock()
	r.open = append(r.open, holding)
	r.mu.Unlock()
	go func() { // ends with the connection at the server
		_, _ = io.Copy(inner, server)
		_ = inner.Close()
	}()
	go r.forward(inner, server, holding) // ends when the client is gone and all is delivered
	return client, nil
}

func (r *Relay) forward(inner io.Reader, server net.Conn, holding *atomic.Bool) {
	defer server.Close()
	buf := make([]byte, 64<<10)
	var late []byte
	for {
		n, err := inner.Read(buf)
		if holding.Load() || late != nil {
			late = append(late, buf[:n]...)
		} else if n > 0 {
			_, _ = server.Write(buf[:n]) // a server that is gone shows as the end of its output
		}
		if err != nil {
			break
		}
	}
	if late != nil {
		<-r.release
		_, _ = server.Write(late)
		_, _ = io.Copy(io.Discard, server) // until the server has executed it and closes
	}
}

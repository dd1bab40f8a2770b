package fakeredis

import (
	"net"
	"os"
	"sync"
	"time"
)

// network is the Network of the addresses of both ends of a connection.
const network = "fake"

// addr is the address of an end of an in-memory connection.
type addr string

func (addr) Network() string  { return network }
func (a addr) String() string { return string(a) }

// conn is the client's end of a connection. It is a complete net.Conn: reads
// and writes may be concurrent, deadlines and Close work at any time.
type conn struct {
	in  *stream // server to client
	out *stream // client to server

	local string
	once  sync.Once
	hup   chan struct{} // closed by Close

	mu            sync.Mutex // protects writeDeadline
	writeDeadline time.Time
}

func newConn(local string) *conn {
	return &conn{in: newStream(), out: newStream(), local: local, hup: make(chan struct{})}
}

func (c *conn) Read(p []byte) (int, error) { return c.in.read(p) }

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	late := !c.writeDeadline.IsZero() && !time.Now().Before(c.writeDeadline)
	c.mu.Unlock()
	select {
	case <-c.hup:
		return 0, net.ErrClosed
	default:
	}
	if late {
		return 0, os.ErrDeadlineExceeded
	}
	if err := c.out.write(p, 0); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the connection. The server still reads what was written before.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = nil
		close(c.hup)
		c.out.closeWrite()
		c.in.closeRead()
	})
	return err
}

func (c *conn) LocalAddr() net.Addr  { return addr(c.local) }
func (c *conn) RemoteAddr() net.Addr { return addr(address) }

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	select {
	case <-c.hup:
		return net.ErrClosed
	default:
	}
	c.in.setDeadline(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	select {
	case <-c.hup:
		return net.ErrClosed
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeDeadline = t
	return nil
}

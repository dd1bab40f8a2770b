package clustertest

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"
)

// conn is a connection through a link. Without a fault, calls go to raw. With
// one, bytes go through a queue per direction and a goroutine, the pump, that
// moves them between queue and raw. A direction goes back to raw when its faults
// have ended and its queue is empty.
type conn struct {
	link   *Link
	addr   string // as announced
	raw    net.Conn
	in     inbound
	out    outbound
	closed atomic.Bool // by the user
}

func newConn(l *Link, addr string, raw net.Conn, seed uint64) *conn {
	c := &conn{link: l, addr: addr, raw: raw}
	// What runs ends when the connection is closed or its faults have ended;
	// Link.Close waits for it.
	c.in.init(raw, raw.SetReadDeadline, l.running.Go, rand.New(rand.NewPCG(seed, 0)))
	c.out.init(raw, raw.SetWriteDeadline, l.running.Go, rand.New(rand.NewPCG(seed, 1)))
	c.out.gone = func() { _ = c.discard() } // nobody is left to tell
	return c
}

// Read implements [net.Conn].
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.explain("read", &c.in.flow, err)
}

// Write implements [net.Conn].
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.explain("write", &c.out.flow, err)
}

// explain makes an error what the user of a plain connection gets: if the
// connection was closed or cut under the call, the reason for that.
func (c *conn) explain(op string, f *flow, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if why := f.reason(); why != nil {
		err = why
	}
	if e := (*net.OpError)(nil); errors.As(err, &e) {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close implements [net.Conn]. It does not wait for bytes that a fault holds
// back; see [Link.Blackhole] for what becomes of them.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return &net.OpError{Op: "close", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: net.ErrClosed}
	}
	c.in.shut(net.ErrClosed)
	if c.out.shut(net.ErrClosed) {
		return nil
	}
	return c.discard()
}

// discard closes raw and forgets the connection.
func (c *conn) discard() error {
	c.link.forget(c)
	err := c.raw.Close()
	if errors.Is(err, net.ErrClosed) { // by a cut
		return nil
	}
	return err
}

// abort resets the connection and loses what is held back.
func (c *conn) abort(why error) {
	c.in.kill(why)
	c.out.kill(why)
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails if it is closed, and then is not needed
	}
	_ = c.raw.Close()
}

// set puts a fault other than a cut in force.
func (c *conn) set(f fault) {
	c.in.set(f)
	c.out.set(f)
}

// LocalAddr implements [net.Conn].
func (c *conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr implements [net.Conn]. It is the address at which the server was
// reached, not the one it announces.
func (c *conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *conn) SetReadDeadline(t time.Time) error {
	return c.explain("set", &c.in.flow, c.in.setDeadline(t))
}

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.explain("set", &c.out.flow, c.out.setDeadline(t))
}

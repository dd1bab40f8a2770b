package busproxy

import (
	"bytes"
	"io"
	"net"
)

// The header of a message of the cluster bus, as far as it matters here: four
// bytes by which it is recognized, and the sender's id.
const (
	signature  = "RCmb"
	idOffset   = 40
	idLen      = 40
	headerRead = idOffset + idLen
)

// link is one connection through a proxy. Its fields are protected by the mu of
// the proxy's switch; client never changes.
type link struct {
	client *net.TCPConn
	server *net.TCPConn // nil until dialled
	from   string       // id of the sender, "" until it is known
	closed bool
}

// closeLocked closes both connections, which ends the goroutines that forward
// between them. The errors are of no use: neither end is used any more.
func (l *link) closeLocked() {
	l.closed = true
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
}

// readFirst reads what names the sender, and returns all it has read. What is
// no message of the cluster bus comes from "". It waits as long as it takes: a
// node may be frozen between connecting and its first word.
func readFirst(conn net.Conn) (first []byte, from string, err error) {
	first = make([]byte, headerRead)
	if _, err := io.ReadFull(conn, first[:len(signature)]); err != nil {
		return nil, "", err
	}
	if string(first[:len(signature)]) != signature {
		return first[:len(signature)], "", nil
	}
	if _, err := io.ReadFull(conn, first[len(signature):]); err != nil {
		return nil, "", err
	}
	return first, string(bytes.TrimRight(first[idOffset:], "\x00")), nil
}

// forward copies in both directions until both have ended. An end that is
// closed for writing only is passed on as such.
func forward(a, b *net.TCPConn) {
	done := make(chan struct{})
	go func() { // ends before forward returns
		defer close(done)
		pass(a, b)
	}()
	pass(b, a)
	<-done
}

// pass copies until src ends. If it ended with an error, the other direction
// cannot be of use either: the link is over.
func pass(dst, src *net.TCPConn) {
	_, err := io.Copy(dst, src)
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		_ = dst.Close() // an error is what ended it
		_ = src.Close()
	}
}

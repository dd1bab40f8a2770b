package successor

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// searched is how much of what a server says is looked at for the id: the reply
// to HELLO is the first, and shorter.
const searched = 4 << 10

// A conn learns its id at the server from the reply to HELLO, and is remembered
// when it is closed.
type conn struct {
	net.Conn
	d    *Dialer
	addr string
	made time.Time
	once sync.Once

	// Used by the one goroutine that reads.
	seen []byte
	done bool // no longer searched

	mu sync.Mutex // protects id
	id int64      // 0: not known
}

// Read passes on what the server says, and looks for the id in the beginning.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.done && n > 0 {
		c.search(p[:n])
	}
	return n, err
}

// idField is the field of the reply to HELLO 3, in its wire format.
var idField = []byte("$2\r\nid\r\n:")

func (c *conn) search(p []byte) {
	c.seen = append(c.seen, p...)
	id, ok := findID(c.seen)
	if ok {
		c.mu.Lock()
		c.id = id
		c.mu.Unlock()
	}
	if ok || len(c.seen) > searched {
		c.seen, c.done = nil, true
	}
}

// findID returns the id in the beginning of a stream, if it is there in full.
func findID(b []byte) (id int64, ok bool) {
	_, rest, found := bytes.Cut(b, idField)
	if !found {
		return 0, false
	}
	digits, _, found := bytes.Cut(rest, []byte("\r\n"))
	if !found || len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		id = id*10 + int64(d-'0')
	}
	return id, true
}

// Close closes the connection, and has it ended at the server before the next
// one to the same address is used.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.mu.Lock()
		id := c.id
		c.mu.Unlock()
		if id != 0 {
			c.d.lose(c.addr, lost{id, c.made})
		}
	})
	return c.Conn.Close()
}

package fakeredis

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rawClient speaks RESP without any client library, and keeps replies and pushes
// in the order they came. It parses by itself, so that a mistake of the
// package's own parser shows.
type rawClient struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
	n int // PINGs sent by sync
}

const patience = 15 * time.Second // for what must come; only a failing test waits so long

func newRaw(t testing.TB, c net.Conn, resp3 bool) *rawClient {
	t.Helper()
	rc := &rawClient{t: t, c: c, r: bufio.NewReader(c)}
	t.Cleanup(func() { c.Close() })
	if resp3 {
		rc.send([]string{"HELLO", "3"})
		if got := rc.read(); !strings.HasPrefix(got, "%") {
			t.Fatalf("HELLO 3 = %s, want a map", got)
		}
	}
	return rc
}

// dialRaw connects to the fake in RESP3.
func dialRaw(t testing.TB, s *Server) *rawClient {
	t.Helper()
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, c, true)
}

// send writes commands in one piece.
func (rc *rawClient) send(cmds ...[]string) {
	rc.t.Helper()
	var b []byte
	for _, args := range cmds {
		b = fmt.Appendf(b, "*%d\r\n", len(args))
		for _, a := range args {
			b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
		}
	}
	if _, err := rc.c.Write(b); err != nil {
		rc.t.Fatalf("send %q: %v", cmds, err)
	}
}

// read returns the next message as text.
func (rc *rawClient) read() string {
	rc.t.Helper()
	rc.c.SetReadDeadline(time.Now().Add(patience))
	m, err := readText(rc.r)
	if err != nil {
		rc.t.Fatalf("read: %v", err)
	}
	return m
}

// do sends one command and returns its reply and the pushes in front of it.
func (rc *rawClient) do(args ...string) string {
	rc.t.Helper()
	rc.send(args)
	var pushes string
	for {
		m := rc.read()
		if !strings.HasPrefix(m, ">") {
			return pushes + m
		}
		pushes += m + " "
	}
}

// sync returns all messages that came before the reply to a PING sent now.
func (rc *rawClient) sync() []string {
	rc.t.Helper()
	rc.n++
	mark := fmt.Sprintf("mark-%d", rc.n)
	rc.send([]string{"PING", mark})
	var got []string
	for {
		m := rc.read()
		if strings.Contains(m, mark) {
			return got
		}
		got = append(got, m)
	}
}

// readText reads one RESP value and renders it: bulk strings quoted, everything
// else close to how it was sent.
func readText(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", io.ErrUnexpectedEOF
	}
	switch line[0] {
	case '+', '-', ':', '_', ',', '#':
		return line, nil
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return line, err
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if string(b[n:]) != "\r\n" {
			return "", fmt.Errorf("bulk string %q does not end its line", b)
		}
		return strconv.Quote(string(b[:n])), nil
	case '*', '>', '~', '%':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return line, err
		}
		if line[0] == '%' {
			n *= 2
		}
		items := make([]string, n)
		for i := range items {
			if items[i], err = readText(r); err != nil {
				return "", err
			}
		}
		return line[:1] + "[" + strings.Join(items, " ") + "]", nil
	}
	return "", fmt.Errorf("unknown message %q", line)
}

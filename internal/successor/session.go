package successor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// replyError is an error that the server answered.
type replyError string

func (e replyError) Error() string { return string(e) }

// A session is the few commands that are sent to end connections, in RESP2.
type session struct {
	c net.Conn
	r *bufio.Reader
}

func newSession(c net.Conn) *session { return &session{c, bufio.NewReader(c)} }

// ask sends a command and returns its reply: text, a number as text, or "".
func (s *session) ask(args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(s.c, b.String()); err != nil {
		return "", err
	}
	line, err := s.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("empty reply")
	}
	switch text := line[1:]; line[0] {
	case '+', ':':
		return text, nil
	case '-':
		return "", replyError(text)
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 1<<20 {
			return "", fmt.Errorf("reply of length %q", text)
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(s.r, body); err != nil {
			return "", err
		}
		return string(body[:n]), nil
	}
	return "", fmt.Errorf("unexpected reply %q", line)
}

func (s *session) expectOK(args ...string) error {
	reply, err := s.ask(args...)
	if err == nil && reply != "OK" {
		err = fmt.Errorf("%s: unexpected reply %q", args[0], reply)
	}
	return err
}

func (s *session) auth(user, password string) error {
	switch {
	case password == "" && user == "":
		return nil
	case user == "":
		return s.expectOK("AUTH", password)
	}
	return s.expectOK("AUTH", user, password)
}

// kill ends connections. A server that was started after one was made has
// ended it, and may have given its id to somebody else. The age of the server
// is counted in whole seconds, so in doubt the connection is ended.
func (s *session) kill(todo []lost) error {
	up, known := s.uptime()
	for _, l := range todo {
		if known && up+time.Second < time.Since(l.made) {
			continue
		}
		// The reply is how many were ended: none if it has ended by itself.
		if _, err := s.ask("CLIENT", "KILL", "ID", strconv.FormatInt(l.id, 10)); err != nil {
			return fmt.Errorf("CLIENT KILL: %w", err)
		}
	}
	return nil
}

// uptime returns how long the server has been running, if it says so.
func (s *session) uptime() (up time.Duration, known bool) {
	info, err := s.ask("INFO", "server")
	if err != nil {
		return 0, false
	}
	_, rest, found := strings.Cut(info, "uptime_in_seconds:")
	if !found {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.ParseInt(digits, 10, 64)
	return time.Duration(n) * time.Second, err == nil
}

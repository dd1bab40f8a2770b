package redisnode

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"
)

// RedisError is an error reply of a server, for example
// "MOVED 866 127.0.0.1:7001".
type RedisError string

func (e RedisError) Error() string { return string(e) }

// Limits against a peer that is not a Redis server; replies to the commands of
// this package come nowhere near them.
const (
	maxReplyDepth = 8
	maxBulkLen    = 64 << 20
	maxArrayLen   = 1 << 20
)

var errProtocol = errors.New("redisnode: not a RESP2 reply")

// roundTrip dials addr, sends cmds in one write, and returns one reply per
// command. Error replies are values of type [RedisError] in the result; the
// error is for the connection, and for a login that failed. A plain dial per
// call is slow and hides nothing: no pool that remembers a dead server, no
// redirect that is followed silently.
func roundTrip(ctx context.Context, addr string, access Access, cmds ...[]string) ([]any, error) {
	conn, err := dial(ctx, addr, access.TLS)
	if err != nil {
		return nil, contextError(ctx, err)
	}
	defer conn.Close()
	// A deadline in the past unblocks reads and writes at once when ctx ends.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	login := access.login()
	if login != nil {
		cmds = slices.Concat([][]string{login}, cmds)
	}
	replies, err := exchange(conn, cmds)
	if err != nil {
		return nil, contextError(ctx, err)
	}
	if login == nil {
		return replies, nil
	}
	if e, failed := replies[0].(RedisError); failed {
		return nil, fmt.Errorf("authenticate: %w", e)
	}
	return replies[1:], nil
}

func dial(ctx context.Context, addr string, config *tls.Config) (net.Conn, error) {
	if config != nil {
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

func exchange(conn net.Conn, cmds [][]string) ([]any, error) {
	var out []byte
	for _, args := range cmds {
		out = appendCommand(out, args)
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	replies := make([]any, 0, len(cmds))
	for range cmds {
		reply, err := readReply(in, 0)
		if err != nil {
			return nil, err
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

// contextError makes errors.Is(err, ctx.Err()) hold for a failure that the end
// of ctx caused.
func contextError(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

func appendCommand(b []byte, args []string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b
}

// readReply reads one RESP2 reply: string, int64, nil, [RedisError] or []any
// of these.
func readReply(in *bufio.Reader, depth int) (any, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	if line == "" || depth > maxReplyDepth {
		return nil, errProtocol
	}
	switch rest := line[1:]; line[0] {
	case '+':
		return rest, nil
	case '-':
		return RedisError(rest), nil
	case ':':
		n, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			return nil, errProtocol
		}
		return n, nil
	case '$':
		return readBulk(in, rest)
	case '*':
		return readArray(in, rest, depth)
	}
	return nil, errProtocol
}

func readBulk(in *bufio.Reader, length string) (any, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < -1 || n > maxBulkLen {
		return nil, errProtocol
	}
	if n == -1 {
		return nil, nil
	}
	body := make([]byte, n+2)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, err
	}
	if string(body[n:]) != "\r\n" {
		return nil, errProtocol
	}
	return string(body[:n]), nil
}

func readArray(in *bufio.Reader, length string, depth int) (any, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < -1 || n > maxArrayLen {
		return nil, errProtocol
	}
	if n == -1 {
		return nil, nil
	}
	// Not sized by n: a length is only a claim until its elements arrive.
	elems := []any{}
	for range n {
		elem, err := readReply(in, depth+1)
		if err != nil {
			return nil, err
		}
		elems = append(elems, elem)
	}
	return elems, nil
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errProtocol
	}
	if err != nil {
		return "", err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return "", errProtocol
	}
	return string(line[:len(line)-2]), nil
}

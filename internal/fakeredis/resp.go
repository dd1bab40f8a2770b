package fakeredis

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Error is an error reply of the server, without its leading minus sign:
// a code in capitals, a space, a text.
type Error string

func (e Error) Error() string { return string(e) }

const (
	maxArgs = 1 << 20 // arguments per request, as in Redis
	maxBulk = 512 << 20
)

var errProtocol = errors.New("ERR Protocol error: expected an array of bulk strings")

// readRequest reads one command. It blocks until the command is complete. The
// error is errProtocol or that of r.
func readRequest(r *bufio.Reader) ([]string, error) {
	n, err := readHeader(r, '*')
	if err != nil || n > maxArgs {
		return nil, cmpErr(err, errProtocol)
	}
	if n <= 0 {
		return nil, nil
	}
	args := make([]string, n)
	for i := range args {
		size, err := readHeader(r, '$')
		if err != nil || size < 0 || size > maxBulk {
			return nil, cmpErr(err, errProtocol)
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		if b[size] != '\r' || b[size+1] != '\n' {
			return nil, errProtocol
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// readHeader reads a line that is kind and a decimal number.
func readHeader(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return 0, errProtocol
	}
	if err != nil {
		return 0, err
	}
	if len(line) < 4 || line[0] != kind || line[len(line)-2] != '\r' {
		return 0, errProtocol
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil {
		return 0, errProtocol
	}
	return n, nil
}

func appendHead(b []byte, kind byte, n int) []byte {
	b = append(b, kind)
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, '\r', '\n')
}

func appendBulk(b []byte, s string) []byte {
	b = appendHead(b, '$', len(s))
	b = append(b, s...)
	return append(b, '\r', '\n')
}

func appendNull(b []byte, resp3 bool) []byte {
	if resp3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "$-1\r\n"...)
}

func appendMap(b []byte, n int, resp3 bool) []byte {
	if resp3 {
		return appendHead(b, '%', n)
	}
	return appendHead(b, '*', 2*n)
}

// appendPush opens an out-of-band message of n elements.
func appendPush(b []byte, n int, resp3 bool) []byte {
	if resp3 {
		return appendHead(b, '>', n)
	}
	return appendHead(b, '*', n)
}

// oneLine keeps a text from ending a reply line early.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

func simple(text string) []byte { return []byte("+" + oneLine.Replace(text) + "\r\n") }
func integer(n int) []byte      { return appendHead(nil, ':', n) }
func bulk(s string) []byte      { return appendBulk(nil, s) }

func replyErrorf(format string, args ...any) []byte {
	return []byte("-" + oneLine.Replace(fmt.Sprintf(format, args...)) + "\r\n")
}

func wrongArity(name string) []byte {
	return replyErrorf("ERR wrong number of arguments for '%s' command", strings.ToLower(name))
}

// isNull reports whether reply is a null of either protocol.
func isNull(reply []byte) bool {
	return bytes.Equal(reply, []byte("_\r\n")) || bytes.Equal(reply, []byte("$-1\r\n")) ||
		bytes.Equal(reply, []byte("*-1\r\n"))
}

func isError(reply []byte) bool { return len(reply) > 0 && reply[0] == '-' }

// intReply returns the value of an integer reply, 0 for any other.
func intReply(reply []byte) int {
	if len(reply) < 4 || reply[0] != ':' {
		return 0
	}
	n, _ := strconv.Atoi(string(reply[1 : len(reply)-2]))
	return n
}

// parseReply returns the first value in b and the bytes behind it. Simple and
// bulk strings are string, integers int64, nulls nil, arrays, sets and pushes
// []any, maps []any of alternating keys and values, errors Error; any other
// scalar is the text as it was sent.
func parseReply(b []byte) (value any, rest []byte, err error) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 1 {
		return nil, nil, errProtocol
	}
	kind, head, rest := b[0], string(b[1:end]), b[end+2:]
	switch kind {
	case '+':
		return head, rest, nil
	case '-':
		return Error(head), rest, nil
	case '_':
		return nil, rest, nil
	case ':':
		n, err := strconv.ParseInt(head, 10, 64)
		return n, rest, err
	case '$', '*', '~', '>', '%':
		n, err := strconv.Atoi(head)
		if err != nil || n > len(rest) {
			return nil, nil, errProtocol
		}
		if n < 0 {
			return nil, rest, nil
		}
		if kind == '$' {
			if len(rest) < n+2 {
				return nil, nil, errProtocol
			}
			return string(rest[:n]), rest[n+2:], nil
		}
		if kind == '%' {
			n *= 2
		}
		list := make([]any, n)
		for i := range list {
			if list[i], rest, err = parseReply(rest); err != nil {
				return nil, nil, err
			}
		}
		return list, rest, nil
	}
	return head, rest, nil
}

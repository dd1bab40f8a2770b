package localredis

import (
	"io"
	"strings"
	"sync"
)

// Bounds of what is kept of, and quoted from, a server's output, in bytes.
const (
	logKept   = 64 << 10
	logQuoted = 4 << 10
)

// tail is a writer that keeps the last logKept bytes written to it and copies
// everything to an optional second writer. The zero value is ready for use.
type tail struct {
	copyTo io.Writer // may be nil; called under mu, so one Write at a time

	mu  sync.Mutex // protects buf
	buf []byte
}

// Write never fails: an error here would make os/exec stop reading the pipe,
// and a server blocks when nobody reads its log.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	// Shift only after a second logKept has gathered, so that a byte is moved
	// once and not with every line.
	if len(t.buf) > 2*logKept {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-logKept:]...)
	}
	if t.copyTo != nil {
		_, _ = t.copyTo.Write(p)
	}
	return len(p), nil
}

// last returns at most n bytes from the end, from the start of a line.
func (t *tail) last(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buf) <= n {
		return string(t.buf)
	}
	s := string(t.buf[len(t.buf)-n:])
	if _, rest, ok := strings.Cut(s, "\n"); ok {
		return rest
	}
	return s
}

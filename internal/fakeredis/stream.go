package fakeredis

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// stream is one direction of a connection: bytes in order, without a limit, so
// that writing never blocks. (net.Pipe has no buffer: a client and a server that
// both write before they read stop for ever.)
//
// All methods are safe for concurrent use.
type stream struct {
	mu   sync.Mutex // protects everything below
	cond *sync.Cond // signalled when a reader may have something new to see

	chunks   []chunk
	held     bool      // new chunks wait for release
	eof      bool      // the writer is done: EOF once chunks is empty
	gone     bool      // the reader is done: writes fail
	deadline time.Time // of reads; zero means none
}

// chunk is a run of bytes that may be read from due on.
type chunk struct {
	data []byte
	due  time.Time // zero means at once
	held bool
}

func newStream() *stream {
	s := &stream{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

// write appends a copy of p, readable after delay and not before anything that
// was written earlier. It fails with EPIPE when either side has closed.
func (s *stream) write(p []byte, delay time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || s.eof {
		return &net.OpError{Op: "write", Net: network, Err: os.NewSyscallError("write", syscall.EPIPE)}
	}
	if len(p) == 0 {
		return nil
	}
	var due time.Time
	if delay > 0 {
		due = time.Now().Add(delay)
	}
	if n := len(s.chunks); n > 0 {
		last := &s.chunks[n-1]
		if last.held == s.held && last.due.Equal(due) {
			last.data = append(last.data, p...)
			s.cond.Broadcast()
			return nil
		}
	}
	s.chunks = append(s.chunks, chunk{data: append([]byte(nil), p...), due: due, held: s.held})
	s.cond.Broadcast()
	return nil
}

// read blocks until there is something to read, the deadline passes (an
// os.ErrDeadlineExceeded), the writer closed (io.EOF) or the reader did
// (net.ErrClosed).
func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var wake time.Time
		now := time.Now()
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case !s.deadline.IsZero() && !now.Before(s.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(s.chunks) == 0:
			if s.eof {
				return 0, io.EOF
			}
		case s.chunks[0].held:
		case s.chunks[0].due.After(now):
			wake = s.chunks[0].due
		default:
			return s.takeLocked(p), nil
		}
		if !s.deadline.IsZero() && (wake.IsZero() || s.deadline.Before(wake)) {
			wake = s.deadline
		}
		s.waitLocked(now, wake)
	}
}

// takeLocked moves bytes of the first chunk into p.
func (s *stream) takeLocked(p []byte) int {
	n := copy(p, s.chunks[0].data)
	s.chunks[0].data = s.chunks[0].data[n:]
	if len(s.chunks[0].data) == 0 {
		s.chunks[0] = chunk{}
		s.chunks = s.chunks[1:]
	}
	return n
}

// waitLocked waits for a signal, at most until wake unless that is zero.
func (s *stream) waitLocked(now, wake time.Time) {
	if wake.IsZero() {
		s.cond.Wait()
		return
	}
	t := time.AfterFunc(wake.Sub(now), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cond.Broadcast()
	})
	s.cond.Wait()
	t.Stop()
}

// setDeadline sets the deadline of present and future reads.
func (s *stream) setDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	s.cond.Broadcast()
}

// hold keeps everything written from now on from the reader until hold(false).
// What was written before can still be read.
func (s *stream) hold(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = on
	if !on {
		for i := range s.chunks {
			s.chunks[i].held = false
		}
	}
	s.cond.Broadcast()
}

// closeWrite ends the stream: the reader gets what is there, then EOF.
func (s *stream) closeWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eof = true
	s.cond.Broadcast()
}

// cut ends the stream and loses what was not delivered yet: bytes that are held
// or still on their way.
func (s *stream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for i, c := range s.chunks {
		if c.held || c.due.After(now) {
			s.chunks = s.chunks[:i]
			break
		}
	}
	s.eof = true
	s.cond.Broadcast()
}

// closeRead makes reads and writes fail from now on.
func (s *stream) closeRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.chunks = nil
	s.cond.Broadcast()
}

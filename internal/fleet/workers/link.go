//go:build unix

package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrGone is returned by calls whose other side has ended.
var ErrGone = errors.New("workers: the other process is gone")

// Serve answers a call of the other side. What it returns is sent as JSON; of
// an error only the text.
type Serve func(op string, body json.RawMessage) (any, error)

// packet is one line of the conversation of two processes.
type packet struct {
	ID    uint64          `json:"id"`
	Reply bool            `json:"reply,omitempty"`
	Op    string          `json:"op,omitempty"`
	Err   string          `json:"err,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// A Link lets two processes call each other over a pair of pipes. Each side may
// have any number of calls under way. Make it with [NewLink].
type Link struct {
	serve Serve

	wmu sync.Mutex // protects enc
	enc *json.Encoder

	mu      sync.Mutex // protects the rest
	last    uint64
	waiting map[uint64]chan packet
	gone    bool
}

// NewLink returns a link that writes to w. serve answers the calls of the other
// side, each on a goroutine of its own. Nothing arrives before [Link.Read].
func NewLink(w io.Writer, serve Serve) *Link {
	return &Link{serve: serve, enc: json.NewEncoder(w), waiting: map[uint64]chan packet{}}
}

// Read handles what arrives until r ends; then all calls fail with ErrGone.
func (l *Link) Read(r io.Reader) {
	dec := json.NewDecoder(r)
	for {
		var p packet
		if dec.Decode(&p) != nil {
			break
		}
		if !p.Reply {
			go l.answer(p) // ends with the call it serves
			continue
		}
		l.mu.Lock()
		ch := l.waiting[p.ID]
		delete(l.waiting, p.ID)
		l.mu.Unlock()
		if ch != nil {
			ch <- p
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	for _, ch := range l.waiting {
		close(ch)
	}
	clear(l.waiting)
}

func (l *Link) answer(p packet) {
	out, err := l.serve(p.Op, p.Body)
	reply := packet{ID: p.ID, Reply: true}
	if err == nil {
		reply.Body, err = json.Marshal(out)
	}
	if err != nil {
		reply.Err = err.Error()
	}
	_ = l.send(reply) // the other side is gone; nobody waits for it
}

func (l *Link) send(p packet) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	return l.enc.Encode(p)
}

// Call asks the other side and decodes its answer into out, which may be nil.
// It blocks until the answer is there or ctx ends, and returns ErrGone if the
// other side ends first.
func (l *Link) Call(ctx context.Context, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ch := make(chan packet, 1)
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return ErrGone
	}
	l.last++
	id := l.last
	l.waiting[id] = ch
	l.mu.Unlock()
	if err := l.send(packet{ID: id, Op: op, Body: body}); err != nil {
		l.giveUp(id)
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	select {
	case p, ok := <-ch:
		switch {
		case !ok:
			return ErrGone
		case p.Err != "":
			return errors.New(p.Err)
		case out == nil:
			return nil
		}
		return json.Unmarshal(p.Body, out)
	case <-ctx.Done():
		l.giveUp(id)
		return fmt.Errorf("workers: no answer to %s: %w", op, ctx.Err())
	}
}

// giveUp forgets a call whose answer nobody waits for any more.
func (l *Link) giveUp(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
}

// Decode is json.Unmarshal into a new T, for [Serve] functions.
func Decode[T any](body json.RawMessage) (v T, err error) {
	err = json.Unmarshal(body, &v)
	return v, err
}

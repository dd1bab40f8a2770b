//go:build unix

package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// errGone is returned by calls whose other side has ended.
var errGone = errors.New("fleet: the other process is gone")

// packet is one line of the conversation of two processes.
type packet struct {
	ID    uint64          `json:"id"`
	Reply bool            `json:"reply,omitempty"`
	Op    string          `json:"op,omitempty"`
	Err   string          `json:"err,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// link lets two processes call each other over a pair of pipes. Each side may
// have any number of calls under way.
type link struct {
	// serve answers a call of the other side, on a goroutine of its own.
	serve func(op string, body json.RawMessage) (any, error)

	wmu sync.Mutex // protects enc
	enc *json.Encoder

	mu      sync.Mutex // protects the rest
	last    uint64
	waiting map[uint64]chan packet
	gone    bool
}

func newLink(w io.Writer, serve func(string, json.RawMessage) (any, error)) *link {
	return &link{serve: serve, enc: json.NewEncoder(w), waiting: map[uint64]chan packet{}}
}

// read handles what arrives until the pipe ends; then all calls fail.
func (l *link) read(r io.Reader) {
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

func (l *link) answer(p packet) {
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

func (l *link) send(p packet) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	return l.enc.Encode(p)
}

// call asks the other side and decodes its answer into out, which may be nil.
// It returns errGone if the other side ends first.
func (l *link) call(ctx context.Context, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ch := make(chan packet, 1)
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return errGone
	}
	l.last++
	id := l.last
	l.waiting[id] = ch
	l.mu.Unlock()
	if err := l.send(packet{ID: id, Op: op, Body: body}); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	select {
	case p, ok := <-ch:
		switch {
		case !ok:
			return errGone
		case p.Err != "":
			return errors.New(p.Err)
		case out == nil:
			return nil
		}
		return json.Unmarshal(p.Body, out)
	case <-ctx.Done():
		return fmt.Errorf("fleet: no answer to %s: %w", op, ctx.Err())
	}
}

//go:build unix

package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// instance is this process.
type instance struct {
	link *workers.Link

	mu    sync.Mutex // protects phase
	phase *phase     // nil between phases
}

// Main serves the parent until the standard input ends, and returns the exit
// code.
func Main() int {
	in := &instance{}
	in.link = workers.NewLink(os.Stdout, in.serve)
	in.link.Read(os.Stdin)
	if p := in.current(); p != nil {
		p.close() // the parent is gone: nobody reads the report
	}
	return 0
}

func (in *instance) current() *phase {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.phase
}

func (in *instance) serve(op string, body json.RawMessage) (any, error) {
	if op == OpOpen {
		a, err := workers.Decode[Open](body)
		if err != nil {
			return nil, err
		}
		return nil, in.open(a)
	}
	p := in.current()
	if p == nil {
		return nil, fmt.Errorf("instance: %s before %s", op, OpOpen)
	}
	switch op {
	case OpStart:
		w, err := workers.Decode[Work](body)
		if err != nil {
			return nil, err
		}
		p.start(w)
		return nil, nil
	case OpWait:
		p.writers.Wait()
		return nil, nil
	case OpClose:
		in.mu.Lock()
		in.phase = nil
		in.mu.Unlock()
		return nil, p.close()
	case OpLink:
		f, err := workers.Decode[LinkFault](body)
		if err != nil {
			return nil, err
		}
		return nil, p.way.apply(f)
	case OpTell:
		t, err := workers.Decode[Tell](body)
		if err != nil {
			return nil, err
		}
		return nil, p.tell(t)
	case OpStats:
		return p.manager.Stats(), nil
	}
	return nil, fmt.Errorf("instance: no such call %q", op)
}

func (in *instance) open(a Open) error {
	if in.current() != nil {
		return fmt.Errorf("instance %d: the phase before has not been closed", a.Instance)
	}
	p, err := openPhase(context.Background(), in.link, a)
	if err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.phase = p
	return nil
}

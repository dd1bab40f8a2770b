package scaling

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// callLimit bounds calls of instances.
const callLimit = time.Minute

// A crew is the instances: this program, run again. Those that are not needed
// have no Manager open, and only wait for calls.
type crew struct {
	procs []*workers.Process
	open  int // the first ones
	addr  string
}

func newCrew(n int, addr string) (*crew, error) {
	c := &crew{addr: addr}
	for i := range n {
		p, err := workers.Start(workers.Config{Name: fmt.Sprint("instance ", i), Env: []string{Env + "=1"}})
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.procs = append(c.procs, p)
	}
	return c, nil
}

// close ends all instances.
func (c *crew) close() error {
	var errs []error
	for _, p := range c.procs {
		errs = append(errs, p.Close(10*time.Second))
	}
	return errors.Join(errs...)
}

// call asks one instance.
func call[T any](ctx context.Context, c *crew, i int, op string, in any) (out T, err error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := c.procs[i].Link.Call(ctx, op, in, &out); err != nil {
		return out, fmt.Errorf("%s of instance %d: %w", op, i, err)
	}
	return out, nil
}

// all asks instances from to upTo-1 at the same time.
func all[T any](ctx context.Context, c *crew, from, upTo int, op string, in func(i int) any) ([]T, error) {
	out, errs := make([]T, upTo-from), make([]error, upTo-from)
	var wg sync.WaitGroup
	for i := from; i < upTo; i++ {
		args := in(i)
		wg.Go(func() { out[i-from], errs[i-from] = call[T](ctx, c, i, op, args) })
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// nothing is what calls without an answer return.
type nothing = any

// each asks the first instances the same.
func each(ctx context.Context, c *crew, from, upTo int, op string, in any) error {
	_, err := all[nothing](ctx, c, from, upTo, op, func(int) any { return in })
	return err
}

// size opens and ends Managers until the first n instances have one.
func (c *crew) size(ctx context.Context, n int) error {
	if n > c.open {
		if err := each(ctx, c, c.open, n, opOpen, openArgs{c.addr}); err != nil {
			return err
		}
	} else if err := each(ctx, c, n, c.open, opClose, nil); err != nil {
		return err
	}
	c.open = n
	return nil
}

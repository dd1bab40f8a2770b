package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// readersPerInstance is how many readers of a crowd each instance has, and
// readerPause how long each of them waits between two reads.
const (
	readersPerInstance = 4
	readerPause        = time.Millisecond
)

// A crowd reads one product through all instances, over and over, from
// startCrowd until leave.
type crowd struct {
	answers, errors atomic.Int64
	slowest         atomic.Int64  // nanoseconds
	answered        chan struct{} // closed with the first answer
	once            sync.Once     // closes answered

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// An answer is what a reader of a crowd got.
type answer struct {
	from    *instance
	product Product
	began   time.Time // of the call
}

// startCrowd begins to read. seen, if not nil, is called with each answer, by
// several goroutines at a time.
func (f *fleet) startCrowd(ctx context.Context, read func(context.Context, *instance) (Product, error), seen func(answer)) *crowd {
	c := &crowd{answered: make(chan struct{})}
	ctx, c.cancel = context.WithCancel(ctx)
	for _, in := range f.instances {
		for range readersPerInstance {
			c.wg.Go(func() { // until leave, or the end of ctx
				for ctx.Err() == nil {
					c.read(ctx, in, read, seen)
					pause(ctx, readerPause)
				}
			})
		}
	}
	return c
}

func (c *crowd) read(ctx context.Context, in *instance, read func(context.Context, *instance) (Product, error), seen func(answer)) {
	began := time.Now()
	p, err := read(ctx, in)
	switch {
	case ctx.Err() != nil: // it was told to leave while it read
	case err != nil:
		c.errors.Add(1)
	default:
		c.answers.Add(1)
		c.once.Do(func() { close(c.answered) })
		raise(&c.slowest, int64(time.Since(began)))
		if seen != nil {
			seen(answer{in, p, began})
		}
	}
}

// leave makes the readers end and waits for them. It may be called again.
func (c *crowd) leave() {
	c.cancel()
	c.wg.Wait()
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

package subject

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/invalidation"
)

// The names of what publishing is compared with.
const (
	Publish  = "Publish"
	Spublish = "SPUBLISH"
)

// messageBytes is about how long the message of one short event is.
const messageBytes = 60

// anEvent is one of a thousand events of usual length.
func anEvent(i int) invalidation.Event {
	return invalidation.Event{Kind: invalidation.Key, Namespace: "products", Name: "product-" + strconv.Itoa(i%1000)}
}

// OpenBus opens a bus of its own. Those with the same mode hear each other.
func OpenBus(ctx context.Context, addrs []string, mode invalidation.Mode) (*invalidation.Bus, error) {
	b, err := invalidation.Open(ctx, rueidis.ClientOption{InitAddress: addrs}, invalidation.Config{
		Prefix: "bench-" + mode.String(), Mode: mode, OpTimeout: OpTimeout, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if err := b.Wait(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Publishing returns a Publish of one event, a plain SPUBLISH of as many bytes
// to nobody, and a plain SET of as many.
func (f *Fleet) Publishing(bus *invalidation.Bus) []Verb {
	ctx, c, body := context.Background(), f.Manager.Client(), strings.Repeat("x", messageBytes)
	keys := names("publish:plain:")
	return []Verb{
		{PlainSet, "", func(i int) error {
			return c.Do(ctx, c.B().Set().Key(keys[i%verbTags]).Value(body).Px(TTL).Build()).Error()
		}},
		{Spublish, PlainSet, func(i int) error {
			return c.Do(ctx, c.B().Spublish().Channel(keys[i%verbTags]).Message(body).Build()).Error()
		}},
		{Publish, PlainSet, func(i int) error {
			_, err := bus.Publish(ctx, anEvent(i))
			return err
		}},
	}
}

// A Crowd is one bus that publishes and several that hear it, each with
// connections of its own.
type Crowd struct {
	publisher *invalidation.Bus
	buses     []*invalidation.Bus
	delivered atomic.Int64 // events, to all handlers together
	gaps      atomic.Int64
}

// OpenCrowd opens a crowd with n that hear.
func OpenCrowd(ctx context.Context, addrs []string, mode invalidation.Mode, n int) (c *Crowd, err error) {
	c = &Crowd{}
	if c.publisher, err = OpenBus(ctx, addrs, mode); err != nil {
		return nil, err
	}
	for range n {
		b, err := OpenBus(ctx, addrs, mode)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.buses = append(c.buses, b)
		b.Subscribe(func(e invalidation.Event) {
			if e.Kind == invalidation.Gap {
				c.gaps.Add(1)
			} else {
				c.delivered.Add(1)
			}
		}, invalidation.WithQueue(1<<20))
	}
	return c, nil
}

// Close closes all of it.
func (c *Crowd) Close() error {
	errs := []error{c.publisher.Close()}
	for _, b := range c.buses {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

// A Throughput is what a crowd has done.
type Throughput struct {
	// EventsPerSecond counts an event once, when all have heard it;
	// DeliveriesPerSecond counts it for each that has.
	EventsPerSecond, DeliveriesPerSecond float64
	Gaps                                 int64
}

// deliverLimit ends a wait for events that have been published.
const deliverLimit = 30 * time.Second

// Deliver publishes n events, batch of them at a time, from 64 goroutines, and
// waits until all have heard all. A gap, after which that may never be, ends the
// wait early: then the figures are of what was delivered.
func (c *Crowd) Deliver(ctx context.Context, n, batch int) (t Throughput, err error) {
	delivered, gaps := c.delivered.Load(), c.gaps.Load()
	began := time.Now()
	err = each(64, n/batch, func(call int) error {
		events := make([]invalidation.Event, batch)
		for i := range events {
			events[i] = anEvent(call) // a call is about one thing, as invalidations are
		}
		_, err := c.publisher.Publish(ctx, events...)
		return err
	})
	if err != nil {
		return t, err
	}
	want := int64(n / batch * batch * len(c.buses))
	for end := time.Now().Add(deliverLimit); c.delivered.Load()-delivered < want && c.gaps.Load() == gaps; time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			return t, fmt.Errorf("%d of %d deliveries after %v, and no gap", c.delivered.Load()-delivered, want, deliverLimit)
		}
	}
	took := time.Since(began).Seconds()
	t.DeliveriesPerSecond = float64(c.delivered.Load()-delivered) / took
	t.EventsPerSecond = t.DeliveriesPerSecond / float64(len(c.buses))
	t.Gaps = c.gaps.Load() - gaps
	return t, nil
}

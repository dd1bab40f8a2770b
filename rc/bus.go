package rc

import (
	"context"
	"sync"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/invalidation"
)

// feed is the bus of a Manager. It is opened with the Manager in coherence mode
// Broadcast, and otherwise when somebody first wants it, because it has
// connections of its own.
type feed struct {
	option rueidis.ClientOption

	mu  sync.Mutex // protects bus; held while it is opened
	bus *invalidation.Bus
}

// Bus returns the bus of this deployment and Options.Prefix, on which all
// Managers with the same hear each other. In coherence mode Tracking the first
// call opens it: it blocks until it is connected or ctx ends, and the bus has one
// connection to each primary that owns a partition, and one for publishing. It
// must not be closed: [Manager.Close] does.
//
// A CacheService needs no bus in mode Tracking; it is there for what is derived
// from cached data elsewhere, and for events of the application.
func (m *Manager) Bus(ctx context.Context) (*invalidation.Bus, error) {
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	if m.closed.Load() {
		return nil, ErrClosed
	}
	if m.feed.bus != nil {
		return m.feed.bus, nil
	}
	bus, err := invalidation.Open(ctx, m.feed.option, invalidation.Config{
		Prefix:    m.opts.Prefix,
		Heartbeat: m.opts.Heartbeat,
		OpTimeout: m.opts.OpTimeout,
		Clock:     m.now,
		Logger:    m.opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	m.feed.bus = bus
	return bus, nil
}

// Subscribe calls fn with each event on the bus of this deployment, as
// [invalidation.Bus.Subscribe] does; see [Manager.Bus] for what the first call
// costs. The subscription ends with its own Close, or the Manager's.
func (m *Manager) Subscribe(ctx context.Context, fn func(invalidation.Event), opts ...invalidation.SubscribeOption) (*invalidation.Subscription, error) {
	bus, err := m.Bus(ctx)
	if err != nil {
		return nil, err
	}
	return bus.Subscribe(fn, opts...), nil
}

// Publish publishes events on the bus of this deployment, as
// [invalidation.Bus.Publish] does; see [Manager.Bus] for what the first call
// costs.
func (m *Manager) Publish(ctx context.Context, events ...invalidation.Event) ([]invalidation.Receipt, error) {
	bus, err := m.Bus(ctx)
	if err != nil {
		return nil, err
	}
	return bus.Publish(ctx, events...)
}

// close ends the bus, if there is one.
func (f *feed) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bus == nil {
		return nil
	}
	return f.bus.Close()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// instanceCount is how many instances of the service there are. In production
// each is a process of its own; here each has a Manager of its own, and shares
// nothing with the others but Redis and the database.
const instanceCount = 4

// A fleet is the instances and what they depend on.
type fleet struct {
	instances []*instance
	links     *links
	where     string // what Redis it is
	server    *rctest.Server
}

// An instance is one instance of the service.
type instance struct {
	number   int
	manager  *rc.Manager
	events   *events
	products *ProductService // cached for a long time
	offers   *ProductService // the same rows, cached for a short time
}

// newFleet starts the instances, on the deployment of cfg.redis, or on an
// in-process Redis if there is none.
func newFleet(ctx context.Context, cfg config, db Database) (*fleet, error) {
	f := &fleet{links: newLinks()}
	var opt rueidis.ClientOption
	if cfg.redis == "" {
		f.server = rctest.Start()
		f.where = "in this process (package rctest)"
		opt = f.server.ClientOption()
	} else {
		var err error
		if opt, err = rueidis.ParseURL(cfg.redis); err != nil {
			return nil, fmt.Errorf("-redis: %w", withoutURL(err))
		}
	}
	opt = f.links.through(opt)
	// Each run has keys of its own: it begins with a cold cache, and disturbs
	// no other run on the same deployment.
	prefix := fmt.Sprintf("quickstart-%08x", rand.Uint32())
	for i := range instanceCount {
		in, err := newInstance(ctx, i+1, opt, cfg, db, prefix)
		if err != nil {
			f.close()
			return nil, err
		}
		f.instances = append(f.instances, in)
	}
	if cfg.redis != "" {
		f.where = describe(f.instances[0].manager, opt)
	}
	return f, nil
}

func describe(m *rc.Manager, opt rueidis.ClientOption) string {
	what := "a standalone server"
	if m.Client().Mode() == rueidis.ClientModeCluster {
		what = "a cluster of " + plural(len(m.Health()), "primary", "primaries")
	}
	return what + " at " + strings.Join(opt.InitAddress, ", ")
}

// withoutURL drops the URL from an error about it: it may have a password.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func newInstance(ctx context.Context, number int, opt rueidis.ClientOption, cfg config, db Database, prefix string) (*instance, error) {
	in := &instance{number: number, events: &events{}}
	var err error
	in.manager, err = rc.OpenClient(ctx, opt, rc.Options{Observer: in.events, OpTimeout: cfg.opTimeout})
	if err != nil {
		return nil, err
	}
	in.products, err = NewProductService(in.manager, db, prefix+":products", time.Minute)
	if err == nil {
		in.offers, err = NewProductService(in.manager, db, prefix+":offers", cfg.ttl)
	}
	if err != nil {
		return nil, errors.Join(err, in.manager.Close())
	}
	return in, nil
}

// close ends the instances and the in-process Redis. The keys on a real
// deployment expire within two minutes.
func (f *fleet) close() {
	for _, in := range f.instances {
		_ = in.manager.Close() // what it could not deliver expires
	}
	if f.server != nil {
		f.server.Close()
	}
}

// each calls do for all instances at the same time and waits for it.
func (f *fleet) each(do func(in *instance)) {
	var wg sync.WaitGroup
	for _, in := range f.instances {
		wg.Go(func() { do(in) })
	}
	wg.Wait()
}

// waited returns how many calls had to wait for a query of offers.
func (f *fleet) waited() (n uint64) {
	for _, in := range f.instances {
		n += in.offers.Waited()
	}
	return n
}

// events is what the library reports about one instance.
type events struct {
	rc.NopObserver
	stale      atomic.Int64 // stale values served
	oldest     atomic.Int64 // age of the oldest of them, in nanoseconds
	replayedAt atomic.Int64 // when a queued invalidation was delivered last, Unix nanoseconds
}

// Stale is called for each stale value that is served.
func (e *events) Stale(_ context.Context, ev rc.StaleEvent) {
	e.stale.Add(1)
	raise(&e.oldest, int64(ev.Age))
}

// Invalidation is called for each write that was delivered or failed.
func (e *events) Invalidation(_ context.Context, ev rc.InvalidationEvent) {
	if ev.Replay && ev.Err == nil {
		e.replayedAt.Store(time.Now().UnixNano())
	}
}

// raise sets a to v if that is more.
func raise(a *atomic.Int64, v int64) {
	for old := a.Load(); v > old && !a.CompareAndSwap(old, v); old = a.Load() {
	}
}

package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// A Cache is one instance of a service that caches orders.
type Cache struct {
	manager *rc.Manager
	orders  *rc.CacheService[Order]
	db      *Database
}

// NewCache makes an instance whose cache follows the stream until ctx ends.
// done is called when it follows no longer.
func NewCache(ctx context.Context, m *rc.Manager, db *Database, stream string, d *deliveries, done func(error)) (*Cache, error) {
	// The TTL is far longer than the run: nothing becomes right by waiting.
	orders, err := rc.New(m, "orders", rc.Config[Order]{TTL: 10 * time.Minute, EarlyBeta: rc.Off})
	if err != nil {
		return nil, err
	}
	c := &Cache{manager: m, orders: orders, db: db}
	_, err = rc.On(m, func(e OrderChanged) []rc.Target {
		d.note(e.Change)
		return []rc.Target{orders.Target(strconv.FormatInt(e.Order, 10))}
	})
	if err != nil {
		return nil, err
	}
	go func() { // ends with ctx or the Manager, whoever waits for done waits for it
		done(m.Consume(ctx, rc.Stream{Name: stream, Group: "orders-cache"}))
	}()
	return c, nil
}

// Order returns an order, from the cache if it is there.
func (c *Cache) Order(ctx context.Context, id int64) (Order, error) {
	return c.orders.GetOrSet(ctx, strconv.FormatInt(id, 10), func(ctx context.Context) (Order, error) {
		return c.db.Order(ctx, id)
	})
}

// deliveries counts how often each change was delivered.
type deliveries struct {
	mu    sync.Mutex // protects times, total
	times map[int64]int
	total int
}

func (d *deliveries) note(change int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times[change]++
	d.total++
}

// count returns how many changes were delivered, and how many deliveries were
// one too many.
func (d *deliveries) count() (delivered, duplicates int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.times), d.total - len(d.times)
}

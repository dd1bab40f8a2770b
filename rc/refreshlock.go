package rc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/lock"
)

// underLock makes the loader of a job one that runs under Config.RefreshLock.
// The lease in the slot of the key stands besides: it is what the fill is refused
// by. The lock only keeps two loaders from running at once where the lease
// cannot: when it was lost in a failover, was voided while its loader still runs,
// or when Redis is asked in vain and everybody loads for himself.
func (c *core) underLock(r *running, j job) loadFunc {
	if c.cfg.refreshLock == nil {
		return j.load
	}
	return func(ctx context.Context) (any, error) {
		k, err := c.takeLock(ctx, j)
		if err != nil {
			return nil, err
		}
		r.waited.Store(int64(since(c.m.now(), r.began)))
		var v any
		err = c.under(ctx, []*lock.Lock{k}, func(ctx context.Context) (err error) {
			v, err = j.load(ctx)
			return err
		})
		return v, err
	}
}

// under calls a loader under locks, and gives them back when it returns: or some
// time after its context has ended, for a loader that does not heed that must not
// keep them for ever.
func (c *core) under(ctx context.Context, locks []*lock.Lock, load func(context.Context) error) error {
	give := sync.OnceFunc(func() {
		for _, k := range locks {
			c.giveLock(k)
		}
	})
	defer give()
	returned := make(chan struct{})
	defer close(returned)
	stop := context.AfterFunc(ctx, func() { // ends with the loader, or after LeaseTTL
		t := time.NewTimer(c.cfg.lease)
		defer t.Stop()
		select {
		case <-returned:
		case <-t.C:
			give()
		}
	})
	defer stop()
	for _, k := range locks {
		attached, cancel := k.Attach(ctx)
		defer cancel()
		ctx = attached
	}
	return c.lockLost(ctx, load(ctx))
}

// takeLock waits for the lock of a job. A background load does not wait: who has
// the lock brings a new value.
func (c *core) takeLock(ctx context.Context, j job) (k *lock.Lock, err error) {
	if j.background {
		k, err = c.cfg.refreshLock.TryAcquire(ctx, j.k.rk)
	} else {
		k, err = c.cfg.refreshLock.Acquire(ctx, j.k.rk)
	}
	switch {
	case err == nil:
		return k, nil
	case j.background && errors.Is(err, lock.ErrNotAcquired):
		return nil, errElsewhere
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	c.n.lockErrors.Add(1)
	return nil, fmt.Errorf("%w: %s: %w", ErrRefreshLock, c.name(j.k), err)
}

// giveLock releases a lock behind the back of those who wait for the value.
func (c *core) giveLock(k *lock.Lock) {
	c.m.wg.Go(func() { // ends with the Locker's OpTimeout
		if err := k.Release(context.Background()); err != nil && !errors.Is(err, lock.ErrLost) {
			c.n.lockErrors.Add(1)
			c.m.opts.Logger.Warn("fleetcache: refresh lock not released; it ends by itself", "lock", k.Name(), "error", err)
		}
	})
}

// lockLost gives the error of a loader that was ended by the loss of its lock a
// name. ctx is that of the loader.
func (c *core) lockLost(ctx context.Context, err error) error {
	if !lock.Lost(ctx) {
		return err
	}
	c.n.locksLost.Add(1)
	if err == nil || !errors.Is(err, context.Canceled) {
		return err // the loader's own; a value is good for those who waited for it
	}
	return fmt.Errorf("%w: %w", ErrRefreshLock, context.Cause(ctx))
}

// lockOwn takes the locks of the items a batch is about to load, without waiting:
// two batches that wait for each other's would wait for ever. Items whose lock is
// held go the way of single ones; those whose lock cannot be had fail.
func (b *batch) lockOwn(ctx context.Context, own []*item) (locked, late []*item) {
	c := b.c
	if c.cfg.refreshLock == nil || len(own) == 0 {
		return own, nil
	}
	errs := make([]error, len(own))
	slots := make(chan struct{}, manyWaiters)
	var wg sync.WaitGroup
	for i, it := range own {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			it.lock, errs[i] = c.cfg.refreshLock.TryAcquire(ctx, it.k.rk)
		})
	}
	wg.Wait()
	for i, it := range own {
		switch err := errs[i]; {
		case err == nil:
			locked = append(locked, it)
		case errors.Is(err, lock.ErrNotAcquired):
			late = append(late, it)
		default:
			c.n.lockErrors.Add(1)
			b.giveUp(ctx, []*item{it}, fmt.Errorf("%w: %s: %w", ErrRefreshLock, c.name(it.k), err))
		}
	}
	b.release(ctx, late, "")
	for _, it := range late {
		it.token = ""
	}
	return locked, late
}

// underLocks makes the loader of a batch one that runs under the locks of its
// items, which it gives back.
func (b *batch) underLocks(own []*item) func(ctx context.Context, ids []string) (map[string]any, error) {
	locks := b.takeLocks(own)
	if len(locks) == 0 {
		return b.load
	}
	return func(ctx context.Context, ids []string) (m map[string]any, err error) {
		err = b.c.under(ctx, locks, func(ctx context.Context) (err error) {
			m, err = b.load(ctx, ids)
			return err
		})
		return m, err
	}
}

// takeLocks takes the locks from items.
func (b *batch) takeLocks(own []*item) (locks []*lock.Lock) {
	for _, it := range own {
		if it.lock != nil {
			locks, it.lock = append(locks, it.lock), nil
		}
	}
	return locks
}

// unlock gives back the locks that items still have.
func (b *batch) unlock(own []*item) {
	for _, k := range b.takeLocks(own) {
		b.c.giveLock(k)
	}
}

package rc

import (
	"context"
	"errors"
	"time"

	"github.com/fleetcache/fleetcache/internal/flight"
)

// loadFunc is a loader without its type.
type loadFunc func(context.Context) (any, error)

// lookupOnly answers from the cache, without loading.
func (c *core) lookupOnly(ctx context.Context, id string, opts []Opt) (a answer, found bool, err error) {
	o, err := c.call(opts)
	if err != nil {
		return a, false, err
	}
	k, err := c.key(id, o.params)
	if err != nil {
		return a, false, err
	}
	d, reason, err := c.find(ctx, k)
	switch g := d.grade(c.m.now(), o.maxStale); {
	case g == freshGrade:
		c.hit(ctx, k.id, d)
		return d.answer(c.m.now(), NotStale), true, nil
	case err != nil && g >= fallback:
		return c.serveStale(ctx, k.id, d, StaleDegraded), true, nil
	case err != nil:
		return a, false, c.unavailable(ctx, k, err)
	case g == servable:
		return c.serveStale(ctx, k.id, d, StaleNoLoader), true, nil
	}
	c.miss(ctx, k.id, reason)
	return a, false, nil
}

// unavailable names the key in an error of Redis. The end of the caller's own
// context stays what it is.
func (c *core) unavailable(ctx context.Context, k keyed, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrClosed) {
		return err
	}
	return &unavailableError{key: c.name(k), err: err}
}

type unavailableError struct {
	key string
	err error
}

func (e *unavailableError) Error() string {
	return ErrUnavailable.Error() + ": " + e.key + ": " + e.err.Error()
}
func (e *unavailableError) Unwrap() []error { return []error{ErrUnavailable, e.err} }

// getOrSet is the long way of CacheService.GetOrSet: what is left when the
// value is not fresh in memory.
func (c *core) getOrSet(ctx context.Context, id string, load loadFunc, opts []Opt) (answer, error) {
	o, err := c.call(opts)
	if err != nil {
		return answer{}, err
	}
	k, err := c.key(id, o.params)
	if err != nil {
		return answer{}, err
	}
	if c.claimFirst(ctx, k) {
		return c.share(ctx, job{k: k, o: o, load: load, direct: true})
	}
	d, reason, err := c.find(ctx, k)
	if err != nil && (ctx.Err() != nil || errors.Is(err, ErrClosed)) {
		return answer{}, err
	}
	j := job{k: k, o: o, load: load, cause: err}
	if d != nil {
		j.seen = d.seen
	}
	now := c.m.now()
	switch g := d.grade(now, o.maxStale); {
	case g == freshGrade:
		c.hit(ctx, id, d)
		if now >= d.due {
			c.refreshBehind(ctx, j, d)
		}
		return d.answer(now, NotStale), nil
	case g >= fallback && err != nil:
		return c.serveStale(ctx, id, d, StaleDegraded), nil
	case g == servable && o.softTimeout == 0:
		c.refreshBehind(ctx, j, d)
		return c.serveStale(ctx, id, d, StaleRefreshing), nil
	}
	if err != nil {
		reason = MissUnavailable
	}
	c.miss(ctx, id, reason)
	return c.await(ctx, j, d)
}

// claimFirst reports whether to claim a key without looking for its value
// first. Not if there may be a stale one to fall back on.
func (c *core) claimFirst(ctx context.Context, k keyed) bool {
	if !c.cold.likely() || c.cfg.staleFor > 0 || c.m.queue.n.Load() > 0 || c.m.closed.Load() || ctx.Err() != nil {
		return false
	}
	_, proven := c.held(k)
	return !proven
}

// await waits for a load, and falls back on the candidate.
func (c *core) await(ctx context.Context, j job, d *cand) (answer, error) {
	g := d.grade(c.m.now(), j.o.maxStale)
	wait, cancel := ctx, context.CancelFunc(func() {})
	if g == servable && j.o.softTimeout > 0 {
		wait, cancel = context.WithTimeout(ctx, j.o.softTimeout)
	}
	a, err := c.share(wait, j)
	soft := wait.Err() != nil && ctx.Err() == nil
	cancel()
	if err == nil {
		return a, nil
	}
	switch g = d.grade(c.m.now(), j.o.maxStale); {
	case ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.Is(err, ErrNotFound):
		return answer{}, err
	case soft && g == servable && errors.Is(err, context.DeadlineExceeded):
		return c.serveStale(ctx, j.k.id, d, StaleSoftTimeout), nil
	case g >= fallback && errors.Is(err, errLockWait):
		return c.serveStale(ctx, j.k.id, d, StaleLockWait), nil
	case errors.Is(err, errLockWait):
		j.impatient = true
		return c.share(ctx, j)
	case g >= fallback:
		return c.serveStale(ctx, j.k.id, d, StaleLoadFailed), nil
	}
	return answer{}, err
}

// share runs the job, or waits for the one of this process that runs already.
func (c *core) share(ctx context.Context, j job) (answer, error) {
	v, shared, err := c.flights.Do(ctx, j.k.rk, func(fctx context.Context, fc *flight.Call) (any, error) {
		return c.lead(fctx, fc, j)
	})
	var skipped *skippedError
	switch {
	case shared && errors.As(err, &skipped) && ctx.Err() == nil:
		return c.share(ctx, j) // it was a refresh that had no need to go on
	case shared && errors.As(err, &skipped):
		return answer{}, ctx.Err()
	case shared:
		c.n.shared.Add(1)
	}
	switch {
	case errors.Is(err, flight.ErrGoexit):
		return answer{}, ErrGoexit
	case errors.Is(err, flight.ErrClosed),
		c.m.closed.Load() && ctx.Err() == nil && errors.Is(err, context.Canceled):
		return answer{}, ErrClosed
	}
	if err != nil {
		return answer{}, err
	}
	a := v.(answer)
	if a.negative {
		return a, ErrNotFound
	}
	return a, nil
}

// refreshBehind loads a value again in the background, unless that is being
// done already, or was found not to work a moment ago.
func (c *core) refreshBehind(ctx context.Context, j job, d *cand) {
	if c.paused(d) {
		return
	}
	select {
	case c.m.refreshes <- struct{}{}:
	default:
		c.n.refreshesDropped.Add(1)
		c.pause(d, 10*time.Millisecond)
		c.observeRefresh(ctx, RefreshEvent{Namespace: c.ns, ID: j.k.id, Dropped: true})
		return
	}
	j.background = true
	started := c.flights.Start(ctx, j.k.rk, func(fctx context.Context, fc *flight.Call) (any, error) {
		return c.lead(fctx, fc, j)
	}, func(_ any, err error) {
		<-c.m.refreshes
		c.refreshed(ctx, j, d, err)
	})
	if !started {
		<-c.m.refreshes
	}
}

// refreshed accounts for a background load that is over.
func (c *core) refreshed(ctx context.Context, j job, d *cand, err error) {
	var b *BackoffError
	switch {
	case errors.Is(err, errElsewhere):
		c.pause(d, c.cfg.lease/10)
		return
	case errors.As(err, &b): // another one's failure, counted there
		c.pause(d, b.RetryAfter)
		return
	}
	c.n.refreshes.Add(1)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	// If the new value was not stored, the old one is still due.
	c.pause(d, 100*time.Millisecond)
	if err != nil && c.m.ctx.Err() == nil {
		c.n.refreshErrors.Add(1)
		c.pause(d, max(c.cfg.errorBackoff, 10*time.Millisecond))
		c.m.opts.Logger.Warn("fleetcache: refresh failed, the old value stays", "key", c.ns+"/"+j.k.id, "error", err)
	}
	c.observeRefresh(ctx, RefreshEvent{Namespace: c.ns, ID: j.k.id, Err: err})
}

func (c *core) observeRefresh(ctx context.Context, e RefreshEvent) {
	if o := c.m.opts.Observer; o != nil {
		o.Refresh(context.WithoutCancel(ctx), e)
	}
}

// refresh loads a value now, whatever the cache holds, and waits for it.
func (c *core) refresh(ctx context.Context, id string, load loadFunc, opts []Opt) (answer, error) {
	o, err := c.call(opts)
	if err != nil {
		return answer{}, err
	}
	k, err := c.key(id, o.params)
	if err != nil {
		return answer{}, err
	}
	d, _, err := c.find(ctx, k)
	if err != nil && (ctx.Err() != nil || errors.Is(err, ErrClosed)) {
		return answer{}, err
	}
	j := job{k: k, o: o, load: load, cause: err}
	if d != nil {
		j.seen = d.seen
	}
	return c.share(ctx, j)
}

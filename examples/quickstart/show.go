package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// maxStaleness is the library's default bound on how old a value from memory
// can be.
const maxStaleness = rc.DefaultMaxStaleness

// A show is one run of the program.
type show struct {
	config
	*screen
	*fleet
	store *Store

	failed []string // claims that did not hold
	result result
}

// result is what the last line of the output says.
type result struct {
	loadsCold, loadsExpiry  int
	lags                    []time.Duration
	staleAfterBound, errors int64
}

func (s *show) perform(ctx context.Context) (held bool, err error) {
	s.line("%s  %d instances of one product service", s.styled(bold, "fleetcache quickstart"), instanceCount)
	s.line("database  SQLite, %s products, %s per query", count(productCount), s.queryTime)
	s.line("redis     %s", s.where)
	p := startPulse()
	err = s.acts(ctx)
	stoodStill := p.end()
	if err != nil {
		return false, err
	}
	s.line("")
	for _, claim := range s.failed {
		s.line("%s  %s", s.styled(bold+red, "FAILED"), claim)
	}
	if len(s.failed) > 0 && stoodStill > noticeable {
		s.line("This process stood still for up to %s; that may be why.", brief(stoodStill))
	}
	s.line("%s", s.resultLine())
	return len(s.failed) == 0, nil
}

// noticeable is a standstill of the process worth a word when a claim failed:
// from there on operations on Redis run out of time.
const noticeable = rc.DefaultOpTimeout / 2

func (s *show) acts(ctx context.Context) error {
	for _, act := range []func(context.Context) error{s.actCold, s.actExpiry, s.actUpdate, s.actDatabase, s.actRedis} {
		s.store.ResetCounts()
		if err := act(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// claim states something that must be so, and whether it is.
func (s *show) claim(held bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !held {
		s.failed = append(s.failed, text)
	}
	s.verdict(held, text)
}

// unless is the beginning of a claim with a number that is only true of one
// that held.
func unless(held bool) string {
	if held {
		return ""
	}
	return "not "
}

func (s *show) resultLine() string {
	r := s.result
	var p50, most time.Duration
	if n := len(r.lags); n > 0 {
		slices.Sort(r.lags)
		p50, most = r.lags[n/2], r.lags[n-1]
	}
	return fmt.Sprintf("RESULT instances=%d callers=%d loads_cold=%d loads_expiry=%d lag_p50_us=%d lag_max_us=%d stale_after_bound=%d errors=%d",
		instanceCount, instanceCount*s.callers, r.loadsCold, r.loadsExpiry, p50.Microseconds(), most.Microseconds(), r.staleAfterBound, r.errors)
}

// watch shows how a crowd is doing, for d or until done is closed. It returns
// an error if ctx ends before.
func (s *show) watch(ctx context.Context, c *crowd, d time.Duration, done <-chan struct{}) error {
	defer s.quiet()
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		s.live("%4.1f s   %s answers   %s   slowest %s", time.Since(began).Seconds(), count(c.answers.Load()),
			plural(s.store.Queries(), "query", "queries"), brief(time.Duration(c.slowest.Load())))
		select {
		case <-tick.C:
		case <-end.C:
			return nil
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// until asks every instance again and again, at the same time, until ok holds
// on it, and returns how long that took for the last one. It reports false
// after limit.
func (s *show) until(ctx context.Context, limit time.Duration, ok func(context.Context, *instance) bool) (time.Duration, bool) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.each(func(in *instance) {
		for ctx.Err() == nil && !ok(ctx, in) {
			pause(ctx, readerPause)
		}
	})
	return time.Since(began), ctx.Err() == nil
}

// warm makes every instance hold a product in memory, and returns what name
// each has for it.
func (s *show) warm(ctx context.Context, read func(context.Context, *instance) (Product, error)) ([instanceCount]string, error) {
	var names [instanceCount]string
	var errs [instanceCount]error
	s.each(func(in *instance) {
		p, err := read(ctx, in)
		names[in.number-1], errs[in.number-1] = p.Name, err
	})
	return names, errors.Join(errs[:]...)
}

// queries says how many queries there were in this act.
func (s *show) queries() string { return plural(s.store.Queries(), "query", "queries") }

// staleServed returns how many stale answers the instances have given, and the
// age of the oldest of them in this act.
func (s *show) staleServed() (n int64, oldest time.Duration) {
	for _, in := range s.instances {
		n += in.events.stale.Load()
		oldest = max(oldest, time.Duration(in.events.oldest.Load()))
	}
	return n, oldest
}

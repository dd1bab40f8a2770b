package locks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/lock"
	"github.com/redis/rueidis"
)

// Alone is what a lock costs that nobody else wants: medians, and ratios to a
// script that sets a key if it is not there, in the same rounds.
type Alone struct {
	Name string
	Took time.Duration
	// Low, Ratio and High are the quartiles of the ratio, round by round.
	Low, Ratio, High float64
}

// a step is one way to take a lock; undo gives it back, which is not measured.
type step struct {
	name string
	do   func(ctx context.Context) (undo func() error, err error)
}

// leaseScript makes the calls that a lease cannot do without: is it free, take
// it, and grow the token. So its round trip is what is left when the client does
// nothing.
var leaseScript = rueidis.NewLuaScript(`
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  local t = redis.call('TIME')
  local n = math.max((tonumber(redis.call('GET', KEYS[3]) or '0') or 0) + 1, t[1] * 1000000 + t[2])
  local text = string.format('%.0f', n)
  redis.call('SET', KEYS[3], text, 'PX', '90000000')
  return {1, text}
end
return {0}`)

var setScript = rueidis.NewLuaScript(`return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])`)

// alone measures in rounds, in turns of some operations each.
func alone(ctx context.Context, addrs []string, rounds, turn int) ([]Alone, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs, DisableCache: true, PipelineMultiplex: -1, AlwaysPipelining: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	steps := []step{{"script: SET NX PX", func(ctx context.Context) (func() error, error) {
		err := setScript.Exec(ctx, c, []string{"bench:alone:script"}, []string{"id", "8000"}).Error()
		return func() error { return c.Do(ctx, c.B().Del().Key("bench:alone:script").Build()).Error() }, err
	}}, {"script: what a lease does", func(ctx context.Context) (func() error, error) {
		err := leaseScript.Exec(ctx, c, []string{"bench:alone:{s}", "bench:alone:{s}:q", "bench:alone:{s}:n"}, []string{"id", "8000"}).Error()
		return func() error { return c.Do(ctx, c.B().Del().Key("bench:alone:{s}").Build()).Error() }, err
	}}, {"3 such scripts, side by side", func(ctx context.Context) (func() error, error) {
		return threeScripts(ctx, c)
	}}}
	opt, cfg := rueidis.ClientOption{InitAddress: addrs}, lock.Config{TTL: ttl, OpTimeout: 2 * time.Second}
	lease, err := lock.Open(ctx, opt, cfg)
	if err != nil {
		return nil, err
	}
	defer lease.Close()
	shards, err := lock.OpenShards(ctx, opt, 3, cfg)
	if err != nil {
		return nil, err
	}
	defer shards.Close()
	for _, l := range []struct {
		name string
		*lock.Locker
	}{{Lease, lease}, {Redlock, shards}} {
		steps = append(steps, step{l.name, func(ctx context.Context) (func() error, error) {
			k, err := l.TryAcquire(ctx, "bench:alone")
			if err != nil {
				return nil, err
			}
			return func() error { return k.Release(ctx) }, nil
		}})
	}
	for _, name := range []string{Redsync, Bsm} {
		p, err := Open(ctx, name, addrs)
		if err != nil {
			return nil, err
		}
		defer p.Close()
		steps = append(steps, step{name, func(ctx context.Context) (func() error, error) { return p.Acquire(ctx, "bench:alone:"+name) }})
	}
	return turns(ctx, steps, rounds, turn)
}

// threeScripts takes what a lease does on three shards at once: what the machine
// can do when three servers have work.
func threeScripts(ctx context.Context, c rueidis.Client) (func() error, error) {
	tags := []string{"{r53}", "{r33}", "{r217}"} // those of package lock
	each := func(f func(key string) error) error {
		errs := make(chan error, len(tags))
		for _, t := range tags {
			go func() { errs <- f("bench:alone:" + t) }() // joined below
		}
		var failed error
		for range tags {
			failed = errors.Join(failed, <-errs)
		}
		return failed
	}
	err := each(func(k string) error {
		return leaseScript.Exec(ctx, c, []string{k, k + ":q", k + ":n"}, []string{"id", "8000"}).Error()
	})
	return func() error {
		return each(func(k string) error { return c.Do(ctx, c.B().Del().Key(k).Build()).Error() })
	}, err
}

// turns measures steps by turns. The first round warms up.
func turns(ctx context.Context, steps []step, rounds, turn int) ([]Alone, error) {
	medians := make([][]time.Duration, len(steps))
	for r := range rounds + 1 {
		order := make([]int, len(steps))
		for i := range order {
			order[i] = i
		}
		if r%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			took := make([]time.Duration, 0, turn)
			for range turn {
				began := time.Now()
				undo, err := steps[i].do(ctx)
				took = append(took, time.Since(began))
				if err == nil {
					err = undo()
				}
				if err != nil {
					return nil, fmt.Errorf("locks: %s: %w", steps[i].name, err)
				}
			}
			if r > 0 {
				medians[i] = append(medians[i], median(took))
			}
		}
	}
	out := make([]Alone, len(steps))
	for i, s := range steps {
		ratios := make([]float64, rounds)
		for r := range ratios {
			ratios[r] = float64(medians[i][r]) / float64(medians[0][r])
		}
		slices.Sort(ratios)
		n := rounds - 1
		out[i] = Alone{s.name, median(medians[i]), ratios[n/4], ratios[n/2], ratios[(3*n+3)/4]}
	}
	return out, nil
}

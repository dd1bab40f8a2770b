package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

// lagResult is the largest median and the largest p99 of all verbs.
type lagResult struct{ p50, p99 time.Duration }

// lags measures how long another Manager serves what was invalidated.
func lags(ctx context.Context, events int, mode rc.Coherence) (res lagResult, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	srv, err := subject.StartRedis(ctx, "")
	if err != nil {
		return res, err
	}
	end.Add(rounds.Quiet(srv.Stop))
	p, err := subject.OpenPair(ctx, "redis://"+srv.Addr(), mode)
	if err != nil {
		return res, err
	}
	end.Add(p.Close)
	name := map[rc.Coherence]string{rc.Tracking: "Tracking", rc.Broadcast: "Broadcast"}[mode]
	fmt.Printf("\nLag of another Manager, %s, %d invalidations of each verb (µs after its return)\n", name, events)
	fmt.Printf("  %-34s %10s %10s %10s %10s  %s\n", "", "p50", "p90", "p99", "max", "seen before the return")
	for _, v := range p.LagVerbs() {
		l, err := p.Measure(ctx, v, events)
		if err != nil {
			return res, err
		}
		fmt.Printf("  %-34s %10.1f %10.1f %10.1f %10.1f  %.0f %%\n", v.Name, micros(l.At(0.5)), micros(l.At(0.9)),
			micros(l.At(0.99)), micros(l.At(1)), 100*float64(l.Before)/float64(l.Count()))
		res.p50, res.p99 = max(res.p50, l.At(0.5)), max(res.p99, l.At(0.99))
	}
	return res, nil
}

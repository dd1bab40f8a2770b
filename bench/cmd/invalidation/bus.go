package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/invalidation"
	"github.com/fleetcache/fleetcache/rc"
)

const (
	subscribers   = 8
	deliverEvents = 20_000 // published in one run
	deliverRuns   = 3
	byteEvents    = 5000 // so many that one gossip more or less does not show
)

type busResult struct {
	publish, events float64
	gaps            int64
}

func clusterURL(c *localredis.Cluster) string { return "redis://" + strings.Join(c.Addrs(), ",") }

// bus measures the bus on clusters.
func bus(ctx context.Context, least int) (res busResult, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	c, err := subject.StartCluster(ctx, localredis.Redis, 1)
	if err != nil {
		return res, err
	}
	end.Add(rounds.Quiet(c.Stop))
	if res.publish, err = publishing(ctx, c, least); err != nil {
		return res, err
	}
	if err := throughput(ctx, c, &res); err != nil {
		return res, err
	}
	fmt.Printf("\nBytes on the cluster bus for one event (%d events; without what is read anyway)\n", byteEvents)
	fmt.Printf("  %-34s %10s %10s\n", "", "stranger", "replica")
	if err := busBytes(ctx, localredis.Redis, c); err != nil {
		return res, err
	}
	if _, err := exec.LookPath(string(localredis.Valkey)); err != nil {
		fmt.Println("  no valkey-server on PATH")
		return res, nil
	}
	v, err := subject.StartCluster(ctx, localredis.Valkey, 1)
	if err != nil {
		return res, err
	}
	end.Add(rounds.Quiet(v.Stop))
	return res, busBytes(ctx, localredis.Valkey, v)
}

// publishing compares a Publish with a SET and an SPUBLISH, and returns the
// larger ratio.
func publishing(ctx context.Context, c *localredis.Cluster, least int) (ratio float64, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	f, err := subject.OpenAll(ctx, clusterURL(c), rc.Options{})
	if err != nil {
		return 0, err
	}
	end.Add(f.Close)
	b, err := subject.OpenBus(ctx, c.Addrs(), invalidation.Sharded)
	if err != nil {
		return 0, err
	}
	end.Add(b.Close)
	t := &rounds.Table{Title: "Publishing one event, cluster of 3 with replicas, one after the other", Turn: 60 * time.Millisecond, Limit: 4 * time.Second}
	for _, v := range f.Publishing(b) {
		t.Add(v.Name, v.Base, subject.Serial(v.Do))
	}
	if err := t.Run(ctx, least); err != nil {
		return 0, err
	}
	set, spublish := t.Ratio(subject.Publish, subject.PlainSet), t.Ratio(subject.Publish, subject.Spublish)
	fmt.Printf("  Publish to SET %.2f, to SPUBLISH %.2f\n", set, spublish)
	return max(set, spublish), nil
}

// throughput measures how many events 8 subscribers hear.
func throughput(ctx context.Context, c *localredis.Cluster, res *busResult) error {
	fmt.Printf("\nDelivery to %d subscribers, each a Bus of its own, in one process (median of %d runs of %d events)\n", subscribers, deliverRuns, deliverEvents)
	fmt.Printf("  %-34s %12s %12s %6s\n", "", "events/s", "deliveries/s", "gaps")
	for _, mode := range []invalidation.Mode{invalidation.Sharded, invalidation.Classic} {
		for _, batch := range []int{1, 10, 100} {
			events, gaps, err := delivered(ctx, c, mode, batch)
			if err != nil {
				return err
			}
			fmt.Printf("  %-34s %12.0f %12.0f %6d\n", fmt.Sprintf("%v, %d per Publish", mode, batch), events, events*subscribers, gaps)
			res.gaps += gaps
			if mode == invalidation.Sharded && batch == 1 {
				res.events = events
			}
		}
	}
	return nil
}

// delivered returns the median of some runs with a crowd of its own.
func delivered(ctx context.Context, c *localredis.Cluster, mode invalidation.Mode, batch int) (events float64, gaps int64, err error) {
	crowd, err := subject.OpenCrowd(ctx, c.Addrs(), mode, subscribers)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = rounds.Closers{crowd.Close}.End(err) }()
	var runs []float64
	for range deliverRuns {
		t, err := crowd.Deliver(ctx, deliverEvents, batch)
		if err != nil {
			return 0, 0, err
		}
		runs, gaps = append(runs, t.EventsPerSecond), gaps+t.Gaps
	}
	return rounds.Median(runs), gaps, nil
}

// busBytes prints what an event costs on the cluster bus.
func busBytes(ctx context.Context, f localredis.Flavor, c *localredis.Cluster) error {
	for _, mode := range []invalidation.Mode{invalidation.Sharded, invalidation.Classic} {
		b, err := subject.MeasureBusBytes(ctx, c, mode, byteEvents)
		if err != nil {
			return err
		}
		fmt.Printf("  %-34s %10.0f %10.0f\n", fmt.Sprintf("%s, %v", f, mode), b.Stranger, b.Replica)
	}
	return nil
}

package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

const (
	readKeys = 1 << 15
	smallL1  = 256 // so much less than readKeys that reads miss it
)

// reads compares values in Redis, without a memory tier, or with one that does
// not have them.
func reads(ctx context.Context, l *lab, end *rounds.Closers) error {
	ids := subject.IDs(readKeys)
	const (
		off, on       = "fleetcache, no memory", "fleetcache, memory without the value"
		base, onePipe = "rueidis GET and decode", "rueidis GET and decode, 1 connection"
	)
	s := spec{
		id: "redis", title: fmt.Sprintf("Hit in Redis, %d goroutines per core", subject.PerCore), turn: 100 * time.Millisecond,
		extra: []metric{commandsPerOp, {subject.ServerCPU, "server µs", "%.1f"}},
		text: fmt.Sprintf("%d keys. fleetcache has one connection per node, since pushes arrive on the one that has read. rueidis has several by default, "+
			"and is slower with them here.", readKeys),
		why: map[string]string{
			onePipe: "a plain GET brings neither a TTL nor a check that the bytes are those of this key",
			base:    "a plain GET brings neither a TTL nor a check that the bytes are those of this key",
		},
	}
	t := l.start(s)
	names := []string{ours}
	if !l.Quick {
		names = append(names, "go-redis/cache", "go-redis+redsync", "rockscache", "gocache")
	}
	for _, name := range names {
		c, err := l.inRedis(ctx, end, name, ids, rc.Off)
		if err != nil {
			return err
		}
		row, to := name+", no memory", off
		if name == ours {
			row, to = off, ""
		}
		t.Add(row, to, l.on(subject.OnRedis, Crowd(Hit(c, ids))))
	}
	kept, err := l.inRedis(ctx, end, ours, ids, smallL1)
	if err != nil {
		return err
	}
	t.Add(on, off, l.on(subject.OnRedis, Crowd(Hit(kept, ids))))
	for _, name := range []string{base, onePipe} {
		p, err := subject.OpenPlain(l.cluster.Addrs()[0], name == onePipe) // it finds the others
		if err != nil {
			return err
		}
		end.Add(rounds.Quiet(p.Close))
		if err := p.Fill(ctx, ids); err != nil {
			return err
		}
		t.Add(name, off, l.on(subject.OnRedis, p.Read(ids)))
	}
	if err := l.finish(ctx, t, s); err != nil {
		return err
	}
	// The larger one: to the quicker of the two clients.
	l.result("l2_ratio_vs_rueidis_get", max(t.Ratio(off, base), t.Ratio(off, onePipe)))
	return nil
}

// inRedis opens a peer that has the products of ids in Redis.
func (l *lab) inRedis(ctx context.Context, end *rounds.Closers, name string, ids []string, l1Size int) (peer.Cache, error) {
	c, err := l.open(ctx, end, name, peer.Settings{L1Size: l1Size})
	if err != nil {
		return nil, err
	}
	return c, l.filled(ctx, c, ids)
}

// filled fills a peer, and waits until what it stores in the background is in
// Redis.
func (l *lab) filled(ctx context.Context, c peer.Cache, ids []string) error {
	if err := Fill(ctx, c, ids, 0); err != nil {
		return err
	}
	return Settle(ctx, c, ids)
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

const (
	hitKeys  = 1024
	readKeys = 1 << 15
	smallL1  = 256 // so much less than readKeys that reads miss it
)

func perCore(n int) func(op func(int) error) subject.Bench {
	return func(op func(int) error) subject.Bench { return subject.Parallel(n, op) }
}

// server starts Redis for one table.
func server(ctx context.Context, end *closers, maxMemory string) (*localredis.Server, error) {
	s, err := subject.StartRedis(ctx, maxMemory)
	if err != nil {
		return nil, err
	}
	end.add(quiet(s.Stop))
	return s, nil
}

func fleet(ctx context.Context, end *closers, addr string, l1Size int) (*subject.Fleet, error) {
	f, err := subject.OpenFleet(ctx, addr, l1Size)
	if err == nil {
		end.add(f.Close)
	}
	return f, err
}

// hits measures values in memory.
func hits(ctx context.Context, rounds int) (t *table, err error) {
	var end closers
	defer func() { err = end.end(err) }()
	srv, err := server(ctx, &end, "")
	if err != nil {
		return nil, err
	}
	addr, ids := srv.Addr(), subject.IDs(hitKeys)
	f, err := fleet(ctx, &end, addr, 0)
	if err != nil {
		return nil, err
	}
	if err := f.Fill(ctx, ids); err != nil {
		return nil, err
	}
	if err := f.Warm(ctx, ids); err != nil {
		return nil, err
	}
	o := subject.NewOtter(rc.DefaultL1Size, ids)
	end.add(quiet(o.Close))
	op := subject.NewOtterPointers(rc.DefaultL1Size, ids)
	end.add(quiet(op.Close))
	const base, basePar = "otter GetIfPresent", "otter GetIfPresent, parallel"
	t = &table{title: "In memory, otter with expiry, 1024 keys", turn: 60 * time.Millisecond, limit: 10 * time.Second}
	t.add("fleetcache GetOrSet", base, f.Hit(ids))
	t.add(base, "", o.Hit(ids))
	t.add("otter GetIfPresent, pointers", base, op.Hit(ids))
	t.add("fleetcache Get", base, f.HitGet(ids))
	t.add("fleetcache GetOrSet, parallel", basePar, f.HitParallel(ids))
	t.add(basePar, "", o.HitParallel(ids))
	t.add("otter, pointers, parallel", basePar, op.HitParallel(ids))
	if err := t.run(ctx, rounds); err != nil {
		return nil, err
	}
	return t, peers(ctx, rounds, addr, f, ids)
}

// peers measures values in memory, of libraries that have Redis behind them
// or a loading API.
func peers(ctx context.Context, rounds int, addr string, f *subject.Fleet, ids []string) (err error) {
	var end closers
	defer func() { err = end.end(err) }()
	a, err := subject.OpenAside(addr)
	if err != nil {
		return err
	}
	end.add(quiet(a.Close))
	g := subject.OpenGoRedis(addr, rc.DefaultL1Size)
	end.add(g.Close)
	for _, fill := range []func(context.Context, []string) error{a.Fill, g.Fill, f.Warm} {
		if err := fill(ctx, ids); err != nil {
			return err
		}
	}
	const base = "fleetcache GetOrSet"
	t := &table{title: "In memory, peers", turn: 40 * time.Millisecond, limit: 4 * time.Second}
	t.add(base, "", f.Hit(ids))
	t.add("sturdyc GetOrFetch", base, subject.NewSturdy(rc.DefaultL1Size, ids).Hit(ids, subject.Serial))
	t.add("go-redis/cache Once, TinyLFU", base, g.Hit(ids, subject.Serial))
	t.add("rueidisaside Get, typed", base, a.Hit(ids, subject.Serial))
	t.add("rueidisaside Get, bytes", base, a.HitRaw(ids, subject.Serial))
	return t.run(ctx, rounds)
}

// reads measures values in Redis, and returns the ratio that counts: that of
// fleetcache without L1 to a GET and the same decoding, on the faster one of
// two clients: with the connections rueidis makes by default, and with one.
func reads(ctx context.Context, rounds int) (ratio float64, err error) {
	var end closers
	defer func() { err = end.end(err) }()
	srv, err := server(ctx, &end, "")
	if err != nil {
		return 0, err
	}
	addr, ids := srv.Addr(), subject.IDs(readKeys)
	const (
		off, on       = "fleetcache, L1 off", "fleetcache, L1 on, missing"
		base, onePipe = "rueidis GET + decode", "rueidis GET + decode, 1 connection"
	)
	t := &table{
		title: fmt.Sprintf("In Redis, %d goroutines per core, %d keys", subject.PerCore, readKeys),
		turn:  100 * time.Millisecond, limit: 14 * time.Second,
	}
	for _, c := range []struct {
		name   string
		l1Size int
	}{{off, rc.Off}, {on, smallL1}} {
		f, err := fleet(ctx, &end, addr, c.l1Size)
		if err != nil {
			return 0, err
		}
		if err := f.Fill(ctx, ids); err != nil {
			return 0, err
		}
		t.add(c.name, onePipe, subject.OnServer(srv, f.Read(ids)))
	}
	for _, name := range []string{base, onePipe} {
		p, err := subject.OpenPlain(addr, name == onePipe)
		if err != nil {
			return 0, err
		}
		end.add(quiet(p.Close))
		if err := p.Fill(ctx, ids); err != nil {
			return 0, err
		}
		t.add(name, map[string]string{base: onePipe}[name], subject.OnServer(srv, p.Read(ids)))
	}
	if err := t.run(ctx, rounds); err != nil {
		return 0, err
	}
	for _, name := range []string{base, onePipe} {
		r := t.ratio(off, name)
		fmt.Printf("  to %s: L1 off %.2f, L1 on but missing %.2f\n", name, r, t.ratio(on, name))
		ratio = max(ratio, r) // to the faster one
	}
	fmt.Printf("  l2_ratio below is the larger one with L1 off: %.2f\n", ratio)
	return ratio, nil
}

// misses measures values that are nowhere, with a loader that costs nothing,
// and returns the larger of two ratios to rueidisaside: of one goroutine, which
// is latency, and of many, which is work.
func misses(ctx context.Context, rounds int) (ratio float64, err error) {
	var end closers
	defer func() { err = end.end(err) }()
	srv, err := server(ctx, &end, "256mb")
	if err != nil {
		return 0, err
	}
	addr := srv.Addr()
	f, err := fleet(ctx, &end, addr, 0)
	if err != nil {
		return 0, err
	}
	a, err := subject.OpenAside(addr)
	if err != nil {
		return 0, err
	}
	end.add(quiet(a.Close))
	const (
		ours, base       = "fleetcache", "rueidisaside, typed"
		oursPar, basePar = "fleetcache, parallel", "rueidisaside, typed, parallel"
	)
	t := &table{title: "Nowhere, free loader, L1 on", turn: 100 * time.Millisecond, limit: 14 * time.Second}
	t.add(ours, base, subject.OnServer(srv, f.Miss(subject.Serial)))
	t.add(base, "", subject.OnServer(srv, a.Miss(subject.Serial)))
	t.add(oursPar, basePar, subject.OnServer(srv, f.Miss(perCore(subject.PerCore))))
	t.add(basePar, "", subject.OnServer(srv, a.Miss(perCore(subject.PerCore))))
	if err := t.run(ctx, rounds); err != nil {
		return 0, err
	}
	one, many := t.ratio(ours, base), t.ratio(oursPar, basePar)
	fmt.Printf("  miss_ratio_vs_rueidisaside below is the larger one of %.2f (1 goroutine) and %.2f (%d per core)\n", one, many, subject.PerCore)
	return max(one, many), nil
}

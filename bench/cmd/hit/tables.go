package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
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
func server(ctx context.Context, end *rounds.Closers, maxMemory string) (*localredis.Server, error) {
	s, err := subject.StartRedis(ctx, maxMemory)
	if err != nil {
		return nil, err
	}
	end.Add(rounds.Quiet(s.Stop))
	return s, nil
}

func fleet(ctx context.Context, end *rounds.Closers, addr string, l1Size int) (*subject.Fleet, error) {
	f, err := subject.OpenFleet(ctx, addr, l1Size)
	if err == nil {
		end.Add(f.Close)
	}
	return f, err
}

// hits measures values in memory.
func hits(ctx context.Context, least int) (t *rounds.Table, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
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
	end.Add(rounds.Quiet(o.Close))
	op := subject.NewOtterPointers(rc.DefaultL1Size, ids)
	end.Add(rounds.Quiet(op.Close))
	const base, basePar = "otter GetIfPresent", "otter GetIfPresent, parallel"
	t = &rounds.Table{Title: "In memory, otter with expiry, 1024 keys", Turn: 60 * time.Millisecond, Limit: 10 * time.Second}
	t.Add("fleetcache GetOrSet", base, f.Hit(ids))
	t.Add(base, "", o.Hit(ids))
	t.Add("otter GetIfPresent, pointers", base, op.Hit(ids))
	t.Add("fleetcache Get", base, f.HitGet(ids))
	t.Add("fleetcache GetOrSet, parallel", basePar, f.HitParallel(ids))
	t.Add(basePar, "", o.HitParallel(ids))
	t.Add("otter, pointers, parallel", basePar, op.HitParallel(ids))
	if err := t.Run(ctx, least); err != nil {
		return nil, err
	}
	return t, peers(ctx, least, addr, f, ids)
}

// peers measures values in memory, of libraries that have Redis behind them
// or a loading API.
func peers(ctx context.Context, least int, addr string, f *subject.Fleet, ids []string) (err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	a, err := subject.OpenAside(addr)
	if err != nil {
		return err
	}
	end.Add(rounds.Quiet(a.Close))
	g := subject.OpenGoRedis(addr, rc.DefaultL1Size)
	end.Add(g.Close)
	for _, fill := range []func(context.Context, []string) error{a.Fill, g.Fill, f.Warm} {
		if err := fill(ctx, ids); err != nil {
			return err
		}
	}
	const base = "fleetcache GetOrSet"
	t := &rounds.Table{Title: "In memory, peers", Turn: 40 * time.Millisecond, Limit: 4 * time.Second}
	t.Add(base, "", f.Hit(ids))
	t.Add("sturdyc GetOrFetch", base, subject.NewSturdy(rc.DefaultL1Size, ids).Hit(ids, subject.Serial))
	t.Add("go-redis/cache Once, TinyLFU", base, g.Hit(ids, subject.Serial))
	t.Add("rueidisaside Get, typed", base, a.Hit(ids, subject.Serial))
	t.Add("rueidisaside Get, bytes", base, a.HitRaw(ids, subject.Serial))
	return t.Run(ctx, least)
}

// reads measures values in Redis, and returns the ratio that counts: that of
// fleetcache without L1 to a GET and the same decoding, on the faster one of
// two clients: with the connections rueidis makes by default, and with one.
func reads(ctx context.Context, least int) (ratio float64, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	srv, err := server(ctx, &end, "")
	if err != nil {
		return 0, err
	}
	addr, ids := srv.Addr(), subject.IDs(readKeys)
	const (
		off, on       = "fleetcache, L1 off", "fleetcache, L1 on, missing"
		base, onePipe = "rueidis GET + decode", "rueidis GET + decode, 1 connection"
	)
	t := &rounds.Table{
		Title: fmt.Sprintf("In Redis, %d goroutines per core, %d keys", subject.PerCore, readKeys),
		Turn:  100 * time.Millisecond, Limit: 14 * time.Second,
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
		t.Add(c.name, onePipe, subject.OnServer(srv, f.Read(ids)))
	}
	for _, name := range []string{base, onePipe} {
		p, err := subject.OpenPlain(addr, name == onePipe)
		if err != nil {
			return 0, err
		}
		end.Add(rounds.Quiet(p.Close))
		if err := p.Fill(ctx, ids); err != nil {
			return 0, err
		}
		t.Add(name, map[string]string{base: onePipe}[name], subject.OnServer(srv, p.Read(ids)))
	}
	if err := t.Run(ctx, least); err != nil {
		return 0, err
	}
	for _, name := range []string{base, onePipe} {
		r := t.Ratio(off, name)
		fmt.Printf("  to %s: L1 off %.2f, L1 on but missing %.2f\n", name, r, t.Ratio(on, name))
		ratio = max(ratio, r) // to the faster one
	}
	fmt.Printf("  l2_ratio below is the larger one with L1 off: %.2f\n", ratio)
	return ratio, nil
}

// misses measures values that are nowhere, with a loader that costs nothing,
// and returns the larger of two ratios to rueidisaside: of one goroutine, which
// is latency, and of many, which is work.
func misses(ctx context.Context, least int) (ratio float64, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
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
	end.Add(rounds.Quiet(a.Close))
	const (
		ours, base       = "fleetcache", "rueidisaside, typed"
		oursPar, basePar = "fleetcache, parallel", "rueidisaside, typed, parallel"
	)
	t := &rounds.Table{Title: "Nowhere, free loader, L1 on", Turn: 100 * time.Millisecond, Limit: 14 * time.Second}
	t.Add(ours, base, subject.OnServer(srv, f.Miss(subject.Serial)))
	t.Add(base, "", subject.OnServer(srv, a.Miss(subject.Serial)))
	t.Add(oursPar, basePar, subject.OnServer(srv, f.Miss(perCore(subject.PerCore))))
	t.Add(basePar, "", subject.OnServer(srv, a.Miss(perCore(subject.PerCore))))
	if err := t.Run(ctx, least); err != nil {
		return 0, err
	}
	one, many := t.Ratio(ours, base), t.Ratio(oursPar, basePar)
	fmt.Printf("  miss_ratio_vs_rueidisaside below is the larger one of %.2f (1 goroutine) and %.2f (%d per core)\n", one, many, subject.PerCore)
	return max(one, many), nil
}

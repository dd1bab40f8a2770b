package compare

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

const (
	ours    = "fleetcache"
	hitKeys = 1024
)

// directHits compares hits of nanoseconds, without an interface between: with
// the fastest memory there is a reason to compare with, and with sturdyc.
func directHits(ctx context.Context, l *lab, end *rounds.Closers) error {
	ids := subject.IDs(hitKeys)
	f, err := subject.OpenFleet(ctx, strings.Join(l.cluster.Addrs(), ","), 0)
	if err != nil {
		return err
	}
	end.Add(f.Close)
	if err := f.Fill(ctx, ids); err != nil {
		return err
	}
	if err := f.Warm(ctx, ids); err != nil {
		return err
	}
	o := subject.NewOtter(rc.DefaultL1Size, ids)
	end.Add(rounds.Quiet(o.Close))
	op := subject.NewOtterPointers(rc.DefaultL1Size, ids)
	end.Add(rounds.Quiet(op.Close))
	const (
		get, par         = "fleetcache GetOrSet", "fleetcache GetOrSet, all cores"
		otterGet, ptr    = "otter GetIfPresent", "otter GetIfPresent, pointers"
		sturdy           = "sturdyc GetOrFetch"
		otterPar, ptrPar = "otter GetIfPresent, all cores", "otter GetIfPresent, pointers, all cores"
	)
	const memoryOnly = "it is memory and nothing else: a hit of fleetcache also asks whether a push, a token, or the silence of a connection has ended the value"
	const notCopied = memoryOnly + ", and copies the struct"
	s := spec{
		id: "hit-direct", title: "Hit in memory, without an interface between", turn: 60 * time.Millisecond,
		text: fmt.Sprintf("1,024 structs of %d bytes and what they point to. ", unsafe.Sizeof(subject.Product{})) +
			"Otter expires what was written an hour ago; its values are the struct, or pointers to it.",
		why: map[string]string{otterGet: memoryOnly, otterPar: memoryOnly, ptr: notCopied, ptrPar: notCopied},
	}
	t := l.start(s)
	t.Add(get, "", f.Hit(ids))
	t.Add(otterGet, get, o.Hit(ids))
	t.Add(ptr, get, op.Hit(ids))
	t.Add(sturdy, get, subject.NewSturdy(rc.DefaultL1Size, ids).HitLoop(ids))
	if !l.Quick {
		t.Add(par, "", f.HitParallel(ids))
		t.Add(otterPar, par, o.HitParallel(ids))
		t.Add(ptrPar, par, op.HitParallel(ids))
	}
	if err := l.finish(ctx, t, s); err != nil {
		return err
	}
	l.result("hit_ratio_vs_otter_expiry", t.Ratio(get, otterGet))
	l.result("hit_speedup_vs_sturdyc", t.Ratio(sturdy, get))
	return nil
}

// whyHit says what makes hits in memory quicker than ours.
var whyHit = map[string]string{
	"otter": "it is memory and nothing else, and asks only whether the value has expired",
}

// hits compares hits in memory through the interface of package peer.
func hits(ctx context.Context, l *lab, end *rounds.Closers) error {
	names := []string{ours, "go-redis/cache", "rueidisaside"}
	if !l.Quick {
		names = []string{ours, "otter", "sturdyc", "go-redis/cache", "gocache", "rueidisaside", "rueidis DoCache"}
	}
	ids := subject.IDs(hitKeys)
	caches, err := l.inMemory(ctx, end, names, ids, 0)
	if err != nil {
		return err
	}
	s := spec{
		id: "hit", title: "Hit in memory, one goroutine", turn: 40 * time.Millisecond, why: whyHit,
		extra: []metric{commandsPerOp},
		text:  "GetOrSet, Once, GetOrFetch, Get or what the peer calls it, of one of 1,024 small values. go-redis/cache, gocache, rueidisaside and DoCache have the encoded value in memory and decode it with every hit.",
	}
	t := l.start(s)
	l.hitRows(t, names, caches, ids, subject.Serial)
	if err := l.finish(ctx, t, s); err != nil {
		return err
	}
	for _, p := range []struct{ key, name string }{
		{"hit_speedup_vs_rueidisaside_typed", "rueidisaside"},
		{"hit_speedup_vs_goredis_cache", "go-redis/cache"},
	} {
		l.result(p.key, t.Ratio(p.name, ours))
	}
	if l.Quick {
		return nil
	}
	s.id, s.title = "hit-parallel", "Hit in memory, one goroutine per core"
	t = l.start(s)
	l.hitRows(t, names, caches, ids, Cores)
	return l.finish(ctx, t, s)
}

// inMemory opens peers that have the products of ids in memory.
func (l *lab) inMemory(ctx context.Context, end *rounds.Closers, names, ids []string, size int) ([]peer.Cache, error) {
	var out []peer.Cache
	for _, name := range names {
		c, err := l.open(ctx, end, name, peer.Settings{})
		if err != nil {
			return nil, err
		}
		if err := Fill(ctx, c, ids, size); err != nil {
			return nil, err
		}
		if err := Warm(ctx, c, ids, l.cluster.Nodes()); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// hitRows adds a row for each peer, the first of which is ours.
func (l *lab) hitRows(t *rounds.Table, names []string, caches []peer.Cache, ids []string, run Runner) {
	for i, name := range names {
		base := ours
		if i == 0 {
			base = ""
		}
		t.Add(name, base, l.on(subject.InMemory, run(Hit(caches[i], ids))))
	}
}

// hitSizes compares hits of larger values.
func hitSizes(ctx context.Context, l *lab, end *rounds.Closers) error {
	names := []string{ours, "otter", "sturdyc", "go-redis/cache", "gocache", "rueidisaside", "rueidis DoCache"}
	ids := subject.IDs(128)
	for _, size := range []struct {
		id, title string
		bytes     int
	}{{"hit-4k", "4 KiB", 4 << 10}, {"hit-64k", "64 KiB", 64 << 10}} {
		caches, err := l.inMemory(ctx, end, names, ids, size.bytes)
		if err != nil {
			return err
		}
		s := spec{
			id: size.id, title: "Hit in memory, values of " + size.title + ", one goroutine", turn: 40 * time.Millisecond, why: whyHit,
			extra: []metric{commandsPerOp},
			text:  "As above, 128 values. Who decodes with every hit pays for the size, who keeps the decoded value does not.",
		}
		t := l.start(s)
		l.hitRows(t, names, caches, ids, subject.Serial)
		if err := l.finish(ctx, t, s); err != nil {
			return err
		}
	}
	return nil
}

package bench

import (
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

const (
	hitKeys  = 1024
	readKeys = 1 << 15
	smallL1  = 256 // so much less than readKeys that reads miss it
)

// BenchmarkHit is a value in memory.
func BenchmarkHit(b *testing.B) {
	addr, ids, ctx := redis(b, "").Addr(), subject.IDs(hitKeys), b.Context()
	f := fleet(b, addr, 0)
	ok(b, f.Fill(ctx, ids))
	ok(b, f.Warm(ctx, ids))
	o := subject.NewOtter(rc.DefaultL1Size, ids)
	b.Cleanup(o.Close)
	op := subject.NewOtterPointers(rc.DefaultL1Size, ids)
	b.Cleanup(op.Close)
	a := must(subject.OpenAside(addr))(b)
	b.Cleanup(a.Close)
	ok(b, a.Fill(ctx, ids))
	g := subject.OpenGoRedis(addr, rc.DefaultL1Size)
	closing(b, g.Close)
	ok(b, g.Fill(ctx, ids))
	s := subject.NewSturdy(rc.DefaultL1Size, ids)
	parallel := func(op func(int) error) subject.Bench { return subject.Parallel(1, op) }

	run(b, "fleetcache/GetOrSet", f.Hit(ids))
	run(b, "fleetcache/Get", f.HitGet(ids))
	run(b, "otter", o.Hit(ids))
	run(b, "otter/pointers", op.Hit(ids))
	run(b, "sturdyc", s.Hit(ids, subject.Serial))
	run(b, "rueidisaside/typed", a.Hit(ids, subject.Serial))
	run(b, "rueidisaside/raw", a.HitRaw(ids, subject.Serial))
	run(b, "go-redis-cache", g.Hit(ids, subject.Serial))
	ok(b, f.Warm(ctx, ids))
	run(b, "parallel/fleetcache/GetOrSet", f.HitParallel(ids))
	run(b, "parallel/otter", o.HitParallel(ids))
	run(b, "parallel/otter/pointers", op.HitParallel(ids))
	run(b, "parallel/sturdyc", s.Hit(ids, parallel))
	run(b, "parallel/rueidisaside/typed", a.Hit(ids, parallel))
	run(b, "parallel/rueidisaside/raw", a.HitRaw(ids, parallel))
	run(b, "parallel/go-redis-cache", g.Hit(ids, parallel))
}

// BenchmarkRead is a value in Redis, read by 64 goroutines per core.
func BenchmarkRead(b *testing.B) {
	srv, ids, ctx := redis(b, ""), subject.IDs(readKeys), b.Context()
	addr := srv.Addr()
	off, on := fleet(b, addr, rc.Off), fleet(b, addr, smallL1)
	ok(b, off.Fill(ctx, ids))
	plain := must(subject.OpenPlain(addr, false))(b)
	b.Cleanup(plain.Close)
	onePipe := must(subject.OpenPlain(addr, true))(b)
	b.Cleanup(onePipe.Close)
	ok(b, plain.Fill(ctx, ids))

	run(b, "fleetcache/L1=off", subject.OnServer(srv, off.Read(ids)))
	run(b, "fleetcache/L1=missing", subject.OnServer(srv, on.Read(ids)))
	run(b, "rueidis/default", subject.OnServer(srv, plain.Read(ids)))
	run(b, "rueidis/one-pipe", subject.OnServer(srv, onePipe.Read(ids)))
}

// BenchmarkMiss is a value that is nowhere, with a loader that costs nothing.
func BenchmarkMiss(b *testing.B) {
	srv := redis(b, "256mb")
	addr := srv.Addr()
	off, on := fleet(b, addr, rc.Off), fleet(b, addr, 0)
	a := must(subject.OpenAside(addr))(b)
	b.Cleanup(a.Close)
	parallel := func(op func(int) error) subject.Bench { return subject.Parallel(subject.PerCore, op) }

	run(b, "fleetcache/L1=off", subject.OnServer(srv, off.Miss(subject.Serial)))
	run(b, "fleetcache/L1=on", subject.OnServer(srv, on.Miss(subject.Serial)))
	run(b, "rueidisaside/typed", subject.OnServer(srv, a.Miss(subject.Serial)))
	run(b, "parallel/fleetcache/L1=off", subject.OnServer(srv, off.Miss(parallel)))
	run(b, "parallel/fleetcache/L1=on", subject.OnServer(srv, on.Miss(parallel)))
	run(b, "parallel/rueidisaside/typed", subject.OnServer(srv, a.Miss(parallel)))
}

package bench

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/compare"
	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// lab is a cluster and the peers on it, for one benchmark.
type lab struct {
	tb      testing.TB
	cluster *localredis.Cluster
	opened  int
}

func newLab(tb testing.TB) *lab {
	tb.Helper()
	localredis.Require(tb, localredis.Redis)
	c := must(subject.StartCacheCluster(tb.Context(), "512mb"))(tb)
	tb.Cleanup(c.Stop)
	return &lab{tb: tb, cluster: c}
}

// open opens a peer with keys of its own.
func (l *lab) open(name string, s peer.Settings) peer.Cache {
	l.tb.Helper()
	l.opened++
	s.Addrs, s.OpTimeout = l.cluster.Addrs(), subject.OpTimeout
	if s.Prefix == "" {
		s.Prefix = "b" + strconv.Itoa(l.opened)
	}
	c := must(peer.Open(l.tb.Context(), name, s))(l.tb)
	closing(l.tb, c.Close)
	return c
}

// inMemory opens a peer that has the products of ids in memory.
func (l *lab) inMemory(name string, s peer.Settings, ids []string, size int) peer.Cache {
	l.tb.Helper()
	c := l.open(name, s)
	ok(l.tb, compare.Fill(l.tb.Context(), c, ids, size))
	ok(l.tb, compare.Warm(l.tb.Context(), c, ids, l.cluster.Nodes()))
	return c
}

// inRedis opens a peer without memory that has the products of ids in Redis.
func (l *lab) inRedis(name string, ids []string) peer.Cache {
	l.tb.Helper()
	c := l.open(name, peer.Settings{L1Size: rc.Off})
	ok(l.tb, compare.Fill(l.tb.Context(), c, ids, 0))
	ok(l.tb, compare.Settle(l.tb.Context(), c, ids))
	return c
}

func (l *lab) on(want subject.Bounds, body subject.Bench) subject.Bench {
	return subject.OnCluster(l.cluster.Nodes(), want, body)
}

// having returns the names of the peers with some traits.
func having(tb testing.TB, want func(peer.Traits) bool) (names []string) {
	tb.Helper()
	for _, name := range peer.Names() {
		if want(must(peer.TraitsOf(name))(tb)) {
			names = append(names, name)
		}
	}
	return names
}

func withMemory(t peer.Traits) bool { return t.Memory && !t.Stale }
func withRedis(t peer.Traits) bool  { return t.Redis && !t.Stale }

// BenchmarkPeerHit is a value in memory, of each peer that has a memory.
func BenchmarkPeerHit(b *testing.B) {
	l := newLab(b)
	for _, size := range []struct {
		name        string
		bytes, keys int
	}{{"small", 0, hitKeys}, {"4KiB", 4 << 10, 128}, {"64KiB", 64 << 10, 128}} {
		ids := subject.IDs(size.keys)
		for _, name := range having(b, withMemory) {
			c := l.inMemory(name, peer.Settings{}, ids, size.bytes)
			run(b, size.name+"/1/"+name, l.on(subject.InMemory, subject.Serial(compare.Hit(c, ids))))
			run(b, size.name+"/all/"+name, l.on(subject.InMemory, compare.Cores(compare.Hit(c, ids))))
		}
	}
}

// BenchmarkPeerZipf is 95 % reads and 5 % invalidations.
func BenchmarkPeerZipf(b *testing.B) {
	l, series := newLab(b), compare.NewSkewed()
	for _, name := range having(b, func(t peer.Traits) bool { return !t.Stale }) {
		c := l.open(name, peer.Settings{})
		ok(b, series.Warm(b.Context(), c))
		run(b, name, l.on(subject.Anything, series.Mix(c)))
	}
}

// BenchmarkPeerRead is a value in Redis, of each peer that can do without
// memory: the others would not go there.
func BenchmarkPeerRead(b *testing.B) {
	l, ids := newLab(b), subject.IDs(readKeys)
	for _, name := range []string{"fleetcache", "rueidis GET", "go-redis/cache", "go-redis+redsync", "rockscache", "gocache"} {
		c := l.inRedis(name, ids)
		run(b, "1/"+name, l.on(subject.OnRedis, subject.Serial(compare.Hit(c, ids))))
		run(b, "crowd/"+name, l.on(subject.OnRedis, compare.Crowd(compare.Hit(c, ids))))
	}
}

// BenchmarkPeerMiss is a value that is nowhere, with a load that costs nothing.
func BenchmarkPeerMiss(b *testing.B) {
	l := newLab(b)
	for _, name := range having(b, withRedis) {
		c := l.open(name, peer.Settings{})
		run(b, "1/"+name, l.on(subject.OnRedis, subject.Serial(compare.Miss(c))))
		run(b, "crowd/"+name, l.on(subject.OnRedis, compare.Crowd(compare.Miss(c))))
	}
}

// BenchmarkPeerExpiry is a few keys that end under load, in two processes. It
// reports loads for each expiry, and what those wait who meet one.
func BenchmarkPeerExpiry(b *testing.B) {
	l := newLab(b)
	for i, name := range peer.Names() {
		s := compare.ExpirySettings()
		s.Prefix = "expiry" + strconv.Itoa(i)
		run(b, name, compare.Expiry([]peer.Cache{l.open(name, s), l.open(name, s)}))
	}
}

// BenchmarkPeerAbsent is what is known not to exist.
func BenchmarkPeerAbsent(b *testing.B) {
	l, ids := newLab(b), subject.IDs(hitKeys)
	for _, name := range having(b, func(t peer.Traits) bool { return t.Negative && !t.Stale }) {
		c := l.open(name, peer.Settings{NegativeTTL: subject.TTL})
		ok(b, compare.FillAbsent(b.Context(), c, ids))
		run(b, name, l.on(subject.Anything, subject.Serial(compare.Absent(c, ids))))
	}
}

// BenchmarkPeerTagged is a value in memory that has tags.
func BenchmarkPeerTagged(b *testing.B) {
	l, ids := newLab(b), subject.IDs(hitKeys)
	for _, name := range []string{"fleetcache", "gocache"} {
		for _, n := range []int{0, 2, 16} {
			c := l.inMemory(name, compare.TagsOf(n), ids, 0)
			run(b, fmt.Sprintf("tags=%d/%s", n, name), l.on(subject.InMemory, subject.Serial(compare.Hit(c, ids))))
		}
	}
}

// BenchmarkPeerMany is batches of three sizes, in memory, in Redis and nowhere,
// and the loop that they take the place of.
func BenchmarkPeerMany(b *testing.B) {
	const keys = 1 << 13
	l, ids := newLab(b), subject.IDs(keys)
	for _, name := range []string{"fleetcache", "rueidis DoCache", "sturdyc", "otter"} {
		c := l.inMemory(name, peer.Settings{L1Size: 2 * keys}, ids, 0).(peer.Batcher)
		for _, n := range []int{1, 100, 1000} {
			want := subject.Bounds{Least: -1, Most: float64(n) / 50}
			run(b, fmt.Sprintf("memory/%d/%s", n, name), l.on(want, subject.Serial(compare.HitMany(c, ids, n))))
			run(b, fmt.Sprintf("memory/%d/%s/loop", n, name), l.on(want, subject.Serial(compare.HitLoop(c, ids, n))))
		}
	}
	for _, name := range []string{"fleetcache", "rueidis GET", "go-redis+redsync"} {
		c := l.inRedis(name, ids).(peer.Batcher)
		for _, n := range []int{1, 100, 1000} {
			run(b, fmt.Sprintf("redis/%d/%s", n, name), l.on(subject.OnRedis, subject.Serial(compare.HitMany(c, ids, n))))
			run(b, fmt.Sprintf("redis/%d/%s/loop", n, name), l.on(subject.OnRedis, subject.Serial(compare.HitLoop(c, ids, n))))
			run(b, fmt.Sprintf("miss/%d/%s", n, name), l.on(subject.OnRedis, subject.Serial(compare.MissMany(c, n))))
			run(b, fmt.Sprintf("miss/%d/%s/loop", n, name), l.on(subject.OnRedis, subject.Serial(compare.MissLoop(c, n))))
		}
	}
}

// BenchmarkPeerWrite is Set and Delete.
func BenchmarkPeerWrite(b *testing.B) {
	l, ids := newLab(b), subject.IDs(hitKeys)
	for _, name := range having(b, func(t peer.Traits) bool { return withRedis(t) && t.Module != "github.com/viccon/sturdyc" }) {
		c := l.open(name, peer.Settings{})
		if s, ok := c.(peer.Setter); ok {
			run(b, "Set/1/"+name, l.on(subject.OnRedis, subject.Serial(compare.Set(s, ids))))
			run(b, "Set/crowd/"+name, l.on(subject.OnRedis, compare.Crowd(compare.Set(s, ids))))
		}
		run(b, "Delete/1/"+name, l.on(subject.OnRedis, subject.Serial(compare.Delete(c, ids))))
		run(b, "Delete/crowd/"+name, l.on(subject.OnRedis, compare.Crowd(compare.Delete(c, ids))))
	}
}

// BenchmarkPeerInvalidateTag is a tag that 100 values have. Those of gocache are
// in Redis only, see compare.
func BenchmarkPeerInvalidateTag(b *testing.B) {
	l := newLab(b)
	c := l.open("fleetcache", peer.Settings{Tags: compare.WithOneTag})
	run(b, "fleetcache", compare.InvalidateTag(c.(compare.TagSetter)))
	c = l.open("gocache", peer.Settings{Tags: compare.WithOneTag, L1Size: rc.Off})
	run(b, "gocache", compare.InvalidateTag(c.(compare.TagSetter)))
}

// BenchmarkCodec is an encoding and a decoding.
func BenchmarkCodec(b *testing.B) {
	for _, c := range must(compare.Codecs())(b) {
		for _, size := range []int{0, 4 << 10, 64 << 10} {
			run(b, fmt.Sprintf("%s/%d", c.Name, size), compare.Encode(c.Codec, subject.NewLargeProduct(7, size)))
		}
	}
}

// BenchmarkPeerMemory reports the live heap for each entry.
func BenchmarkPeerMemory(b *testing.B) {
	for _, name := range having(b, withMemory) {
		b.Run(name, func(b *testing.B) {
			l := newLab(b)
			for range b.N {
				h := must(compare.Hold(b.Context(), l.cluster.Nodes(), func(s peer.Settings) (peer.Cache, error) {
					return l.open(name, s), nil
				}))(b)
				b.ReportMetric(h.Bytes, "bytes/entry")
				b.ReportMetric(100*h.Part, "memory%")
			}
		})
	}
}

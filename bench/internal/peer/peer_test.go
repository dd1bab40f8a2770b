package peer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// TestPeers puts each peer to the claims of its traits: a comparison with one
// that does less than is said of it would say nothing.
func TestPeers(t *testing.T) {
	localredis.Require(t, localredis.Redis)
	c, err := subject.StartCluster(t.Context(), localredis.Redis, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	for i, k := range kinds() {
		// All share the cluster, and each has keys of its own.
		e := env{kind: k, addrs: c.Addrs(), prefix: "t" + strconv.Itoa(i) + "."}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			t.Run("reads", e.reads)
			t.Run("absent", e.absent)
			t.Run("redis", e.redis)
			t.Run("once", e.once)
			t.Run("told", e.told)
			t.Run("many", e.many)
			t.Run("set", e.set)
			t.Run("tags", e.tags)
			t.Run("stale", e.stale)
		})
	}
}

// env is a kind on a cluster.
type env struct {
	kind   kind
	addrs  []string
	prefix string
}

func (e env) open(t *testing.T, s Settings) Cache {
	t.Helper()
	// Each test has keys of its own, and all processes of one test the same.
	s.Addrs, s.Prefix, s.OpTimeout = e.addrs, e.prefix+path.Base(t.Name()), 5*time.Second
	c, err := Open(t.Context(), e.kind.name, s)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name() != e.kind.name {
		t.Errorf("Name() = %q, want %q", c.Name(), e.kind.name)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// source is a database with one product, in versions.
type source struct {
	version atomic.Int64
	loads   atomic.Int64
}

func (s *source) load(context.Context) (subject.Product, error) {
	s.loads.Add(1)
	return subject.NewProduct(s.version.Load()), nil
}

// get reads, and fails if that does.
func get(t *testing.T, c Cache, id string, l Load) subject.Product {
	t.Helper()
	v, err := c.GetOrLoad(t.Context(), id, l)
	if err != nil {
		t.Fatalf("GetOrLoad(%q): %v", id, err)
	}
	return v
}

func set(t *testing.T, c Setter, id string, v subject.Product) {
	t.Helper()
	if err := c.Set(t.Context(), id, v); err != nil {
		t.Fatalf("Set(%q): %v", id, err)
	}
}

// same reports whether two products are equal. msgpack does not keep the zone.
func same(a, b subject.Product) bool {
	a.Updated = a.Updated.UTC()
	return reflect.DeepEqual(a, b)
}

// until calls f until it returns true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 10s not: %s", what)
		}
	}
}

// late says that the next read after a load may load again: gocache stores in
// the background, and "rueidis DoCache" has in memory that the key does not
// exist and hears of its own SET by the push alone.
func (e env) late() bool { return e.kind.name == "gocache" || e.kind.name == "rueidis DoCache" }

func (e env) reads(t *testing.T) {
	c, src := e.open(t, Settings{}), &source{}
	want := subject.NewProduct(0)
	threeReads := func() int64 {
		before := src.loads.Load()
		for range 3 {
			if got := get(t, c, "a", src.load); !same(got, want) {
				t.Fatalf("GetOrLoad = %+v, want %+v", got, want)
			}
		}
		return src.loads.Load() - before
	}
	n := threeReads()
	if n != 1 && !e.late() {
		t.Errorf("%d loads for three reads, want 1", n)
	}
	if n < 1 {
		t.Errorf("a value, and nothing was loaded")
	}
	until(t, "three reads that load nothing", func() bool { return threeReads() == 0 })
	src.version.Store(1)
	// rockscache may serve the old value still, and those that store in the
	// background may store it after the Invalidate.
	until(t, "new value after Invalidate", func() bool {
		if err := c.Invalidate(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		return get(t, c, "a", src.load).ID == 1
	})

	boom := errors.New("boom")
	if _, err := c.GetOrLoad(t.Context(), "b", func(context.Context) (subject.Product, error) {
		return subject.Product{}, boom
	}); !errors.Is(err, boom) {
		t.Errorf("GetOrLoad with a load that fails = %v, want its error", err)
	}
}

func (e env) absent(t *testing.T) {
	c := e.open(t, Settings{})
	var loads int
	for range 3 {
		_, err := c.GetOrLoad(t.Context(), "none", func(context.Context) (subject.Product, error) {
			loads++
			return subject.Product{}, ErrNotFound
		})
		if !errors.Is(err, ErrNotFound) {
			t.Fatalf("GetOrLoad of what does not exist = %v, want ErrNotFound", err)
		}
	}
	if want := map[bool]int{true: 1, false: 3}[e.kind.traits.Negative]; loads != want {
		t.Errorf("%d loads of what does not exist in three reads, want %d", loads, want)
	}
}

// redis: what one process has loaded another one finds, or does not.
func (e env) redis(t *testing.T) {
	a, src := e.open(t, Settings{}), &source{}
	get(t, a, "a", src.load)
	if !e.kind.traits.Redis {
		get(t, e.open(t, Settings{}), "a", src.load)
		if n := src.loads.Load(); n != 2 {
			t.Errorf("%d loads by two processes without Redis, want 2", n)
		}
		return
	}
	until(t, "a value that another process finds", func() bool { // stored in the background by some
		before := src.loads.Load()
		get(t, e.open(t, Settings{}), "a", src.load)
		return src.loads.Load() == before
	})
}

// once: callers of two processes, who come while the value is being loaded.
func (e env) once(t *testing.T) {
	a, b, src := e.open(t, Settings{}), e.open(t, Settings{}), &source{}
	const callers = 8
	var running, most atomic.Int64
	entered, release := make(chan struct{}, 4*callers), make(chan struct{})
	load := func(ctx context.Context) (subject.Product, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		entered <- struct{}{}
		<-release
		return src.load(ctx)
	}
	var wg sync.WaitGroup
	for i := range 2 * callers {
		c := a
		if i%2 == 1 {
			c = b
		}
		wg.Go(func() { get(t, c, "a", load) })
	}
	want := map[Scope]int64{Caller: 2 * callers, Process: 2, Fleet: 1}[e.kind.traits.Once]
	for range want {
		<-entered
	}
	close(release)
	wg.Wait()
	// Some tell the callers before they store, so that one who is late loads
	// again; but not at the same time. Those that are once in the fleet store
	// first.
	if n := most.Load(); n != want {
		t.Errorf("%d loads at a time by 8 callers in each of two processes, want %d (once in %s)", n, want, e.kind.traits.Once)
	}
	if n := src.loads.Load(); n != want && e.kind.traits.Once == Fleet {
		t.Errorf("%d loads by 8 callers in each of two processes, want %d", n, want)
	}
}

// told: a value in the memory of one process, invalidated by another.
func (e env) told(t *testing.T) {
	a, b, src := e.open(t, Settings{}), e.open(t, Settings{}), &source{}
	for range 3 {
		get(t, a, "a", src.load)
	}
	src.version.Store(1)
	if err := b.Invalidate(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if e.kind.traits.Coherent {
		until(t, "new value after an Invalidate elsewhere", func() bool { return get(t, a, "a", src.load).ID == 1 })
		return
	}
	if e.kind.name == "gocache" {
		return // its memory takes values in the background: it may have none
	}
	if v := get(t, a, "a", src.load); v.ID != 0 {
		t.Errorf("memory was told of an Invalidate elsewhere; say so in the traits")
	}
}

func (e env) many(t *testing.T) {
	c, ok := e.open(t, Settings{}).(Batcher)
	if !ok {
		t.Skip("has no batches")
	}
	ids := []string{"0", "1", "2", "3", "none"}
	var asked [][]string
	load := func(_ context.Context, missing []string) (map[string]subject.Product, error) {
		asked = append(asked, slices.Sorted(slices.Values(missing)))
		out := map[string]subject.Product{}
		for _, id := range missing {
			if n, err := strconv.ParseInt(id, 10, 64); err == nil {
				out[id] = subject.NewProduct(n)
			}
		}
		return out, nil
	}
	until(t, "a read that loads nothing", func() bool {
		loaded := false
		get(t, c, "1", func(context.Context) (subject.Product, error) {
			loaded = true
			return subject.NewProduct(1), nil
		})
		return !loaded
	})
	read := func() {
		got, err := c.Many(t.Context(), ids, load)
		if err != nil {
			t.Fatal(err)
		}
		for n := range int64(4) {
			if v := got[strconv.FormatInt(n, 10)]; !same(v, subject.NewProduct(n)) {
				t.Errorf("Many has %+v for %d", v, n)
			}
		}
		if len(got) != 4 {
			t.Errorf("Many returned %d values, want 4", len(got))
		}
	}
	read()
	if len(asked) != 1 || !slices.Equal(asked[0], []string{"0", "2", "3", "none"}) {
		t.Fatalf("loads were asked for %q, want all but 1", asked)
	}
	settled := func() bool {
		asked = nil
		read()
		return len(asked) == 0 || len(asked) == 1 && slices.Equal(asked[0], []string{"none"})
	}
	if !settled() && !e.late() {
		t.Errorf("loads were asked for %q, want at most what does not exist", asked)
	}
	until(t, "Many that loads at most what does not exist", settled)
}

func (e env) set(t *testing.T) {
	c, ok := e.open(t, Settings{}).(Setter)
	if !ok {
		t.Skip("has no Set")
	}
	src := &source{}
	get(t, c, "a", src.load)
	until(t, "value that was set", func() bool { // what was loaded may be stored after it
		set(t, c, "a", subject.NewProduct(7))
		return get(t, c, "a", src.load).ID == 7
	})
}

func (e env) tags(t *testing.T) {
	settings := Settings{Tags: func(string, subject.Product) []string { return []string{"x", "y"} }}
	c, ok := e.open(t, settings).(Tagger)
	if !ok {
		t.Skip("has no tags")
	}
	src, reader := &source{}, Cache(c)
	if e.kind.name == "gocache" {
		// It stores what was loaded in the background, and a value whose tags it
		// stores while they are invalidated is left for good. What its memory has
		// from Redis has no tags.
		set(t, c.(Setter), "a", subject.NewProduct(0))
		reader = e.open(t, settings)
	} else {
		get(t, c, "a", src.load)
	}
	src.version.Store(1)
	if err := c.InvalidateTag(t.Context(), "y"); err != nil {
		t.Fatal(err)
	}
	if v := get(t, reader, "a", src.load); v.ID != 1 {
		t.Errorf("GetOrLoad after InvalidateTag = %+v, want the new value", v)
	}
}

// stale: while a value is loaded again, the old one is served.
func (e env) stale(t *testing.T) {
	if !e.kind.traits.Stale {
		t.Skip("serves no stale values")
	}
	c, src := e.open(t, Settings{TTL: 200 * time.Millisecond, StaleFor: time.Minute}), &source{}
	get(t, c, "a", src.load)
	src.version.Store(1)
	entered, release := make(chan struct{}, 64), make(chan struct{})
	slow := func(ctx context.Context) (subject.Product, error) {
		entered <- struct{}{}
		<-release
		return src.load(ctx)
	}
	until(t, "load in the background", func() bool {
		if v := get(t, c, "a", slow); v.ID != 0 {
			t.Fatalf("value %d before its load has ended", v.ID)
		}
		return len(entered) > 0
	})
	close(release)
	until(t, "value of the load in the background", func() bool { return get(t, c, "a", slow).ID == 1 })
}

// Open refuses what a peer cannot do, and what there is not.
func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		s    Settings
	}{
		{"nobody", Settings{}},
		{"go-redis/cache", Settings{TTL: time.Millisecond}},
	} {
		if c, err := Open(t.Context(), tc.name, tc.s); err == nil {
			t.Errorf("Open(%q, %+v) = %v, want an error", tc.name, tc.s, c.Close())
		}
	}
}

// ErrNotFound is the error of each library, and of no other kind.
func TestErrNotFoundMatches(t *testing.T) {
	if err := fmt.Errorf("load: %w", ErrNotFound); !errors.Is(err, rc.ErrNotFound) || errors.Is(err, context.Canceled) {
		t.Errorf("%v is not found: %v, is cancelled: %v", err, errors.Is(err, rc.ErrNotFound), errors.Is(err, context.Canceled))
	}
}

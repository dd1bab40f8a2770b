package rc_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

var million = flag.Bool("million", false, "invalidate a million values by pattern and say how long it takes")

// openCluster opens a Manager on a cluster, until the test ends.
func openCluster(t *testing.T, c *localredis.Cluster) *rc.Manager {
	t.Helper()
	m, err := rc.Open(t.Context(), "redis://"+strings.Join(c.Addrs(), ","), rc.Options{OpTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// patternJudge is a source whose values are numbers that grow, and knows which
// ones nobody may get any more.
type patternJudge struct {
	newest atomic.Int64 // at the source
	acked  atomic.Int64 // everything older was invalidated by calls that returned

	mu    sync.Mutex  // protects times
	times []time.Time // when each number was acknowledged
}

func (j *patternJudge) load(context.Context) (int64, error) { return j.newest.Load(), nil }

// ack says that everything older than n was invalidated.
func (j *patternJudge) ack(n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for int64(len(j.times)) <= n {
		j.times = append(j.times, time.Now())
	}
	j.acked.Store(n)
}

// before returns what was acknowledged by a time.
func (j *patternJudge) before(at time.Time) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	for n := len(j.times) - 1; n > 0; n-- {
		if !j.times[n].After(at) {
			return int64(n)
		}
	}
	return 0
}

// patternReader reads random identifiers until ctx ends, and fails the test if
// it gets what the judge has ruled out. grace is how long news may take.
func patternReader(ctx context.Context, t *testing.T, who string, s *rc.CacheService[int64], j *patternJudge, grace time.Duration, ids int) (reads int) {
	for ctx.Err() == nil {
		id := fmt.Sprint("a:", rand.IntN(ids))
		floor := j.acked.Load()
		if grace > 0 {
			floor = j.before(time.Now().Add(-grace))
		}
		v, err := s.GetOrSet(ctx, id, j.load)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, rc.ErrUnavailable):
		case err != nil:
			t.Errorf("%s: GetOrSet(%q) = %v", who, id, err)
			return reads
		case v < floor:
			t.Errorf("%s: GetOrSet(%q) = %d, but everything older than %d was invalidated", who, id, v, floor)
			return reads
		}
		reads++
	}
	return reads
}

// TestPatternClusterUnderLoad: while slots move and loads go on, nothing that
// existed before a call is served after it: by the same Manager at once, by
// another one after MaxStaleness at most.
func TestPatternClusterUnderLoad(t *testing.T) {
	t.Parallel()
	const ids, rounds = 400, 12
	c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: localredis.Redis})
	a := service2[int64](t, openCluster(t, c))
	b := service2[int64](t, openCluster(t, c))
	var j patternJudge
	j.ack(0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	background, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var reads, moves atomic.Int64
	for range 3 {
		wg.Go(func() { reads.Add(int64(patternReader(background, t, "the invalidator", a, &j, 0, ids))) })
		wg.Go(func() {
			reads.Add(int64(patternReader(background, t, "another", b, &j, rc.DefaultMaxStaleness, ids)))
		})
	}
	wg.Go(func() { // slots go round: each range to the next primary
		for n := 0; background.Err() == nil; n++ {
			first := rand.IntN(localredis.SlotCount - 200)
			if err := c.MoveSlots(ctx, first, first+199, c.Nodes()[n%3]); err != nil {
				t.Errorf("MoveSlots: %v", err)
				return
			}
			moves.Add(1)
		}
	})
	removed := int64(0)
	for n := int64(1); n <= rounds || moves.Load() < 3; n++ {
		j.newest.Store(n)
		got, err := a.InvalidatePattern(ctx, "a:*")
		if err != nil {
			t.Fatalf("InvalidatePattern = %v", err)
		}
		j.ack(n)
		removed += got
		for i := range ids {
			v, err := a.GetOrSet(ctx, fmt.Sprint("a:", i), j.load)
			if err == nil && v < n {
				t.Fatalf("GetOrSet = %d after call %d", v, n)
			}
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d reads, %d moves of 200 slots, %d values removed", reads.Load(), moves.Load(), removed)
	if removed < ids {
		t.Errorf("%d values removed, want many", removed)
	}
}

// service2 makes a service that is not for the values of other tests.
func service2[T any](t *testing.T, m *rc.Manager) *rc.CacheService[T] {
	t.Helper()
	return service(t, m, rc.Config[T]{TTL: time.Hour, LockWait: 5 * time.Second, LeaseTTL: 2 * time.Second})
}

// TestPatternNodeDown: the error says which node is not finished, and the values
// of the others are gone and counted; the next call does the rest.
func TestPatternNodeDown(t *testing.T) {
	t.Parallel()
	const ids = 300
	c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: localredis.Redis, NodeTimeout: 30 * time.Second})
	m := openCluster(t, c)
	s := service2[string](t, m)
	healthy := int64(0)
	for i := range ids {
		id := fmt.Sprint("a:", i)
		if err := s.Set(t.Context(), id, "v"); err != nil {
			t.Fatal(err)
		}
		if slot := localredis.Slot(key(t, s, id)); slot <= 5460 || slot > 10921 {
			healthy++
		}
	}
	down := c.Nodes()[1]
	if err := down.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	f := async(func() (string, error) {
		got, err := s.InvalidatePattern(ctx, "a:*", rc.PatternProgress(func(deleted, _ int64) { n.Store(deleted) }))
		return fmt.Sprint(got), err
	})
	until(t, "the values of the other nodes to go", func() bool { return n.Load() == healthy })
	cancel()
	got, err := f.get(t)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), down.Addr()) || got != fmt.Sprint(healthy) {
		t.Errorf("InvalidatePattern = %s, %v, want canceled after %d, with %s not finished", got, err, healthy, down.Addr())
	}
	if err := down.Thaw(); err != nil {
		t.Fatal(err)
	}
	if rest, err := s.InvalidatePattern(t.Context(), "a:*"); err != nil || healthy+rest != ids {
		t.Errorf("InvalidatePattern again = %d, %v after %d, want the rest of %d", rest, err, healthy, ids)
	}
	until(t, "the node to be known to answer again", m.Available)
	for i := range ids {
		missing(t, s, fmt.Sprint("a:", i), "after the second call")
	}
}

// TestPatternMillion measures. Run it with -million.
func TestPatternMillion(t *testing.T) {
	if !*million {
		t.Skip("without -million")
	}
	const n, others = 1_000_000, 50_000
	c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: localredis.Redis})
	m := openCluster(t, c)
	s := service2[string](t, m)
	putMany(t, m.Client(), s, "product:", n)
	putMany(t, m.Client(), s, "post:", others)
	for _, tt := range []struct {
		pattern string
		want    int64
	}{{"product:12345?", 10}, {"*:77", 2}, {"product:*", n - 11}, {"*", others - 1}} {
		began := time.Now()
		got, err := s.InvalidatePattern(t.Context(), tt.pattern)
		t.Logf("%q: %d removed in %v", tt.pattern, got, time.Since(began).Round(time.Millisecond))
		if got != tt.want || err != nil {
			t.Errorf("InvalidatePattern(%q) = %d, %v, want %d", tt.pattern, got, err, tt.want)
		}
	}
}

// putMany writes the keys of head0 to head<n-1>.
func putMany(t *testing.T, client rueidis.Client, s *rc.CacheService[string], head string, n int) {
	t.Helper()
	for from := 0; from < n; from += 500 {
		var cmds rueidis.Commands
		for i := from; i < min(from+500, n); i++ {
			cmds = append(cmds, client.B().Set().Key(key(t, s, fmt.Sprint(head, i))).Value("v").Build())
		}
		for _, r := range client.DoMulti(t.Context(), cmds...) {
			if err := r.Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPatternMillionMoving invalidates a million values while 1,000 slots move.
// Run it with -million.
func TestPatternMillionMoving(t *testing.T) {
	if !*million {
		t.Skip("without -million")
	}
	const n = 1_000_000
	c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: localredis.Redis})
	m := openCluster(t, c)
	s := service2[string](t, m)
	putMany(t, m.Client(), s, "product:", n)
	moved := make(chan error, 1)
	go func() { moved <- c.MoveSlots(t.Context(), 0, 999, c.Nodes()[1]) }()
	began := time.Now()
	got, err := s.InvalidatePattern(t.Context(), "product:*")
	took := time.Since(began)
	if err != nil {
		t.Errorf("InvalidatePattern = %d, %v", got, err)
	}
	if err := <-moved; err != nil {
		t.Errorf("MoveSlots: %v", err)
	}
	t.Logf("%d removed in %v, all moved after %v", got, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	for _, node := range c.Nodes() {
		reply, err := node.Do(t.Context(), "EVAL", "local n, at = 0, '0' repeat local r = redis.call('SCAN', at, 'MATCH', '*product:*', 'COUNT', 10000) at = r[1] n = n + #r[2] until at == '0' return n", "0")
		if left, _ := reply.(int64); left != 0 || err != nil {
			t.Errorf("%s has %v of them left, %v", node.Addr(), reply, err)
		}
	}
}

package rc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ikey "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// removed calls InvalidatePattern and checks how many values it removed.
func removed(t *testing.T, s *rc.CacheService[string], want int64, pattern string, opts ...rc.PatternOpt) {
	t.Helper()
	if n, err := s.InvalidatePattern(t.Context(), pattern, opts...); n != want || err != nil {
		t.Errorf("InvalidatePattern(%q) = %d, %v, want %d", pattern, n, err, want)
	}
}

var (
	longID  = strings.Repeat("a", ikey.MaxID+1)
	longID2 = "user:" + strings.Repeat("/", ikey.MaxID)
	// patternIDs are identifiers that are easily mistaken for each other.
	patternIDs = []string{
		"user:1", "user:2", "user:12", "user", "users:1", "user:1:p", "USER:1", "user:*", "user:?", "user:[1]",
		`user:\1`, "user:{1}", "user:}", "user:%", "user:%7B", "{user}:1", "%P0123456789abcdef0123456789abcdef",
		"user:1%P0123456789abcdef0123456789abcdef", "%L", "%", "a", "b", "a\x00\xff", "ä", ":l", "}:l", "#token",
		longID, longID2, strings.Repeat("a", ikey.MaxID), strings.Repeat("%", ikey.MaxID),
	}
	patternGlobs = []string{
		"*", "**", "user:*", "user:?", "user:??", "user*", "user", "*:1", "*user*", "?*", "user:[12]", "user:[^1]",
		"user:[{}]", `user:\*`, `user:\?`, `user:\[*`, `user:\\*`, "user:{*", "*{*", "*}", "*%*", "user:%", "user:%7B",
		"*%P*", "[%]*", "{*}*", "*[}]:?", "[a-b]", "[b-a]", "[^a-b]", "*\xff", "*\\", "a*a*a*b", "*1*p", ":l", "*:l", "#token",
		strings.Repeat("?", ikey.MaxID), "%*%", strings.Repeat(`\a`, ikey.MaxID),
	}
)

// neighbours are keys beside those of the namespace "race", which no pattern may
// touch, whatever it is.
func neighbours(t *testing.T) []string {
	t.Helper()
	var keys []string
	for _, k := range []rc.Key{
		{Namespace: "race2"}, {Namespace: "rac"}, {Namespace: "race", Version: "v2"}, {Namespace: "race", Prefix: "cache2"},
		{Namespace: "race", Prefix: "cache:v1"}, {Namespace: "race", Prefix: "x:cache"},
	} {
		for _, id := range patternIDs {
			k.ID = id
			built, err := rc.BuildKey(k)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, built, lease.Key(built))
		}
	}
	const head = "cache:v1:race:"
	keys = append(keys, head+"#token", "cache:#tag:{t1}:"+head+"{user:1}", ikey.GuardKey("", 1), "cache:bus:{b}:state")
	// Keys in the namespace that are not of a value or a lease.
	for _, k := range []string{
		"{}", "{user:1", "{user:1}x", "{user:1}:l:l", "{user:1}:x", "{user:{1}", "{user:1}}", "{user:%}", "{user:%7b}", "{%7}",
		"{user:1%P}", "{user:1%P0123456789abcdef0123456789abcdeg}", "{%P0123456789abcdef0123456789abcdef}", "{%L}", "{%L00}",
		"{" + longID + "}", "{user:1}:",
	} {
		keys = append(keys, head+k)
	}
	return keys
}

func put(t *testing.T, srv *rctest.Server, keys []string) {
	t.Helper()
	for _, k := range keys {
		do(t, srv, "SET", k, "v")
	}
}

// left returns the keys of the server, sorted.
func left(t *testing.T, srv *rctest.Server) []string {
	t.Helper()
	list, ok := do(t, srv, "KEYS", "*").([]any)
	if !ok {
		t.Fatalf("KEYS is not a list")
	}
	keys := make([]string, len(list))
	for i, k := range list {
		keys[i] = fmt.Sprint(k)
	}
	slices.Sort(keys)
	return keys
}

// TestPatternMatches: what goes is what the pattern means, by the identifiers
// as they were given: with all params, with the leases, and nothing else.
func TestPatternMatches(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, quiet(), rc.Config[string]{})
	beside := neighbours(t)
	for _, glob := range patternGlobs {
		unescaped := strings.NewReplacer(`\\`, "", `\*`, "").Replace(glob)
		for _, long := range []bool{false, true} {
			do(t, srv, "FLUSHALL")
			put(t, srv, beside)
			want := slices.Clone(beside)
			gone := int64(0)
			for _, id := range patternIDs {
				match := ikey.MatchGlob(glob, id)
				if len(id) > ikey.MaxID {
					match = strings.Trim(glob, "*") == "" || long && strings.Contains(unescaped, "*")
				}
				for _, opts := range [][]rc.Opt{nil, {rc.WithParams("n", 1)}, {rc.WithParams("n", 2)}} {
					k, err := s.Key(id, opts...)
					if err != nil {
						t.Fatal(err)
					}
					put(t, srv, []string{k, lease.Key(k)})
					if match {
						gone++
					} else {
						want = append(want, k, lease.Key(k))
					}
				}
			}
			var opts []rc.PatternOpt
			if long {
				opts = append(opts, rc.PatternLongIDs())
			}
			removed(t, s, gone, glob, opts...)
			slices.Sort(want)
			if got := left(t, srv); !slices.Equal(got, want) {
				t.Errorf("%q (long=%v): left %q too many, %q missing", glob, long, minus(got, want), minus(want, got))
			}
		}
	}
}

func minus(a, b []string) (out []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// TestPatternLongLiteral: an identifier of more than 512 bytes is found in full.
func TestPatternLongLiteral(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, quiet(), rc.Config[string]{})
	set(t, s, longID, "v")
	set(t, s, longID2, "v")
	set(t, s, "x", "v")
	removed(t, s, 0, longID+"b")
	removed(t, s, 0, "user:*")
	removed(t, s, 1, longID)
	missing(t, s, longID, "removed in full")
	cached(t, s, longID2, "v")
	removed(t, s, 1, "user:*", rc.PatternLongIDs())
	missing(t, s, longID2, "removed with PatternLongIDs")
	cached(t, s, "x", "v")
}

func TestPatternErrors(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, quiet(), rc.Config[string]{})
	set(t, s, "k", "v")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	before := srv.Commands()["SCAN"]
	for _, tt := range []struct {
		name, pattern string
		ctx           context.Context
		opts          []rc.PatternOpt
		is            error
		text          string
	}{
		{"empty", "", t.Context(), nil, rc.ErrPattern, "empty"},
		{"too long", strings.Repeat("a", rc.MaxPattern) + "*", t.Context(), nil, rc.ErrPattern, "1025 bytes, at most 1024"},
		{"open class", "a[b", t.Context(), nil, rc.ErrPattern, "at byte 1 has no end"},
		{"range to the bracket", "[a-]", t.Context(), nil, rc.ErrPattern, "no end"},
		{"escaped bracket", `[\]`, t.Context(), nil, rc.ErrPattern, "no end"},
		{"negated and open", "[^", t.Context(), nil, rc.ErrPattern, "no end"},
		{"long ones only", strings.Repeat("?", ikey.MaxID+1), t.Context(), nil, rc.ErrPattern, "PatternLongIDs"},
		{"batch of 0", "*", t.Context(), []rc.PatternOpt{rc.PatternBatch(0)}, nil, "PatternBatch is 0"},
		{"large batch", "*", t.Context(), []rc.PatternOpt{rc.PatternBatch(1025)}, nil, "must be 1 to 1024"},
		{"context over", "*", ended, nil, context.Canceled, ""},
	} {
		n, err := s.InvalidatePattern(tt.ctx, tt.pattern, tt.opts...)
		if n != 0 || err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: InvalidatePattern = %d, %v, want an error with %q", tt.name, n, err, tt.text)
		}
	}
	if n := srv.Commands()["SCAN"] - before; n != 0 {
		t.Errorf("%d SCANs for patterns that cannot be, want none", n)
	}
	cached(t, s, "k", "v")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.InvalidatePattern(t.Context(), "*"); err != rc.ErrClosed {
		t.Errorf("InvalidatePattern after Close = %v, want ErrClosed", err)
	}
}

// TestPatternCancelled: the error says how far it came, and what was removed is
// removed; Redis refusing ends it as well.
func TestPatternCancelled(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, quiet(), rc.Config[string]{})
	for i := range 50 {
		set(t, s, fmt.Sprint("k", i), "v")
	}
	// The first batch goes, the second is held.
	ctx, cancel := context.WithCancel(t.Context())
	first, goOn := srv.Hold("UNLINK")
	second := make(chan func(), 1)
	go func() {
		select {
		case <-first:
		case <-ctx.Done(): // the test fails
		}
		_, release := srv.Hold("UNLINK")
		goOn()
		second <- release
	}()
	n, err := s.InvalidatePattern(ctx, "k*", rc.PatternBatch(5), rc.PatternProgress(func(deleted, _ int64) {
		if deleted > 0 {
			cancel()
		}
	}))
	cancel()
	(<-second)()
	if !errors.Is(err, context.Canceled) || n != 5 || !strings.Contains(err.Error(), "5 values removed") {
		t.Errorf("InvalidatePattern = %d, %v, want canceled after 5", n, err)
	}
	if st := s.Stats(); st.Invalidations != uint64(n)+50 || st.InvalidationErrors != 1 {
		t.Errorf("Invalidations = %d, InvalidationErrors = %d, want %d and 1", st.Invalidations, st.InvalidationErrors, n+50)
	}
	// More than one is refused, because the batch on its way when ctx ended
	// reaches the server now.
	srv.FailNext("UNLINK", "NOPERM no permission", 1_000)
	if n, err := s.InvalidatePattern(t.Context(), "k*"); n != 0 || err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("InvalidatePattern that is refused = %d, %v, want NOPERM", n, err)
	}
	srv.FailNext("UNLINK", "", 0)
	// A batch may have been removed whose answer came too late to be counted.
	if rest, err := s.InvalidatePattern(t.Context(), "k*"); err != nil || rest > 50-n || rest < 50-n-5 {
		t.Errorf("InvalidatePattern again = %d, %v after %d of 50", rest, err, n)
	}
	arrived, release := srv.Hold("SCAN")
	f := async(func() (string, error) { _, err := s.InvalidatePattern(t.Context(), "*"); return "", err })
	event(t, arrived, "the SCAN")
	closed := async(func() (string, error) { return "", m.Close() })
	if _, err := f.get(t); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("InvalidatePattern while the Manager is closed = %v, want ErrClosed", err)
	}
	release()
	if _, err := closed.get(t); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestPatternProgress(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, quiet(), rc.Config[string]{})
	for i := range 30 {
		set(t, s, fmt.Sprint("k", i), "v")
	}
	put(t, srv, []string{leaseKey(t, s, "k1"), leaseKey(t, s, "k99")})
	var last [2]int64
	removed(t, s, 30, "k*", rc.PatternBatch(1), rc.PatternProgress(func(deleted, scanned int64) {
		if deleted < last[0] || scanned < last[1] || deleted > scanned {
			t.Errorf("progress went from %v to %d, %d", last, deleted, scanned)
		}
		last = [2]int64{deleted, scanned}
	}))
	if last != [2]int64{30, 30} {
		t.Errorf("progress ended with %v, want 30 of 30: leases do not count", last)
	}
}

// TestRacePatternStaleFill is promise G2 for patterns: a load that began before
// the call is not stored after it, whether there was a value besides its lease
// or not, in this process and in others.
func TestRacePatternStaleFill(t *testing.T) {
	t.Parallel()
	for _, other := range []bool{false, true} {
		for _, value := range []bool{false, true} {
			t.Run(fmt.Sprintf("other=%v/value=%v", other, value), func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				_, a := instance(t, srv, calm(), rc.Config[string]{})
				b := a
				if other {
					_, b = instance(t, srv, calm(), rc.Config[string]{})
				}
				want := int64(0)
				if value {
					set(t, b, "k", "older")
					want = 1
				}
				l := newLoader()
				f := async(func() (string, error) { return b.Refresh(t.Context(), "k", l.load) })
				l.begin(t)
				removed(t, a, want, "k*")
				fill(t, a, "k", "new") // does not wait for the load: its lease is gone
				l.finish("old", nil)
				f.want(t, "old")
				cached(t, a, "k", "new")
				cached(t, b, "k", "new")
				if st := b.Stats(); st.FillsVoided != 1 {
					t.Errorf("FillsVoided = %d, want 1", st.FillsVoided)
				}
			})
		}
	}
}

// TestRacePatternFillBehindTheScan: the value of a load that began before comes
// into being when SCAN has gone by already, and before its lease was removed:
//
//	call: SCAN finds the lease, and no value
//	load: fills, the lease is still there
//	call: UNLINK of the lease
func TestRacePatternFillBehindTheScan(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, a := instance(t, srv, calm(), rc.Config[string]{})
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	l := newLoader()
	f := async(func() (string, error) { return b.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	arrived, release := srv.Hold("UNLINK")
	call := async(func() (string, error) {
		n, err := a.InvalidatePattern(t.Context(), "*")
		return fmt.Sprint(n), err
	})
	event(t, arrived, "the UNLINK of the lease")
	l.finish("old", nil)
	f.want(t, "old")
	if st := b.Stats(); st.Fills != 1 {
		t.Errorf("Fills = %d, want 1: the test does not test anything", st.Fills)
	}
	release()
	call.want(t, "1")
	missing(t, a, "k", "the invalidator")
	until(t, "the other instance is told", func() bool { _, found, _ := b.Get(t.Context(), "k"); return !found })
}

// TestRacePatternJoin: who comes after the call joins no load and no read from
// before it.
func TestRacePatternJoin(t *testing.T) {
	t.Parallel()
	t.Run("load", func(t *testing.T) {
		t.Parallel()
		srv := start(t)
		_, s := instance(t, srv, calm(), rc.Config[string]{})
		l := newLoader()
		f := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", l.load) })
		l.begin(t)
		removed(t, s, 0, "k")
		fill(t, s, "k", "new")
		l.finish("old", nil)
		f.want(t, "old")
		cached(t, s, "k", "new")
	})
	t.Run("read", func(t *testing.T) {
		t.Parallel()
		srv := start(t)
		slow := &slowCodec{begun: make(chan struct{}), release: make(chan struct{})}
		_, a := instance(t, srv, calm(), rc.Config[string]{})
		set(t, a, "k", "old")
		_, s := instance(t, srv, calm(), rc.Config[string]{Codec: slow})
		f := async(func() (string, error) { v, _, err := s.Get(t.Context(), "k"); return v, err })
		event(t, slow.begun, "the read to be decoded")
		removed(t, s, 1, "k")
		g := async(func() (string, error) { v, _, err := s.Get(t.Context(), "k"); return v, err })
		g.want(t, "")
		close(slow.release)
		f.want(t, "old") // it was asked for before
		missing(t, s, "k", "after a read from before the call")
	})
}

// slowCodec waits within its first Decode.
type slowCodec struct {
	rc.JSON[string]
	once           sync.Once
	begun, release chan struct{}
}

func (c *slowCodec) Decode(b []byte) (string, error) {
	c.once.Do(func() {
		close(c.begun)
		<-c.release
	})
	return c.JSON.Decode(b)
}

// TestPatternReachesMemory: after the call this Manager, and after the push
// every other, has nothing of it in memory, in all services of the namespace;
// what does not match stays.
func TestPatternReachesMemory(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, a := instance(t, srv, calm(), rc.Config[string]{})
	second := service(t, m, rc.Config[string]{})
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	ids := []string{"user:1", "user:2", "user:{%}"}
	for _, id := range append(ids, "post:1") {
		set(t, a, id, "v")
		for _, s := range []*rc.CacheService[string]{a, second, b} {
			cached(t, s, id, "v")
		}
	}
	removed(t, a, 3, "user:*")
	for _, id := range ids {
		missing(t, a, id, "the invalidator")
		missing(t, second, id, "another service")
		until(t, "the other instance is told", func() bool { _, found, _ := b.Get(t.Context(), id); return !found })
	}
	for _, s := range []*rc.CacheService[string]{a, second, b} {
		cached(t, s, "post:1", "v")
	}
}

// TestPatternDegraded: a value that was loaded while Redis did not answer is in
// memory only, and no push will name it.
func TestPatternDegraded(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{DegradedTTL: 5 * time.Minute})
	srv.FailNext("ECHO", "LOADING not yet", 1_000_000)
	until(t, "the breaker to open", func() bool { return m.Health()[0].BreakerOpen })
	for _, id := range []string{"k", "other"} {
		var n atomic.Int32
		if v, err := s.GetOrSet(t.Context(), id, gives("old", &n)); v != "old" || err != nil {
			t.Fatalf("GetOrSet without Redis = %q, %v", v, err)
		}
		if v, err := s.GetOrSet(t.Context(), id, never(t)); v != "old" || err != nil {
			t.Fatalf("GetOrSet again = %q, %v, want it from memory", v, err)
		}
	}
	removed(t, s, 0, "k*")
	fill(t, s, "k", "new")
	if v, err := s.GetOrSet(t.Context(), "other", never(t)); v != "old" || err != nil {
		t.Errorf("GetOrSet of what does not match = %q, %v, want it from memory", v, err)
	}
}

// TestPatternBackoffEnds: a load that failed a moment ago holds nobody back
// after the call, as after any write.
func TestPatternBackoffEnds(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, s := instance(t, srv, calm(), rc.Config[string]{ErrorBackoff: time.Hour})
	var n atomic.Int32
	if _, err := s.GetOrSet(t.Context(), "k", fails(errBoom, &n)); !errors.Is(err, errBoom) {
		t.Fatal(err)
	}
	if _, err := s.GetOrSet(t.Context(), "k", never(t)); !errors.Is(err, rc.ErrBackoff) {
		t.Fatalf("GetOrSet = %v, want ErrBackoff", err)
	}
	removed(t, s, 0, "k")
	fill(t, s, "k", "v")
}

// Package contract is the suite of tests that every deployment must pass on
// which this library is said to work: the in-process Redis of rctest and real
// servers alike, so that the one cannot drift from the others.
package contract

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/rc"
)

// Env is a deployment to test against.
type Env struct {
	// Open opens a Manager, closed when the test ends.
	Open func(*testing.T, rc.Options) *rc.Manager
	// Do runs a command on a key as an outside client.
	Do func(t *testing.T, key string, args ...string)
	// Announced reports that the instances tell each other of changes: what an
	// outside client does is not noticed.
	Announced bool
}

// pair is a service on two instances.
type pair struct {
	t    *testing.T
	e    Env
	a, b *rc.CacheService[string]
	ma   *rc.Manager
}

// patient are options for a machine that is busy: what takes long is not taken
// for a failure. What happens then has tests of its own.
var patient = rc.Options{OpTimeout: 20 * time.Second, MaxStaleness: time.Minute}

func newPair(t *testing.T, e Env, cfg rc.Config[string]) *pair {
	t.Helper()
	ns := strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name()))
	ma, mb := e.Open(t, patient), e.Open(t, patient)
	return &pair{t: t, e: e, ma: ma, a: service(t, ma, ns, cfg), b: service(t, mb, ns, cfg)}
}

func service(t *testing.T, m *rc.Manager, ns string, cfg rc.Config[string]) *rc.CacheService[string] {
	t.Helper()
	s, err := rc.New(m, ns, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// loads returns a loader that counts its calls.
func loads(v string, n *atomic.Int32) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { n.Add(1); return v, nil }
}

func never(t *testing.T) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		t.Error("loaded, want a hit")
		return "", errors.New("loaded")
	}
}

// want reads a value and its source.
func (p *pair) want(s *rc.CacheService[string], id, v string, src rc.Source) {
	p.t.Helper()
	it, err := s.Lookup(p.t.Context(), id)
	// An announcement that comes after the read it is about costs one more.
	for began := time.Now(); p.e.Announced && err == nil && it.Source != src && time.Since(began) < rc.DefaultMaxStaleness; {
		it, err = s.Lookup(p.t.Context(), id)
	}
	if err != nil || !it.Found || it.Value != v || it.Source != src {
		p.t.Errorf("Lookup(%q) = %+v, %v, want %q from %v", id, it, err, v, src)
	}
}

// eventually waits for a push to arrive, for at most the staleness bound.
func (p *pair) eventually(s *rc.CacheService[string], id, v string) {
	p.t.Helper()
	began := time.Now()
	for {
		got, found, err := s.Get(p.t.Context(), id)
		if err != nil {
			p.t.Fatal(err)
		}
		if got == v && found == (v != "") {
			return
		}
		if time.Since(began) > rc.DefaultMaxStaleness {
			p.t.Fatalf("Get(%q) = %q, %v after %v, want %q", id, got, found, time.Since(began), v)
		}
	}
}

// Run runs the suite. Each test uses a namespace of its own.
func Run(t *testing.T, e Env) {
	for name, test := range map[string]func(*testing.T, Env){
		"load once then memory":       contractLoadOnce,
		"every verb reaches others":   contractVerbs,
		"not found is remembered":     contractNegative,
		"batch":                       contractBatch,
		"params and binary ids":       contractKeys,
		"foreign bytes are a miss":    contractForeign,
		"stale while revalidating":    contractStale,
		"void claim is not filled":    contractFence,
		"wait for another instance":   contractWait,
		"flush and forgotten scripts": contractFlush,
		"client and health":           contractClient,
		"backoff is shared":           contractBackoff,
		"tags namespaces patterns":    contractGroups,
		"versions":                    contractDeleteBefore,
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) { test(t, e) })
	}
}

func contractLoadOnce(t *testing.T, e Env) {
	p := newPair(t, e, rc.Config[string]{})
	var n atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		for _, s := range []*rc.CacheService[string]{p.a, p.b} {
			wg.Go(func() {
				if v, err := s.GetOrSet(t.Context(), "id", loads("v", &n)); v != "v" || err != nil {
					t.Errorf("GetOrSet = %q, %v", v, err)
				}
			})
		}
	}
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("%d loads, want 1", n.Load())
	}
	p.want(p.a, "id", "v", rc.FromL1)
	p.want(p.b, "id", "v", rc.FromL1)
	if ttl, ok, err := p.a.TTL(t.Context(), "id"); !ok || err != nil || ttl <= 4*time.Minute || ttl > 6*time.Minute {
		t.Errorf("TTL = %v, %v, %v, want some 5m", ttl, ok, err)
	}
	c := service(t, e.Open(t, patient), strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name())), rc.Config[string]{})
	p.want(c, "id", "v", rc.FromL2)
	p.want(c, "id", "v", rc.FromL1)
}

func contractVerbs(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{StaleFor: time.Minute})
	p.must(p.a.Set(ctx, "id", "1"))
	p.want(p.a, "id", "1", rc.FromL1)
	p.eventually(p.b, "id", "1")
	p.want(p.b, "id", "1", rc.FromL1)

	p.must(p.a.Set(ctx, "id", "2"))
	p.want(p.a, "id", "2", rc.FromL1)
	p.eventually(p.b, "id", "2")

	p.must(p.b.Expire(ctx, "id"))
	if _, found, err := p.b.Get(ctx, "id"); found || err != nil {
		t.Errorf("Get after Expire = %v, %v, want not found", found, err)
	}
	p.eventually(p.a, "id", "")
	v, err := p.a.GetOrSet(ctx, "id", func(context.Context) (string, error) { return "", errors.New("down") })
	if v != "2" || err != nil {
		t.Errorf("GetOrSet after Expire with a failing loader = %q, %v, want the old value", v, err)
	}

	p.must(p.a.Delete(ctx, "id"))
	if ok, err := p.a.Exists(ctx, "id"); ok || err != nil {
		t.Errorf("Exists after Delete = %v, %v", ok, err)
	}
	p.eventually(p.b, "id", "")
	for _, s := range []*rc.CacheService[string]{p.a, p.b} {
		if v, err := s.GetOrSet(ctx, "id", func(context.Context) (string, error) { return "", errors.New("down") }); err == nil {
			t.Errorf("GetOrSet after Delete with a failing loader = %q, want an error", v)
		}
	}

	p.must(p.a.SetMany(ctx, map[string]string{"x": "1", "y": "2", "z": "3"}))
	for id, v := range map[string]string{"x": "1", "y": "2", "z": "3"} {
		p.want(p.a, id, v, rc.FromL1)
		p.eventually(p.b, id, v)
	}
	p.must(p.b.DeleteMany(ctx, []string{"x", "z", "absent"}))
	p.eventually(p.a, "x", "")
	p.eventually(p.a, "z", "")
	p.want(p.a, "y", "2", rc.FromL1)

	n := new(atomic.Int32)
	if v, err := p.b.Refresh(ctx, "y", loads("new", n)); v != "new" || err != nil || n.Load() != 1 {
		t.Errorf("Refresh = %q, %v with %d loads", v, err, n.Load())
	}
	p.eventually(p.a, "y", "new")
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func contractNegative(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{})
	var n atomic.Int32
	none := func(context.Context) (string, error) { n.Add(1); return "", fmt.Errorf("row: %w", rc.ErrNotFound) }
	for _, s := range []*rc.CacheService[string]{p.a, p.a, p.b, p.b} {
		if _, err := s.GetOrSet(ctx, "id", none); !errors.Is(err, rc.ErrNotFound) {
			t.Errorf("GetOrSet = %v, want ErrNotFound", err)
		}
	}
	if n.Load() != 1 {
		t.Errorf("%d loads, want 1", n.Load())
	}
	it, err := p.b.Lookup(ctx, "id")
	if err != nil || it.Found || !it.NotFound || it.Source != rc.FromL1 {
		t.Errorf("Lookup = %+v, %v, want a remembered absence from L1", it, err)
	}
	p.must(p.a.Set(ctx, "id", "here"))
	p.eventually(p.b, "id", "here")
}

func contractBatch(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{LeaseTTL: time.Minute})
	const total = 1000
	ids := make([]string, total)
	for i := range ids {
		ids[i] = fmt.Sprintf("id%d", i)
	}
	p.must(p.a.Set(ctx, "id7", "set"))
	var calls atomic.Int32
	load := func(_ context.Context, missing []string) (map[string]string, error) {
		calls.Add(1)
		out := map[string]string{"unasked": "x"}
		for _, id := range missing {
			if id != "id9" {
				out[id] = "v" + id
			}
		}
		return out, nil
	}
	got, err := p.a.GetOrSetMany(ctx, append(ids, "id1", "id1"), load)
	if err != nil || len(got) != total-1 || got["id7"] != "set" || got["id1"] != "vid1" || calls.Load() != 1 {
		t.Fatalf("GetOrSetMany: %d values, id7 %q, id1 %q, %d calls, %v", len(got), got["id7"], got["id1"], calls.Load(), err)
	}
	for _, s := range []*rc.CacheService[string]{p.a, p.b} {
		got, err = s.GetOrSetMany(ctx, ids, load)
		if err != nil || len(got) != total-1 || calls.Load() != 1 {
			t.Errorf("second GetOrSetMany: %d values, %d calls, %v, want no load", len(got), calls.Load(), err)
		}
	}
	p.want(p.b, "id3", "vid3", rc.FromL1)
	if _, found, err := p.b.Get(ctx, "unasked"); found || err != nil {
		t.Errorf("an identifier returned unasked was stored (%v)", err)
	}
	_, err = p.a.GetOrSetMany(ctx, []string{"", "id1"}, load)
	var many *rc.ManyError
	if !errors.As(err, &many) || many.Errs[""] == nil || len(many.Errs) != 1 {
		t.Errorf("GetOrSetMany with an empty identifier = %v, want a ManyError for it alone", err)
	}
}

func contractKeys(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{})
	ids := []string{"a", "a:b", "{a}", "a}b{c", "100%", "*", "a?[b]", "\x00", "\x00\xff", "\xff\xfe", "with space", strings.Repeat("x", 5000), strings.Repeat("x", 5001)}
	for i, id := range ids {
		p.must(p.a.Set(ctx, id, fmt.Sprint(i)))
	}
	p.must(p.a.Set(ctx, "a", "params", rc.WithParams("skip", 20, "limit", 10)))
	for i, id := range ids {
		p.eventually(p.b, id, fmt.Sprint(i))
	}
	if v, found, err := p.b.Get(ctx, "a", rc.WithParams("limit", 10, "skip", 20)); v != "params" || !found || err != nil {
		t.Errorf("Get with params in another order = %q, %v, %v", v, found, err)
	}
	if _, found, _ := p.b.Get(ctx, "a", rc.WithParams("limit", "10", "skip", 20)); found {
		t.Error(`a parameter "10" is found under the number 10`)
	}
	if err := p.a.Set(ctx, "", "x"); err == nil {
		t.Error("Set with an empty identifier gave no error")
	}
}

func contractForeign(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{})
	for name, write := range map[string]func(key string) []string{
		"text":    func(k string) []string { return []string{"SET", k, "hello"} },
		"empty":   func(k string) []string { return []string{"SET", k, ""} },
		"binary":  func(k string) []string { return []string{"SET", k, strings.Repeat("\x00\xff", 100), "PX", "60000"} },
		"newer":   func(k string) []string { return []string{"SET", k, "FC\xff" + strings.Repeat("x", 80), "PX", "60000"} },
		"list":    func(k string) []string { return []string{"RPUSH", k, "a", "b"} },
		"cut off": func(k string) []string { return []string{"SETRANGE", k, "70", ""} },
	} {
		key, err := p.a.Key(name)
		p.must(err)
		if name == "cut off" {
			p.must(p.a.Set(ctx, name, "whole"))
			p.e.Do(t, key, "SETRANGE", key, "64", strings.Repeat("y", 20))
		} else {
			p.e.Do(t, key, write(key)...)
		}
		if _, found, err := p.b.Get(ctx, name); found || err != nil {
			t.Errorf("%s: Get = %v, %v, want not found", name, found, err)
		}
		var n atomic.Int32
		if v, err := p.b.GetOrSet(ctx, name, loads("v", &n)); v != "v" || err != nil || n.Load() != 1 {
			t.Errorf("%s: GetOrSet = %q, %v, %d loads", name, v, err, n.Load())
		}
		p.eventually(p.a, name, "v")
		p.must(p.a.Delete(ctx, name))
	}
	if s := p.b.Stats(); s.Corrupt < 5 || s.Newer < 1 {
		t.Errorf("Stats: Corrupt %d, Newer %d, want at least 5 and 1", s.Corrupt, s.Newer)
	}
}

func contractStale(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{TTL: 60 * time.Millisecond, StaleFor: time.Minute, Jitter: rc.Off})
	var n atomic.Int32
	p.get(p.a, "1", loads("1", &n))
	if it, err := p.b.Lookup(ctx, "id"); err != nil || !it.Found || it.Value != "1" { // fresh or not
		t.Errorf("Lookup = %+v, %v, want 1", it, err)
	}
	<-time.After(70 * time.Millisecond) // nothing happens but the end of the TTL
	refreshed := make(chan struct{})
	load := func(context.Context) (string, error) {
		if n.Add(1) == 2 {
			defer close(refreshed)
		}
		return "2", nil
	}
	it, err := p.b.Lookup(ctx, "id")
	if err != nil || !it.Stale || it.Value != "1" || it.Reason != rc.StaleNoLoader {
		t.Errorf("Lookup = %+v, %v, want the stale value", it, err)
	}
	if v, err := p.b.GetOrSet(ctx, "id", load, rc.WithTTL(time.Minute)); v != "1" || err != nil {
		t.Errorf("GetOrSet = %q, %v, want the stale value at once", v, err)
	}
	<-refreshed
	p.eventually(p.a, "id", "2")
	p.eventually(p.b, "id", "2")
	if n.Load() != 2 {
		t.Errorf("%d loads, want 2", n.Load())
	}
}

func (p *pair) get(s *rc.CacheService[string], want string, load func(context.Context) (string, error)) {
	p.t.Helper()
	if v, err := s.GetOrSet(p.t.Context(), "id", load); v != want || err != nil {
		p.t.Errorf("GetOrSet = %q, %v, want %q", v, err, want)
	}
}

// Schedule: a's loader reads the old row; b deletes (sets, expires) the key;
// a's loader returns.
func contractFence(t *testing.T, e Env) {
	for name, write := range map[string]func(context.Context, *rc.CacheService[string]) error{
		"delete": func(ctx context.Context, s *rc.CacheService[string]) error { return s.Delete(ctx, "id") },
		"expire": func(ctx context.Context, s *rc.CacheService[string]) error { return s.Expire(ctx, "id") },
		"set":    func(ctx context.Context, s *rc.CacheService[string]) error { return s.Set(ctx, "id", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			p := newPair(t, e, rc.Config[string]{StaleFor: time.Minute})
			read, goOn := make(chan struct{}), make(chan struct{})
			got := make(chan string, 1)
			go func() {
				v, err := p.a.GetOrSet(ctx, "id", func(context.Context) (string, error) {
					close(read)
					<-goOn
					return "old", nil
				})
				if err != nil {
					t.Error(err)
				}
				got <- v
			}()
			<-read
			p.must(write(ctx, p.b))
			close(goOn)
			if v := <-got; v != "old" {
				t.Errorf("the waiting caller got %q, want its own load", v)
			}
			if s := p.a.Stats(); s.FillsVoided != 1 || s.Fills != 0 {
				t.Errorf("Stats: %d fills, %d voided, want 0 and 1", s.Fills, s.FillsVoided)
			}
			for _, s := range []*rc.CacheService[string]{p.a, p.b} {
				if v, _, err := s.Get(ctx, "id"); v == "old" || err != nil {
					t.Errorf("Get = %q, %v: a value from before the write was stored", v, err)
				}
			}
			var n atomic.Int32
			p.get(p.b, "new", loads("new", &n))
			p.eventually(p.a, "id", "new")
		})
	}
}

func contractWait(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{LeaseTTL: 1500 * time.Millisecond})
	loading, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		p.get(p.a, "v", func(context.Context) (string, error) { close(loading); <-goOn; return "v", nil })
	})
	<-loading
	wg.Go(func() { p.get(p.b, "v", never(t)) })
	// b waits, by its own account, and a's lease is prolonged meanwhile: it is
	// much shorter than this.
	waitFor(t, "b to wait for a, through several extensions", func() bool { return p.b.Stats().Waits >= 3 })
	close(goOn)
	wg.Wait()
	p.want(p.b, "id", "v", rc.FromL1)
	_ = ctx
}

// waitFor polls a counter. What happens is an event of another goroutine that
// nobody signals.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20s for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func contractFlush(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{})
	p.must(p.a.Set(ctx, "id", "1"))
	p.eventually(p.b, "id", "1")
	for _, c := range p.ma.Client().Nodes() {
		role, err := c.Do(ctx, c.B().Role().Build()).ToArray()
		p.must(err)
		if s, _ := role[0].ToString(); s != "master" {
			continue
		}
		p.must(c.Do(ctx, c.B().Flushall().Build()).Error())
		p.must(c.Do(ctx, c.B().ScriptFlush().Build()).Error())
	}
	p.eventually(p.a, "id", "")
	p.eventually(p.b, "id", "")
	var n atomic.Int32
	p.get(p.b, "2", loads("2", &n))
	if e.Announced { // the loss of the namespace's token may be noticed after that of the value
		waitFor(t, "a value that others can use", func() bool {
			p.get(p.b, "2", loads("2", &n))
			v, _, err := p.a.Get(ctx, "id")
			return v == "2" && err == nil
		})
	}
	p.eventually(p.a, "id", "2")
	got, err := p.a.GetOrSetMany(ctx, []string{"x", "y"}, func(_ context.Context, ids []string) (map[string]string, error) {
		return map[string]string{"x": "1", "y": "2"}, nil
	})
	if len(got) != 2 || err != nil {
		t.Errorf("GetOrSetMany = %v, %v", got, err)
	}
}

func contractClient(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{})
	if err := p.ma.Ping(ctx); err != nil {
		t.Errorf("Ping = %v", err)
	}
	if !p.ma.Available() {
		t.Error("Available = false")
	}
	for _, h := range p.ma.Health() {
		if !h.Reachable || h.BreakerOpen || h.FeedAge < 0 || h.FeedAge > rc.DefaultMaxStaleness {
			t.Errorf("Health = %+v", h)
		}
	}
	c := p.ma.Client()
	key := "direct:{" + t.Name() + "}"
	for _, r := range c.DoMulti(ctx, c.B().Set().Key(key).Value("1").Build(), c.B().Get().Key(key).Build()) {
		p.must(r.Error())
	}
	if e.Announced {
		return // DoCache is Do: nobody would tell of what outsiders change
	}
	read := func() rueidis.RedisResult { return c.DoCache(ctx, c.B().Get().Key(key).Cache(), time.Minute) }
	p.must(read().Error())
	waitFor(t, "a hit of DoCache", func() bool { return read().IsCacheHit() })
	p.e.Do(t, key, "SET", key, "2")
	waitFor(t, "the change to be seen", func() bool { v, _ := read().ToString(); return v == "2" })
}

// Schedule: a's load fails while b waits for it. b does not load in turn.
func contractBackoff(t *testing.T, e Env) {
	ctx := t.Context()
	p := newPair(t, e, rc.Config[string]{ErrorBackoff: time.Minute})
	loading, goOn := make(chan struct{}), make(chan struct{})
	errs := make(chan error, 2)
	go func() {
		_, err := p.a.GetOrSet(ctx, "id", func(context.Context) (string, error) {
			close(loading)
			<-goOn
			return "", errors.New("database is down")
		})
		errs <- err
	}()
	<-loading
	go func() {
		_, err := p.b.GetOrSet(ctx, "id", never(t))
		errs <- err
	}()
	waitFor(t, "b to wait", func() bool { return p.b.Stats().Waits > 0 })
	close(goOn)
	backoffs := 0
	for range 2 {
		err := <-errs
		if err == nil || !strings.Contains(err.Error(), "database is down") {
			t.Errorf("err = %v, want the text of the failure", err)
		}
		if errors.Is(err, rc.ErrBackoff) {
			backoffs++
		}
	}
	if backoffs != 1 {
		t.Errorf("%d callers were told to back off, want 1", backoffs)
	}
	p.must(p.b.Set(ctx, "id", "x")) // a write ends the backoff
	p.eventually(p.a, "id", "x")
}

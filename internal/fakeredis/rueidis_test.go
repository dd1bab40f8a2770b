package fakeredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
)

// newClient connects rueidis as the library does. The channel gets every
// invalidation: the keys, or "flush".
func newClient(t testing.TB, s *Server, tracking ...string) (rueidis.Client, <-chan string) {
	t.Helper()
	pushes := make(chan string, 1000)
	opt := s.ClientOption()
	opt.AlwaysPipelining = true
	opt.PipelineMultiplex = -1
	opt.ClientTrackingOptions = tracking
	opt.OnInvalidations = func(msgs []rueidis.RedisMessage) {
		if msgs == nil {
			pushes <- "flush"
		}
		for _, m := range msgs {
			key, _ := m.ToString()
			pushes <- key
		}
	}
	c, err := rueidis.NewClient(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, pushes
}

func cached(t testing.TB, c rueidis.Client, key string) (value string, hit bool) {
	t.Helper()
	r := c.DoCache(t.Context(), c.B().Get().Key(key).Cache(), time.Hour)
	value, err := r.ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("DoCache %s: %v", key, err)
	}
	return value, r.IsCacheHit()
}

func wantCached(t testing.TB, c rueidis.Client, key, value string, hit bool) {
	t.Helper()
	if v, h := cached(t, c, key); v != value || h != hit {
		t.Errorf("DoCache(%q) = %q, hit %v, want %q, hit %v", key, v, h, value, hit)
	}
}

func wantPush(t testing.TB, pushes <-chan string, want string) {
	t.Helper()
	select {
	case got := <-pushes:
		if got != want {
			t.Errorf("invalidated %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no invalidation of %q", want)
	}
}

func TestRueidisCache(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, pushes := newClient(t, s)
	do(t, s, "SET", "k", "one")
	wantCached(t, c, "k", "one", false)
	wantCached(t, c, "k", "one", true)
	do(t, s, "SET", "k", "two")
	wantPush(t, pushes, "k")
	wantCached(t, c, "k", "two", false)
	wantCached(t, c, "none", "", false) // a missing key is cached, too
	wantCached(t, c, "none", "", true)
	do(t, s, "SET", "none", "here")
	wantPush(t, pushes, "none")
	wantCached(t, c, "none", "here", false)
	do(t, s, "FLUSHALL")
	wantPush(t, pushes, "flush")
	wantCached(t, c, "k", "", false)
	if n := s.Commands()["GET"]; n != 5 {
		t.Errorf("%d GETs, want 5: hits must not reach the server", n)
	}
}

// TestRueidisFallsBackToSingle is for those who do not use ClientOption: rueidis
// tries CLUSTER first and must understand the refusal.
func TestRueidisFallsBackToSingle(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	opt := s.ClientOption()
	opt.ForceSingleClient = false
	c, err := rueidis.NewClient(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Mode() != rueidis.ClientModeStandalone {
		t.Errorf("Mode = %v, want standalone", c.Mode())
	}
	wantCached(t, c, "k", "", false)
}

func TestRueidisReconnects(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, pushes := newClient(t, s)
	do(t, s, "SET", "k", "one")
	wantCached(t, c, "k", "one", false)
	if n := s.DropConnections(); n != 1 {
		t.Errorf("dropped %d connections, want 1", n)
	}
	wantPush(t, pushes, "flush")
	wantCached(t, c, "k", "one", false)
	wantCached(t, c, "k", "one", true)
	do(t, s, "SET", "k", "two")
	wantPush(t, pushes, "k")
	s.Refuse(true)
	wantPush(t, pushes, "flush")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Do(ctx, c.B().Get().Key("k").Build()).Error(); err == nil {
		t.Error("GET succeeds on a server that refuses")
	}
	s.Refuse(false)
	wantCached(t, c, "k", "two", false)
}

func TestRueidisBroadcast(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, pushes := newClient(t, s, "BCAST", "PREFIX", "app:", "PREFIX", "lib:")
	do(t, s, "SET", "else:1", "v")
	do(t, s, "SET", "app:1", "v")
	wantPush(t, pushes, "app:1")
	do(t, s, "EVAL", "redis.call('SET', 'lib:1', 1)", "0") // not even declared
	wantPush(t, pushes, "lib:1")
}

// TestRueidisOwnWriteThenCachedRead is the order that a fill relies on: behind
// the reply of a trailing command, the client has seen its own push.
func TestRueidisOwnWriteThenCachedRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, _ := newClient(t, s)
	for i := range 200 {
		cached(t, c, "k")
		want := fmt.Sprint(i)
		for _, r := range c.DoMulti(t.Context(), c.B().Set().Key("k").Value(want).Build(), c.B().Ping().Build()) {
			if err := r.Error(); err != nil {
				t.Fatal(err)
			}
		}
		wantCached(t, c, "k", want, false)
	}
}

func TestRueidisScript(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, _ := newClient(t, s)
	lua := rueidis.NewLuaScript(`redis.call('SET', KEYS[1], ARGV[1], 'PX', 5000); return redis.call('GET', KEYS[1])`)
	for range 2 { // EVALSHA, NOSCRIPT, EVAL; then EVALSHA alone
		got, err := lua.Exec(t.Context(), c, []string{"k\x00"}, []string{"v\xff\x00"}).ToString()
		if got != "v\xff\x00" || err != nil {
			t.Errorf("script = %q, %v", got, err)
		}
	}
	if m := s.Commands(); m["EVALSHA"] != 2 || m["EVAL"] != 1 || m["SET"] != 0 {
		t.Errorf("commands = %v", m)
	}
	err := rueidis.NewLuaScript(`return redis.call('INCR', KEYS[1])`).Exec(t.Context(), c, []string{"k\x00"}, nil).Error()
	if re, ok := rueidis.IsRedisErr(err); !ok || !strings.HasPrefix(re.Error(), "value is not an integer") {
		t.Errorf("failed script = %v", err)
	}
}

func TestRueidisManyCachedReads(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, _ := newClient(t, s)
	var reads []rueidis.CacheableTTL
	for i := range 100 {
		key := fmt.Sprint("k", i)
		do(t, s, "SET", key, fmt.Sprint("v", i), "PX", "60000")
		reads = append(reads, rueidis.CT(c.B().Get().Key(key).Cache(), time.Minute))
	}
	for _, hit := range []bool{false, true} {
		for i, r := range c.DoMultiCache(t.Context(), reads...) {
			v, err := r.ToString()
			if v != fmt.Sprint("v", i) || err != nil || r.IsCacheHit() != hit || r.CachePTTL() <= 0 {
				t.Fatalf("read %d = %q, %v, hit %v, pttl %d", i, v, err, r.IsCacheHit(), r.CachePTTL())
			}
		}
		reads = reads[:0]
		for i := range 100 {
			reads = append(reads, rueidis.CT(c.B().Get().Key(fmt.Sprint("k", i)).Cache(), time.Minute))
		}
	}
	static := rueidis.Cacheable(c.B().Get().Key("k1").Cache().ToStaticTTL())
	if v, err := c.DoCache(t.Context(), static, time.Minute).ToString(); v != "v1" || err != nil {
		t.Errorf("static read = %q, %v", v, err)
	}
}

// TestRueidisBigPipeline stops for ever on a connection with a bounded buffer.
func TestRueidisBigPipeline(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, _ := newClient(t, s)
	cmds := make(rueidis.Commands, 0, 1900)
	for i := range cap(cmds) {
		cmds = append(cmds, c.B().Set().Key(fmt.Sprint(i)).Value(strings.Repeat("x", 1000)).Build())
	}
	for _, r := range c.DoMulti(t.Context(), cmds...) {
		if err := r.Error(); err != nil {
			t.Fatal(err)
		}
	}
	if got := do(t, s, "DBSIZE"); got != int64(1900) {
		t.Errorf("DBSIZE = %v", got)
	}
}

func TestRueidisPubSubOnTheCachingClient(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, _ := newClient(t, s)
	for _, kind := range []struct {
		subscribe rueidis.Completed
		publish   []string
	}{
		{c.B().Subscribe().Channel("ch").Build(), []string{"PUBLISH", "ch", "m\xff"}},
		{c.B().Psubscribe().Pattern("c*").Build(), []string{"PUBLISH", "ch", "m\xff"}},
		{c.B().Ssubscribe().Channel("ch").Build(), []string{"SPUBLISH", "ch", "m\xff"}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ready, got := make(chan struct{}), make(chan rueidis.PubSubMessage, 10)
		hooked := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { close(ready) })
		ended := make(chan error, 1)
		go func() { ended <- c.Receive(hooked, kind.subscribe, func(m rueidis.PubSubMessage) { got <- m }) }()
		<-ready
		wantCached(t, c, "none", "", kind.publish[0] == "SPUBLISH" || strings.HasPrefix(kind.subscribe.Commands()[0], "P"))
		if n := do(t, s, kind.publish...); n == int64(0) {
			t.Errorf("%v: nobody received", kind.publish)
		}
		if m := <-got; m.Channel != "ch" || m.Message != "m\xff" {
			t.Errorf("%v: received %+v", kind.publish, m)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Receive = %v", err)
		}
	}
}

func TestRueidisFailures(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, _ := newClient(t, s)
	s.FailNext("SET", "OOM command not allowed when used memory > 'maxmemory'.", 1)
	err := c.Do(t.Context(), c.B().Set().Key("k").Value("v").Build()).Error()
	if re, ok := rueidis.IsRedisErr(err); !ok || !strings.HasPrefix(re.Error(), "OOM ") {
		t.Errorf("SET = %v, want OOM", err)
	}
	s.FailNext("GET", "NOPERM no", 1)
	err = c.DoCache(t.Context(), c.B().Get().Key("k").Cache(), time.Minute).Error()
	if err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("DoCache = %v, want NOPERM", err)
	}
	wantCached(t, c, "k", "", false) // an error is not cached
}

func TestRueidisHeldReadLosesToAWrite(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, _ := newClient(t, s)
	do(t, s, "SET", "k", "old")
	arrived, release := s.Hold("GET")
	got := make(chan string)
	go func() {
		v, _ := c.DoCache(t.Context(), c.B().Get().Key("k").Cache(), time.Minute).ToString()
		got <- v
	}()
	<-arrived
	do(t, s, "SET", "k", "new")
	release()
	if v := <-got; v != "new" {
		t.Errorf("the read that was executed later = %q", v)
	}
	wantCached(t, c, "k", "new", true)
}

func TestRueidisInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(6 * time.Second) }) // closed clients leave sleepers behind
		s := newServer(t)
		c, pushes := newClient(t, s)
		start := time.Now()
		do(t, s, "SET", "k", "v", "PX", "60000")
		wantCached(t, c, "k", "v", false)
		time.Sleep(59 * time.Second)
		wantCached(t, c, "k", "v", true)
		if got := <-pushes; got != "k" || time.Since(start) != time.Minute {
			t.Errorf("pushed %q after %v, want k after a minute", got, time.Since(start))
		}
		wantCached(t, c, "k", "", false)
		time.Sleep(time.Hour)            // pings and all
		wantCached(t, c, "k", "", false) // the client's own hour is over
		if n := s.Connections(); n != 1 {
			t.Errorf("Connections = %d after an hour, want 1", n)
		}
	})
}

func TestRueidisNoticesAFrozenServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(6 * time.Second) })
		s := newServer(t)
		c, pushes := newClient(t, s)
		do(t, s, "SET", "k", "old")
		wantCached(t, c, "k", "old", false)
		start := time.Now()
		s.Freeze()
		do(t, s, "SET", "k", "new")
		wantCached(t, c, "k", "old", true) // it cannot know
		if got := <-pushes; got != "flush" {
			t.Errorf("pushed %q, want the flush of a dead connection", got)
		}
		if d := time.Since(start); d < 10*time.Second || d > 12*time.Second {
			t.Errorf("the client gave up after %v, want about 11s: ping interval and write timeout", d)
		}
		s.Thaw()
		wantCached(t, c, "k", "new", false)
	})
}

package invalidation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/redis/rueidis"
)

// fleet is a server and a Bus on it that watches one partition.
func fleet(t *testing.T, f localredis.Flavor, edit ...func(*Config)) (*localredis.Server, *Bus, *inbox, *partition) {
	t.Helper()
	srv := localredis.Standalone(t, f)
	cfg := quick(t)
	for _, e := range edit {
		e(&cfg)
	}
	b := open(t, option(srv.Addr()), cfg)
	in := subscribe(b)
	publish(t, b, key("first"))
	in.waitName(t, "first")
	return srv, b, in, b.parts[b.Partition("ns", "first")]
}

// A message that did not arrive is noticed by the heartbeat, without any other
// message.
func TestLostMessageIsAGap(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		srv, b, in, p := fleet(t, f)
		state := do(t, srv, "GET", p.state).(string)
		do(t, srv, "SET", p.state, formatID(77)+state[:8]+"2")
		in.waitGap(t, p.index, 1)
		in.handled(t, b)
		publish(t, b, key("first"))
		in.handled(t, b)
		if got := in.names(Key); len(got) != 2 || in.gaps(p.index) != 1 {
			t.Errorf("delivered %v and %d gaps, want 2 events and 1", got, in.gaps(p.index))
		}
	})
}

// The next message notices it at once.
func TestLostMessageIsNoticedByTheNext(t *testing.T) {
	t.Parallel()
	srv, b, in, p := fleet(t, localredis.Redis, func(c *Config) { c.Heartbeat = time.Hour })
	state := do(t, srv, "GET", p.state).(string)
	do(t, srv, "SET", p.state, formatID(77)+state[:8]+"2")
	publish(t, b, key("first"))
	in.waitGap(t, p.index, 1)
	until(t, "the event", func() bool { return len(in.names(Key)) == 2 })
}

// What takes the memory of the chain away is a gap, whether messages were lost
// or not.
func TestLostStateIsAGap(t *testing.T) {
	t.Parallel()
	for _, lose := range [][]string{{"FLUSHALL"}, {"DEL", "$"}, {"SET", "$", "garbage"}, {"DEBUG", "$"}} {
		t.Run(lose[0]+fmt.Sprint(len(lose)), func(t *testing.T) {
			t.Parallel()
			srv, b, in, p := fleet(t, localredis.Redis)
			if lose[0] == "DEBUG" { // another type
				do(t, srv, "DEL", p.state)
				do(t, srv, "RPUSH", p.state, "x")
			} else {
				args := slices.Clone(lose)
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "$", p.state)
				}
				do(t, srv, args...)
			}
			in.waitGap(t, p.index, 1)
			in.handled(t, b)
			publish(t, b, key("first"))
			in.handled(t, b)
			if got := in.names(Key); len(got) != 2 {
				t.Errorf("delivered %v, want 2 events", got)
			}
		})
	}
}

// Garbage on the channel is dropped and counted, and the feed lives on.
func TestGarbageOnTheChannel(t *testing.T) {
	t.Parallel()
	srv, b, in, p := fleet(t, localredis.Redis)
	for _, junk := range []string{"", "hello", "FCB", "FCB\x01" + strings.Repeat("x", 40), strings.Repeat("z", 1<<20)} {
		do(t, srv, "SPUBLISH", p.channel, junk)
	}
	publish(t, b, key("first"))
	in.handled(t, b)
	if got := in.names(Key); len(got) != 2 || in.gaps(p.index) != 0 || b.Stats().Malformed != 5 {
		t.Errorf("delivered %v, %d gaps, %d malformed, want 2 events, 0, 5", got, in.gaps(p.index), b.Stats().Malformed)
	}
	// A message of a newer version is something to be careful about.
	state := parseState(do(t, srv, "GET", p.state).(string))
	newer := header{position{id: 99, seq: state.seq + 1}, state.id}
	do(t, srv, "EVAL", "redis.call('SPUBLISH', ARGV[1], ARGV[2]) redis.call('SET', KEYS[1], ARGV[3])", "1", p.state, // as one: between the two is a gap, too
		p.channel, encode(newer, 2, "unknown"), formatID(99)+formatID(state.id)+fmt.Sprint(newer.seq))
	in.waitGap(t, p.index, 1)
	publish(t, b, key("first"))
	in.handled(t, b)
	if got := in.names(Key); len(got) != 3 || in.gaps(p.index) != 1 {
		t.Errorf("delivered %v and %d gaps, want 3 events and 1", got, in.gaps(p.index))
	}
}

// While the server does not answer nothing is proven, and afterwards there is a
// gap.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	srv, b, in, p := fleet(t, localredis.Redis, func(c *Config) { c.OpTimeout = time.Second })
	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	frozen := b.cfg.Clock()
	until(t, "a failed heartbeat", func() bool { return b.Stats().BeatsFailed > 0 })
	if b.Heard(p.index) > frozen || b.Age(p.index) < 0 {
		t.Errorf("Heard = %d, after the server froze at %d", b.Heard(p.index), frozen)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := b.Wait(ctx); err == nil {
		t.Error("Wait = nil while the server is frozen")
	}
	if err := srv.Thaw(); err != nil {
		t.Fatal(err)
	}
	waitHeard(t, b)
	in.waitGap(t, p.index, 1)
}

// A server that was restarted without its data begins a new chain.
func TestRestartedServer(t *testing.T) {
	t.Parallel()
	srv, b, in, p := fleet(t, localredis.Valkey)
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	waitHeard(t, b)
	in.waitGap(t, p.index, 1)
	publish(t, b, key("again"))
	in.waitName(t, "again")
}

// A server that becomes a replica answers reads all the same.
func TestDemotedServer(t *testing.T) {
	t.Parallel()
	srv, b, in, p := fleet(t, localredis.Redis)
	other := localredis.Standalone(t, localredis.Redis)
	host, port, _ := strings.Cut(other.Addr(), ":")
	do(t, srv, "REPLICAOF", host, port)
	demoted := b.cfg.Clock()
	failed := b.Stats().BeatsFailed
	until(t, "failed heartbeats", func() bool { return b.Stats().BeatsFailed > failed+3 })
	if h := b.Heard(p.index); h > demoted {
		t.Errorf("Heard = %d though the server is a replica since %d", h, demoted)
	}
	do(t, srv, "REPLICAOF", "NO", "ONE")
	waitHeard(t, b)
	in.waitGap(t, p.index, 1)
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	d := localredis.NewSentinel(t, localredis.SentinelConfig{})
	opt := option(d.Addrs()...)
	opt.Sentinel = rueidis.SentinelOption{MasterSet: "mymaster"}
	cfg := quick(t)
	start := time.Now()
	cfg.Clock = func() int64 { return int64(time.Since(start)) }
	writer, reader := open(t, opt, cfg), open(t, opt, cfg)
	m := newModel(t, writer, reader)
	m.settled()
	before := m.gaps.Load()
	primary, err := d.Master(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	m.settled()
	if m.gaps.Load() == before {
		t.Error("no gap was delivered")
	}
	m.stop()
}

// What is closed delivers nothing, proves nothing and leaves nothing running.
func TestClose(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	b := open(t, option(srv.Addr()), quick(t))
	in := subscribe(b)
	publish(t, b, key("k"))
	in.waitName(t, "k")
	for range 2 {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	<-in.Done()
	late := subscribe(b)
	<-late.Done()
	late.Close()
	if err := b.Wait(t.Context()); err != ErrClosed {
		t.Errorf("Wait after Close = %v", err)
	}
	if b.Heard(-1) != Never || b.Heard(99) != Never {
		t.Error("Heard of a partition there is not")
	}
}

// A handler that never returns does not hold up Close for ever, nor anything
// else.
func TestCloseWithABlockedHandler(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	b, err := Open(t.Context(), option(srv.Addr()), quick(t))
	if err != nil {
		t.Fatal(err)
	}
	g, in := newGate(b), subscribe(b)
	publish(t, b, key("k"))
	<-g.entered
	publish(t, b, key("l"))
	in.waitName(t, "l")
	in.handled(t, b)
	if err := b.Close(); err == nil || !strings.Contains(err.Error(), "1 handlers have not returned") {
		t.Errorf("Close with a blocked handler = %v", err)
	}
	close(g.open)
	<-g.Done()
}

func TestOpenAndCloseOften(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	done := make(chan error, 10)
	for range cap(done) {
		go func() {
			for range 10 {
				b, err := Open(context.Background(), option(srv.Addr()), Config{OpTimeout: patience, Logger: testLog(t)})
				if err != nil {
					done <- err
					return
				}
				s := b.Subscribe(func(Event) {})
				if _, err := b.Publish(context.Background(), key("k")); err != nil {
					done <- err
				}
				go s.Close()
				if err := b.Close(); err != nil {
					done <- err
				}
				<-s.Done()
			}
			done <- nil
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

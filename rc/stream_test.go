package rc_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// streamServer is what the tests of streams need of a server. They run on the
// in-process one and on a real one.
type streamServer struct {
	open func(t *testing.T) *rc.Manager
	do   func(args ...string) (any, error)
	fake *rctest.Server // nil if it is a real one
}

// onStreams runs a test on both servers.
func onStreams(t *testing.T, test func(t *testing.T, s streamServer)) {
	t.Parallel()
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		srv := start(t)
		test(t, streamServer{
			open: func(t *testing.T) *rc.Manager { return open(t, srv, rc.Options{}) },
			do:   srv.Do, fake: srv,
		})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		srv := localredis.Standalone(t, localredis.Redis)
		test(t, streamServer{
			open: func(t *testing.T) *rc.Manager { return openURL(t, "redis://"+srv.Addr()) },
			do:   func(args ...string) (any, error) { return srv.Do(context.WithoutCancel(t.Context()), args...) },
		})
	})
}

func openURL(t *testing.T, url string) *rc.Manager {
	t.Helper()
	m, err := rc.Open(t.Context(), url, rc.Options{OpTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// brisk is a stream with little patience.
func brisk() rc.Stream {
	return rc.Stream{Name: "orders", Group: "cache", Block: 50 * time.Millisecond, ClaimIdle: time.Hour}
}

// consume runs Consume until the returned function is called, which returns its
// error.
func consume(t *testing.T, m *rc.Manager, s rc.Stream) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := async(func() (string, error) { return "", m.Consume(ctx, s) })
	stop = func() error {
		cancel()
		_, err := f.get(t)
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func appendEvent[E any](t *testing.T, m *rc.Manager, e E, opts ...rc.EventOpt) string {
	t.Helper()
	id, err := rc.AppendEvent(t.Context(), m, "orders", e, opts...)
	if err != nil {
		t.Fatalf("AppendEvent: %v", err)
	}
	return id
}

// pending returns how many entries of the group are not acknowledged.
func pending(t *testing.T, s streamServer) int64 {
	t.Helper()
	v, err := s.do("XPENDING", "orders", "cache")
	if err != nil {
		t.Fatalf("XPENDING: %v", err)
	}
	return v.([]any)[0].(int64)
}

func length(t *testing.T, s streamServer, stream string) int64 {
	t.Helper()
	v, err := s.do("XLEN", stream)
	if err != nil {
		t.Fatalf("XLEN: %v", err)
	}
	return v.(int64)
}

func TestConsume(t *testing.T) {
	onStreams(t, func(t *testing.T, srv streamServer) {
		m := srv.open(t)
		s := service(t, m, rc.Config[string]{})
		on(t, m, func(e orderShipped) []rc.Target { return []rc.Target{s.Target(e.Order)} })
		set(t, s, "before", "v")
		set(t, s, "after", "v")
		set(t, s, "foreign", "v")
		appendEvent(t, m, orderShipped{Order: "before"})
		stop := consume(t, m, brisk())
		until(t, "what was there before the group to be applied", func() bool { return m.EventStats().Acked == 1 })
		appendEvent(t, m, orderShipped{Order: "after"})
		if _, err := srv.do("XADD", "orders", "*", "extra", "x", "type", "orderShipped", "data", `{"order":"foreign","new":1}`); err != nil {
			t.Fatal(err)
		}
		until(t, "all to be acknowledged", func() bool { return m.EventStats().Acked == 3 })
		for _, id := range []string{"before", "after", "foreign"} {
			cached(t, s, id, "")
		}
		if n := pending(t, srv); n != 0 {
			t.Errorf("%d entries pending, want none", n)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Consume = %v, want context.Canceled", err)
		}
		if st := m.EventStats(); st.Appended != 2 || st.Read != 3 || st.Applied != 3 || st.StreamErrors != 0 || st.Gaps != 0 || st.Held != 0 {
			t.Errorf("EventStats = %+v", st)
		}
	})
}

// An entry is acknowledged only after what it invalidates has landed, and one
// whose acknowledgement was lost comes again.
func TestConsumeRedelivers(t *testing.T) {
	onStreams(t, func(t *testing.T, srv streamServer) {
		m := srv.open(t)
		s := service(t, m, rc.Config[string]{})
		in, out := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		on(t, m, func(e orderShipped) []rc.Target {
			if calls.Add(1) == 1 {
				close(in)
				<-out
			}
			return []rc.Target{s.Target(e.Order)}
		})
		set(t, s, "1", "v")
		appendEvent(t, m, orderShipped{Order: "1"})
		cfg := brisk()
		cfg.Consumer = "dies"
		consume(t, m, cfg)
		event(t, in, "the mapping to run")
		if n := pending(t, srv); n != 1 {
			t.Errorf("%d entries pending while one is applied, want 1", n)
		}
		// The process dies here: its Manager is closed, nothing is
		// acknowledged.
		closed := async(func() (string, error) { return "", m.Close() })
		waitsInClose(t, m, closed)
		close(out)
		if _, err := closed.get(t); err != nil {
			t.Errorf("Close = %v", err)
		}
		if n := pending(t, srv); n != 1 {
			t.Fatalf("%d entries pending after the consumer died, want 1", n)
		}
		m2 := srv.open(t)
		s2 := service(t, m2, rc.Config[string]{})
		cached(t, s2, "1", "v")
		on(t, m2, func(e orderShipped) []rc.Target { return []rc.Target{s2.Target(e.Order)} })
		consume(t, m2, cfg) // of the same name: at once
		until(t, "the entry to be applied", func() bool { return m2.EventStats().Acked == 1 })
		cached(t, s2, "1", "")
		if st := m2.EventStats(); st.TakenOver != 1 || st.Read != 0 || pending(t, srv) != 0 {
			t.Errorf("EventStats = %+v with %d pending", st, pending(t, srv))
		}
	})
}

// What a consumer of another name has left is taken over after ClaimIdle, and
// not before.
func TestConsumeTakesOver(t *testing.T) {
	onStreams(t, func(t *testing.T, srv streamServer) {
		m := srv.open(t)
		s := service(t, m, rc.Config[string]{})
		on(t, m, func(e orderShipped) []rc.Target { return []rc.Target{s.Target(e.Order)} })
		set(t, s, "1", "v")
		appendEvent(t, m, orderShipped{Order: "1"})
		for _, args := range [][]string{
			{"XGROUP", "CREATE", "orders", "cache", "0"},
			{"XREADGROUP", "GROUP", "cache", "dead", "STREAMS", "orders", ">"},
		} {
			if _, err := srv.do(args...); err != nil {
				t.Fatal(err)
			}
		}
		stop := consume(t, m, brisk())
		appendEvent(t, m, orderShipped{Order: "2"})
		until(t, "the new entry to be applied", func() bool { return m.EventStats().Acked == 1 })
		if st := m.EventStats(); st.TakenOver != 0 {
			t.Errorf("TakenOver = %d before ClaimIdle, want 0", st.TakenOver)
		}
		cached(t, s, "1", "v")
		_ = stop()
		cfg := brisk()
		cfg.ClaimIdle = 50 * time.Millisecond
		consume(t, m, cfg)
		until(t, "the entry of the dead one to be applied", func() bool { return m.EventStats().Acked == 2 })
		cached(t, s, "1", "")
		if n := pending(t, srv); n != 0 || m.EventStats().TakenOver != 1 {
			t.Errorf("%d entries pending, EventStats = %+v", n, m.EventStats())
		}
	})
}

// One stream for all that is wrong with events; a good one behind each is
// applied all the same.
func TestConsumePoison(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fields  []string
		dead    int64 // entries in the dead-letter stream
		tries   uint64
		unknown bool // DeadLetterUnknown
		drop    bool // DropPoison
	}{
		{name: "unknown", fields: []string{"type", "nobody", "data", "{}"}},
		{name: "unknown put aside", fields: []string{"type", "nobody", "data", "{}"}, unknown: true, dead: 1},
		{name: "no type", fields: []string{"data", "{}"}, dead: 1},
		{name: "no data", fields: []string{"type", "orderShipped"}, dead: 1},
		{name: "no JSON", fields: []string{"type", "orderShipped", "data", "{"}, dead: 1},
		{name: "other JSON", fields: []string{"type", "orderShipped", "data", "[1]"}, dead: 1},
		{name: "no JSON dropped", fields: []string{"type", "orderShipped", "data", "{"}, drop: true},
		{name: "panic", fields: []string{"type", "orderShipped", "data", `{"order":"panic"}`}, dead: 1, tries: 3},
		{name: "goexit", fields: []string{"type", "orderShipped", "data", `{"order":"exit"}`}, dead: 1, tries: 3},
		{name: "bad target", fields: []string{"type", "orderShipped", "data", `{}`}, dead: 1, tries: 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onStreams(t, func(t *testing.T, srv streamServer) {
				m := srv.open(t)
				s := service(t, m, rc.Config[string]{})
				on(t, m, func(e orderShipped) []rc.Target {
					switch e.Order {
					case "panic":
						panic("boom")
					case "exit":
						runtime.Goexit()
					}
					return []rc.Target{s.Target(e.Order)}
				})
				set(t, s, "good", "v")
				if _, err := srv.do(append([]string{"XADD", "orders", "*"}, tt.fields...)...); err != nil {
					t.Fatal(err)
				}
				appendEvent(t, m, orderShipped{Order: "good"})
				cfg := brisk()
				cfg.MaxDeliveries, cfg.DropPoison, cfg.DeadLetterUnknown = 3, tt.drop, tt.unknown
				consume(t, m, cfg)
				until(t, "both to be acknowledged", func() bool { return m.EventStats().Acked == 2 })
				cached(t, s, "good", "")
				st := m.EventStats()
				if n := pending(t, srv); n != 0 || int64(st.DeadLettered) != tt.dead || st.Poisoned != tt.tries {
					t.Errorf("%d pending, EventStats = %+v, want %d dead and %d tries", n, st, tt.dead, tt.tries)
				}
				if n := length(t, srv, "orders:dead"); n != tt.dead {
					t.Errorf("%d entries in the dead-letter stream, want %d", n, tt.dead)
				}
				if tt.dead == 0 {
					return
				}
				v, err := srv.do("XRANGE", "orders:dead", "-", "+")
				if got := fmt.Sprint(v); err != nil || !strings.Contains(got, "error") || !strings.Contains(got, tt.fields[len(tt.fields)-1]) {
					t.Errorf("dead letter = %v, %v, want the fields of the entry and the error", got, err)
				}
			})
		})
	}
}

// Two consumers of a group share the entries, each of which is applied once.
func TestConsumeShares(t *testing.T) {
	onStreams(t, func(t *testing.T, srv streamServer) {
		const events = 200
		var seen [events]atomic.Int32
		var ms []*rc.Manager
		// Each waits, with its first entries in hand, for the other to have some.
		var both sync.WaitGroup
		both.Add(2)
		for range 2 {
			m := srv.open(t)
			ms = append(ms, m)
			var first sync.Once
			on(t, m, func(e generic[int]) []rc.Target {
				first.Do(func() { both.Done(); both.Wait() })
				seen[e.V].Add(1)
				return nil
			}, rc.EventName("n"))
			cfg := brisk()
			cfg.Count = 5
			consume(t, m, cfg)
		}
		for i := range events {
			appendEvent(t, ms[0], generic[int]{i}, rc.EventName("n"))
		}
		until(t, "all to be acknowledged", func() bool { return ms[0].EventStats().Acked+ms[1].EventStats().Acked == events })
		for i := range seen {
			if n := seen[i].Load(); n != 1 {
				t.Errorf("event %d was applied %d times, want once", i, n)
			}
		}
	})
}

// While Redis does not take an invalidation its entry is pending, for more
// tries than a poisoned one has, and the others go on.
func TestConsumeFailingInvalidation(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, rc.Options{}, rc.Config[string]{})
	fake := streamServer{do: srv.Do, fake: srv}
	on(t, m, func(e orderShipped) []rc.Target { return []rc.Target{s.Target(e.Order)} })
	on(t, m, func(e orderPaid) []rc.Target { return []rc.Target{rc.TagTarget(e.Order)} })
	set(t, s, "1", "v")
	srv.FailNext("DEL", "OOM command not allowed", 1<<30)
	cfg := brisk()
	cfg.MaxDeliveries = 1
	appendEvent(t, m, orderShipped{Order: "1"})
	consume(t, m, cfg)
	until(t, "it to be tried again", func() bool { return m.EventStats().Retried >= 3 })
	appendEvent(t, m, orderPaid{"t"})
	until(t, "the other one to be applied", func() bool { return m.EventStats().Acked == 1 })
	st := m.EventStats()
	if n := pending(t, fake); n != 1 || st.Held != 1 || st.Failed < 3 || st.DeadLettered != 0 {
		t.Errorf("%d pending, EventStats = %+v, want 1 held", n, st)
	}
	srv.FailNext("DEL", "", 0)
	until(t, "it to be applied", func() bool { return m.EventStats().Acked == 2 && m.EventStats().Held == 0 })
	cached(t, s, "1", "")
	if n := pending(t, fake); n != 0 {
		t.Errorf("%d pending, want none", n)
	}
}

// An acknowledgement that failed is made up for, without applying again.
func TestConsumeFailingAck(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, rc.Options{}, rc.Config[string]{})
	on(t, m, func(e orderShipped) []rc.Target { return []rc.Target{s.Target(e.Order)} })
	srv.FailNext("XACK", "OOM command not allowed", 2)
	appendEvent(t, m, orderShipped{Order: "1"})
	consume(t, m, brisk())
	until(t, "it to be acknowledged", func() bool { return m.EventStats().Acked == 1 })
	if st := m.EventStats(); st.Applied != 1 || st.StreamErrors != 2 || pending(t, streamServer{do: srv.Do}) != 0 {
		t.Errorf("EventStats = %+v, want it applied once and 2 errors", st)
	}
}

// A dead-letter stream that cannot be written keeps the entry pending.
func TestConsumeDeadLetterFails(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, rc.Options{})
	do(t, srv, "SET", "orders:dead", "no stream")
	do(t, srv, "XADD", "orders", "*", "x", "y")
	consume(t, m, brisk())
	until(t, "it to be tried again", func() bool { return m.EventStats().Retried >= 2 })
	if n := pending(t, streamServer{do: srv.Do}); n != 1 {
		t.Errorf("%d pending, want 1", n)
	}
	do(t, srv, "DEL", "orders:dead")
	until(t, "it to be put aside", func() bool { return m.EventStats().Acked == 1 && m.EventStats().DeadLettered == 1 })
}

// After FLUSHALL the group is made again, what comes is applied, and the loss is
// told.
func TestConsumeAfterFlush(t *testing.T) {
	onStreams(t, func(t *testing.T, srv streamServer) {
		m := srv.open(t)
		on(t, m, func(orderShipped) []rc.Target { return nil })
		var gaps atomic.Int32
		cfg := brisk()
		cfg.OnGap = func() { gaps.Add(1) }
		consume(t, m, cfg)
		until(t, "the first entry to be applied", func() bool {
			appendEvent(t, m, orderShipped{})
			return m.EventStats().Acked > 0
		})
		until(t, "all of them to be", func() bool { return m.EventStats().Acked == m.EventStats().Appended })
		if n := gaps.Load(); n != 0 {
			t.Errorf("%d gaps before the flush", n)
		}
		if _, err := srv.do("FLUSHALL"); err != nil {
			t.Fatal(err)
		}
		was := m.EventStats().Acked
		appendEvent(t, m, orderShipped{})
		until(t, "the entry behind the flush to be applied", func() bool { return m.EventStats().Acked > was })
		if n := gaps.Load(); n != 1 || m.EventStats().Gaps != 1 {
			t.Errorf("%d gaps told, %d counted, want 1", n, m.EventStats().Gaps)
		}
	})
}

// What was cut from the stream before it was read is told, what was cut behind
// is not.
func TestConsumeTrimmed(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	m := openURL(t, "redis://"+srv.Addr())
	do := func(args ...string) {
		t.Helper()
		if _, err := srv.Do(t.Context(), args...); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
	}
	on(t, m, func(orderShipped) []rc.Target { return nil })
	stop := consume(t, m, brisk())
	for range 10 {
		appendEvent(t, m, orderShipped{})
	}
	until(t, "them to be applied", func() bool { return m.EventStats().Acked == 10 })
	do("XTRIM", "orders", "MAXLEN", "0")
	appendEvent(t, m, orderShipped{})
	until(t, "the next one to be applied", func() bool { return m.EventStats().Acked == 11 })
	_ = stop()
	if st := m.EventStats(); st.Gaps != 0 {
		t.Errorf("Gaps = %d after what was read was cut, want 0", st.Gaps)
	}
	for range 10 {
		appendEvent(t, m, orderShipped{})
	}
	do("XTRIM", "orders", "MAXLEN", "3")
	consume(t, m, brisk())
	until(t, "the rest to be applied", func() bool { return m.EventStats().Acked == 14 })
	if st := m.EventStats(); st.Gaps != 1 {
		t.Errorf("Gaps = %d after 7 entries were cut unread, want 1", st.Gaps)
	}
	for range 5 {
		appendEvent(t, m, orderShipped{})
	}
	until(t, "the last ones to be applied", func() bool { return m.EventStats().Acked == 19 })
	if st := m.EventStats(); st.Gaps != 1 {
		t.Errorf("Gaps = %d later, want 1", st.Gaps)
	}
}

func TestConsumeRefuses(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, rc.Options{})
	do(t, srv, "SET", "string", "v")
	for _, tt := range []struct {
		s    rc.Stream
		want string
	}{
		{rc.Stream{Group: "g"}, "Stream.Name is empty"},
		{rc.Stream{Name: "n"}, "Stream.Group is empty"},
		{rc.Stream{Name: "n", Group: "g", DeadLetter: "n"}, "Stream.DeadLetter is Stream.Name"},
		{rc.Stream{Name: "n", Group: "g", Count: -1}, "Stream.Count is -1"},
		{rc.Stream{Name: "n", Group: "g", MaxDeliveries: -1}, "Stream.MaxDeliveries is -1"},
		{rc.Stream{Name: "n", Group: "g", Block: time.Hour}, "Stream.Block is 1h0m0s"},
		{rc.Stream{Name: "n", Group: "g", ClaimIdle: 1}, "Stream.ClaimIdle is 1ns"},
		{rc.Stream{Name: "n", Group: "g", Start: "nonsense"}, `Stream.Start is "nonsense"`},
		{rc.Stream{Name: "string", Group: "g"}, "WRONGTYPE"},
	} {
		f := async(func() (string, error) { return "", m.Consume(t.Context(), tt.s) })
		if _, err := f.get(t); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Consume(%+v) = %v, want %q", tt.s, err, tt.want)
		}
	}
	m.Close()
	if err := m.Consume(t.Context(), brisk()); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("Consume after Close = %v, want ErrClosed", err)
	}
}

// A read that waits is ended by its context, and by Close, and holds up nobody.
func TestConsumeEnds(t *testing.T) {
	onStreams(t, func(t *testing.T, srv streamServer) {
		m := srv.open(t)
		s := service(t, m, rc.Config[string]{})
		on(t, m, func(orderShipped) []rc.Target { return nil })
		cfg := brisk()
		cfg.Block = time.Minute
		for _, end := range []struct {
			name string
			call func(stop func() error) error
			want error
		}{
			{"context", func(stop func() error) error { return stop() }, context.Canceled},
			{"Close", func(stop func() error) error { m.Close(); return stop() }, nil},
		} {
			stop := consume(t, m, cfg)
			was := m.EventStats().Acked
			appendEvent(t, m, orderShipped{})
			until(t, "an entry to be applied", func() bool { return m.EventStats().Acked > was })
			set(t, s, "k", "v")
			cached(t, s, "k", "v")
			if err := end.call(stop); end.want != nil && !errors.Is(err, end.want) {
				t.Errorf("Consume ended by %s = %v, want %v", end.name, err, end.want)
			}
		}
	})
}

// The stream's primary in a cluster dies, and one moves its slot away: nothing
// that a replica had is lost, and the feed goes on.
func TestConsumeCluster(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{Primaries: 3, ReplicasPerPrimary: 1})
	m := openURL(t, "redis://"+c.Addrs()[0])
	var mu sync.Mutex // protects seen
	seen := map[int]int{}
	on(t, m, func(e generic[int]) []rc.Target {
		mu.Lock()
		defer mu.Unlock()
		seen[e.V]++
		return []rc.Target{rc.TagTarget(fmt.Sprint(e.V))}
	}, rc.EventName("n"))
	applied := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(seen) == n
		}
	}
	// add appends until it is acknowledged.
	add := func(n int) {
		until(t, "an event to be appended", func() bool {
			_, err := rc.AppendEvent(t.Context(), m, "orders", generic[int]{n}, rc.EventName("n"))
			return err == nil
		})
	}
	stop := consume(t, m, brisk())
	for n := range 20 {
		add(n)
	}
	until(t, "them to be applied", applied(20))
	_ = stop()
	for n := range 20 {
		add(20 + n)
	}
	slot := localredis.Slot("orders")
	old, err := c.PrimaryOf(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := old.Do(t.Context(), "WAIT", "1", "5000"); err != nil || got.(int64) < 1 {
		t.Fatalf("WAIT = %v, %v", got, err) // the replica has them
	}
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	consume(t, m, brisk())
	if _, err := c.WaitPrimary(t.Context(), slot, old); err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		add(40 + n)
	}
	until(t, "what came before and after the failover to be applied", applied(60))
	now, err := c.PrimaryOf(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	to, err := c.PrimaryOf(t.Context(), (slot+16384/2)%16384)
	if err != nil {
		t.Fatal(err)
	}
	if to == now {
		t.Fatal("one primary owns both slots")
	}
	if err := c.MoveSlot(t.Context(), slot, to); err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		add(60 + n)
	}
	until(t, "what came after the slot moved to be applied", applied(80))
}

package rc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/near"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// stored returns an envelope of "k" with the given value, as another instance
// would write it.
func stored(t *testing.T, srv *rctest.Server, v string) string {
	t.Helper()
	_, s := instance(t, srv, calm(), rc.Config[string]{L1Size: rc.Off})
	set(t, s, "k", v)
	raw := do(t, srv, "GET", key(t, s, "k")).(string)
	do(t, srv, "DEL", key(t, s, "k"))
	return raw
}

// replace changes the value of "k" as another instance would.
func replace(t *testing.T, srv *rctest.Server, s *rc.CacheService[string], raw string) {
	t.Helper()
	do(t, srv, "SET", key(t, s, "k"), raw, "PX", "60000")
}

// inMemory checks that a read is answered without asking Redis.
func inMemory(t *testing.T, srv *rctest.Server, s *rc.CacheService[string], want string) {
	t.Helper()
	before := srv.Commands()["GET"]
	cached(t, s, "k", want)
	if n := srv.Commands()["GET"] - before; n != 0 {
		t.Errorf("a read of %q took %d GETs, want it from memory", want, n)
	}
}

// The push of a change is lost with its connection: the value in memory goes
// with it.
func TestRacePushLostWithItsConnection(t *testing.T) {
	t.Parallel()
	srv := start(t)
	next := stored(t, srv, "new")
	opts := calm()
	opts.ReplayWindow = rc.Off // the change is made behind the back of everybody
	m, l := linked(t, srv, opts)
	a := service(t, m, rc.Config[string]{})
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	set(t, a, "k", "old")
	cached(t, b, "k", "old")
	inMemory(t, srv, a, "old")
	held := l.hold()
	before := m.Stats().Pushes
	replace(t, srv, a, next)
	event(t, held, "the push")
	inMemory(t, srv, a, "old") // within the bound: nothing tells A otherwise
	l.cut()
	until(t, "A to see the change", func() bool {
		v, _, err := a.Get(t.Context(), "k")
		return err == nil && v == "new"
	})
	cached(t, b, "k", "new")
	inMemory(t, srv, b, "new") // the other instance lost nothing
	cached(t, a, "k", "new")
	if n := m.Stats().Pushes - before; n != 0 {
		t.Errorf("%d pushes, want 0: the test is not about a lost push", n)
	}
}

// The connection of an instance closes: the memory of others is not touched.
func TestRaceConnectionOfAnotherInstance(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, l := linked(t, srv, calm())
	a := service(t, m, rc.Config[string]{})
	mb, b := instance(t, srv, calm(), rc.Config[string]{})
	set(t, a, "k", "v")
	cached(t, b, "k", "v")
	l.cut()
	until(t, "A to come back", func() bool { _, found, err := a.Get(t.Context(), "k"); return found && err == nil })
	inMemory(t, srv, b, "v")
	if n := mb.Stats().FeedResets; n != 0 {
		t.Errorf("FeedResets = %d in the other instance, want 0", n)
	}
}

// All connections drop and a change is made before anybody is back.
func TestRaceDroppedConnections(t *testing.T) {
	t.Parallel()
	srv := start(t)
	next := stored(t, srv, "new")
	opts := calm()
	opts.ReplayWindow = rc.Off // the change is made behind the back of everybody
	_, a := instance(t, srv, opts, rc.Config[string]{})
	set(t, a, "k", "old")
	if n := srv.DropConnections(); n == 0 {
		t.Fatal("no connection to drop")
	}
	replace(t, srv, a, next)
	until(t, "the change", func() bool { v, _, err := a.Get(t.Context(), "k"); return err == nil && v == "new" })
	cached(t, a, "k", "new")
}

func TestRaceFlushAll(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, a := instance(t, srv, calm(), rc.Config[string]{StaleFor: time.Hour})
	set(t, a, "k", "old")
	inMemory(t, srv, a, "old")
	do(t, srv, "FLUSHALL")
	until(t, "the push", func() bool { return m.Stats().Flushes == 1 })
	cached(t, a, "k", "")
	if _, err := a.GetOrSet(t.Context(), "k", func(context.Context) (string, error) { return "", errBoom }); !errors.Is(err, errBoom) {
		t.Errorf("GetOrSet with a failing loader after FLUSHALL = %v, want its error and no old value", err)
	}
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	set(t, b, "l", "v")
	cached(t, a, "l", "v")
}

// gated is a codec whose decoding of one text waits for the test: the reply
// has been received by then, and is not in memory yet.
type gated struct {
	rc.String
	text    string
	arrived chan struct{}
	release chan struct{}
}

func newGated(text string) *gated {
	return &gated{text: text, arrived: make(chan struct{}, 100), release: make(chan struct{})}
}

func (g *gated) Decode(src []byte) (string, error) {
	if string(src) == g.text {
		g.arrived <- struct{}{}
		<-g.release
	}
	return g.String.Decode(src)
}

// A value is changed after the reply that brought it and before it is in
// memory.
func TestRaceInsertAfterInvalidation(t *testing.T) {
	t.Parallel()
	for _, v := range append(verbs, verb{name: "Elsewhere"}) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			m := open(t, srv, calm())
			codec := newGated("old")
			a := service(t, m, rc.Config[string]{Codec: codec})
			_, b := instance(t, srv, calm(), rc.Config[string]{Codec: rc.String{}})
			set(t, b, "k", "old")
			read := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
			event(t, codec.arrived, "the reply")
			before := m.Stats().Pushes
			if v.do == nil {
				v.after = "new"
				set(t, b, "k", "new")
				until(t, "the push", func() bool { return m.Stats().Pushes > before })
			} else if err := v.do(t.Context(), a, "k"); err != nil {
				t.Fatal(err)
			}
			// A reader that begins now must not take part in the old read.
			late := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
			if v.do != nil {
				if v.name == "Expire" { // the old bytes, marked; decoding them waits too
					event(t, codec.arrived, "the late reader's own reply")
				} else {
					late.want(t, v.after)
				}
			}
			close(codec.release)
			read.want(t, "old")
			if v.do != nil {
				late.want(t, v.after)
			}
			cached(t, a, "k", v.after)
		})
	}
}

// A process is frozen between the reply of a read and its end: who begins after
// the thaw takes no part in it, since it may be of any age.
func TestRaceReadBegunBeforeAFreeze(t *testing.T) {
	t.Parallel()
	srv := start(t)
	codec := newGated("old")
	a := service(t, open(t, srv, rc.Options{MaxStaleness: 100 * time.Millisecond}), rc.Config[string]{Codec: codec, L1Size: rc.Off})
	_, b := instance(t, srv, calm(), rc.Config[string]{Codec: rc.String{}})
	set(t, b, "k", "old")
	read := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
	event(t, codec.arrived, "the reply")
	set(t, b, "k", "new")
	until(t, "a reader that does not wait for the old read", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		v, _, err := a.Get(ctx, "k")
		return v == "new" && err == nil
	})
	close(codec.release)
	read.want(t, "old")
}

// The same without a memory tier, where nothing but the sharing of reads can
// go wrong.
func TestRaceReadBegunBeforeAWrite(t *testing.T) {
	t.Parallel()
	srv := start(t)
	codec := newGated("old")
	a := service(t, open(t, srv, calm()), rc.Config[string]{Codec: codec, L1Size: rc.Off})
	set(t, a, "k", "old")
	read := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
	event(t, codec.arrived, "the reply")
	set(t, a, "k", "new")
	late := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
	late.want(t, "new")
	close(codec.release)
	read.want(t, "old")
}

// A value is changed while the read is on its way: between the commands of
// its pipeline, and while the reply travels.
func TestRaceReadAgainstChange(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"PTTL", "CLIENT", "GET"} {
		t.Run("Before"+command, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, a := instance(t, srv, quiet(), rc.Config[string]{})
			_, b := instance(t, srv, quiet(), rc.Config[string]{})
			set(t, b, "k", "old")
			arrived, release := srv.Hold(command)
			defer release()
			read := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
			event(t, arrived, command)
			set(t, b, "k", "new")
			release()
			read.want(t, "new")
			inMemory(t, srv, a, "new")
			set(t, b, "k", "newer")
			until(t, "the next change", func() bool { v, _, _ := a.Get(t.Context(), "k"); return v == "newer" })
		})
	}
	t.Run("WhileTheReplyTravels", func(t *testing.T) {
		t.Parallel()
		srv := start(t)
		_, a := instance(t, srv, quiet(), rc.Config[string]{})
		_, b := instance(t, srv, quiet(), rc.Config[string]{L1Size: rc.Off})
		set(t, b, "k", "old")
		next := do(t, srv, "GET", key(t, b, "k")).(string)
		for range 20 {
			replace(t, srv, b, next)
			srv.ResetCommands()
			srv.Delay(5 * time.Millisecond)
			read := async(func() (string, error) { v, _, err := a.Get(t.Context(), "k"); return v, err })
			until(t, "the read to be executed", func() bool { return srv.Commands()["GET"] > 0 })
			do(t, srv, "DEL", key(t, b, "k")) // announced right behind the reply
			read.want(t, "old")
			srv.Delay(0)
			until(t, "the push", func() bool { _, found, err := a.Get(t.Context(), "k"); return err == nil && !found })
		}
	})
}

// Another instance changes a value between a fill, or a Set, and the tracked
// read behind it, and after that.
func TestRaceChangeBehindTheWrite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		write func(t *testing.T, s *rc.CacheService[string])
	}{
		{"Fill", func(t *testing.T, s *rc.CacheService[string]) { fill(t, s, "k", "mine") }},
		{"Set", func(t *testing.T, s *rc.CacheService[string]) { set(t, s, "k", "mine") }},
	} {
		for _, command := range []string{"CLIENT", "GETRANGE"} {
			t.Run(c.name+"Before"+command, func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				_, a := instance(t, srv, quiet(), rc.Config[string]{})
				_, b := instance(t, srv, quiet(), rc.Config[string]{})
				warm(t, a)
				if c.name == "Fill" && command == "CLIENT" {
					command = "GETRANGE" // CLIENT comes with the claim already
				}
				arrived, release := srv.Hold(command)
				defer release()
				f := async(func() (string, error) { c.write(t, a); return "", nil })
				event(t, arrived, command)
				set(t, b, "k", "theirs")
				release()
				f.want(t, "")
				cached(t, a, "k", "theirs")
			})
		}
		t.Run(c.name+"ThenChange", func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, a := instance(t, srv, quiet(), rc.Config[string]{})
			_, b := instance(t, srv, quiet(), rc.Config[string]{})
			c.write(t, a)
			inMemory(t, srv, a, "mine")
			set(t, b, "k", "theirs")
			until(t, "the change", func() bool { v, _, _ := a.Get(t.Context(), "k"); return v == "theirs" })
		})
	}
}

// Values of user code, read with DoCache on the same client, live in the same
// memory and die the same way.
func TestRaceDoCache(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, l := linked(t, srv, quiet())
	c := m.Client()
	read := func() string {
		t.Helper()
		v, err := c.DoCache(t.Context(), c.B().Get().Key("mine").Cache(), time.Minute).ToString()
		if err != nil {
			t.Fatalf("DoCache: %v", err)
		}
		return v
	}
	do(t, srv, "SET", "mine", "1")
	if got := read() + read(); got != "11" {
		t.Fatalf("DoCache twice = %q, want 11", got)
	}
	before := srv.Commands()["GET"]
	if read(); srv.Commands()["GET"] != before {
		t.Error("DoCache asked again for what is in memory")
	}
	do(t, srv, "SET", "mine", "2")
	until(t, "the push", func() bool { return read() == "2" })

	held := l.hold()
	do(t, srv, "SET", "mine", "3")
	event(t, held, "the push")
	l.cut()
	until(t, "the end of the connection", func() bool {
		v, err := c.DoCache(t.Context(), c.B().Get().Key("mine").Cache(), time.Minute).ToString()
		return err == nil && v == "3"
	})

	do(t, srv, "DEL", "mine")
	do(t, srv, "SET", "mine", "4")
	until(t, "the push", func() bool { return read() == "4" })
	pushes := m.Stats().Pushes
	do(t, srv, "DEL", "mine")
	until(t, "the push", func() bool { return m.Stats().Pushes > pushes })
	arrived, release := srv.Hold("EXEC") // DoCache reads in a transaction
	defer release()
	do(t, srv, "SET", "mine", "5")
	f := async(func() (string, error) {
		return c.DoCache(t.Context(), c.B().Get().Key("mine").Cache(), time.Minute).ToString()
	})
	event(t, arrived, "the transaction")
	do(t, srv, "SET", "mine", "6")
	release()
	f.want(t, "6")
	if got := read(); got != "6" {
		t.Errorf("DoCache = %q, want 6", got)
	}
}

// Readers do not trust memory whose feed has been silent for MaxStaleness,
// though nothing says that anything is wrong.
func TestRaceSilentFeed(t *testing.T) {
	t.Parallel()
	srv := start(t)
	next := stored(t, srv, "new")
	_, a := instance(t, srv, rc.Options{OpTimeout: 2 * time.Second, MaxStaleness: 10 * time.Second}, rc.Config[string]{})
	set(t, a, "k", "old")
	inMemory(t, srv, a, "old")
	srv.Freeze()
	defer srv.Thaw()
	replace(t, srv, a, next)
	inMemory(t, srv, a, "old") // within the bound
	srv.FastForward(11 * time.Second)
	if v, found, err := a.Get(t.Context(), "k"); !errors.Is(err, rc.ErrUnavailable) {
		t.Errorf("Get beyond the bound = %q, %v, %v, want ErrUnavailable", v, found, err)
	}
	srv.Thaw()
	until(t, "the server to answer again", func() bool { _, found, err := a.Get(t.Context(), "k"); return found && err == nil })
	cached(t, a, "k", "new")
}

// A feed that has expired is not revived by beats that come late: a server
// that was frozen past its failover would bring back what its successor has
// changed.
func TestRaceLateBeat(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, a := instance(t, srv, rc.Options{MaxStaleness: time.Minute, Heartbeat: 50 * time.Millisecond}, rc.Config[string]{TTL: time.Hour})
	set(t, a, "k", "v")
	inMemory(t, srv, a, "v")
	srv.FastForward(2 * time.Minute)
	until(t, "a beat after the feed expired", func() bool {
		age := m.Health()[0].FeedAge
		return age >= 0 && age < time.Minute
	})
	before := srv.Commands()["GET"]
	cached(t, a, "k", "v")
	if srv.Commands()["GET"] == before {
		t.Error("a late beat brought back values of an expired feed")
	}
	inMemory(t, srv, a, "v")
	if n := m.Stats().FeedResets; n != 1 {
		t.Errorf("FeedResets = %d, want 1", n)
	}
}

// marked makes rueidis pass a reply to the store of its connection.
func marked(c rueidis.Completed) rueidis.Completed {
	return rueidis.Completed(rueidis.Cacheable(c).ToStaticTTL())
}

// tracked reads a key as the library does, up to the moment before the reply
// is claimed.
func tracked(t *testing.T, c rueidis.Client, k string, arm bool) []byte {
	t.Helper()
	cmds := []rueidis.Completed{c.B().Pttl().Key(k).Build(), marked(c.B().Get().Key(k).Build())}
	if arm {
		cmds = append(cmds[:1:1], marked(c.B().ClientCaching().Yes().Build()), cmds[1])
	}
	res := c.DoMulti(t.Context(), cmds...)
	b, err := res[len(res)-1].AsBytes()
	if err != nil {
		t.Fatalf("GET: %v", err)
	}
	return b
}

// bare returns a table and a client that feeds it, without a Manager.
func bare(t *testing.T) (*rctest.Server, *near.Table, rueidis.Client) {
	t.Helper()
	srv := start(t)
	table := near.NewTable(near.Options{MaxStaleness: time.Hour})
	opt := srv.ClientOption()
	opt.NewCacheStoreFn = table.NewStore
	opt.PipelineMultiplex, opt.AlwaysPipelining = -1, true
	c, err := rueidis.NewClient(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	do(t, srv, "SET", "k", "old")
	return srv, table, c
}

// Two reads of a key are on their way, and the key changes between them: each
// may claim the entry made of its own reply only.
func TestRaceTakeOfAnotherReply(t *testing.T) {
	t.Parallel()
	srv, table, c := bare(t)
	first := table.Ask("k", false)
	old := tracked(t, c, "k", true)
	do(t, srv, "SET", "k", "new")
	second := table.Ask("k", false)
	fresh := tracked(t, c, "k", true)
	if e := first.Take(old); e != nil {
		t.Error("the first read claimed the entry of the second: its old value would stay")
	}
	if e := second.Take(fresh); e == nil {
		t.Error("the second read found no entry")
	}
}

// A reply that no CLIENT CACHING YES came before is not tracked: the server
// would never announce its change (it happens after a redirection).
func TestRaceUntrackedReply(t *testing.T) {
	t.Parallel()
	_, table, c := bare(t)
	for _, arm := range []bool{false, true} {
		ask := table.Ask("k", false)
		if e := ask.Take(tracked(t, c, "k", arm)); (e != nil) != arm {
			t.Errorf("a reply with tracking %v made an entry: %v, want %v", arm, e != nil, arm)
		}
	}
}

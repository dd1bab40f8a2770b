package near_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/fakeredis"
	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/near"
)

const maxStaleness = 2 * time.Second

// bundle is a table with one client on one server.
type bundle struct {
	t     *testing.T
	srv   *fakeredis.Server
	table *near.Table
	c     rueidis.Client
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, srv: fakeredis.New()}
	b.table = near.NewTable(near.Options{MaxStaleness: maxStaleness, RawBytes: 64 << 10})
	opt := b.srv.ClientOption()
	opt.NewCacheStoreFn = b.table.NewStore
	opt.PipelineMultiplex, opt.AlwaysPipelining = -1, true
	c, err := rueidis.NewClient(opt)
	if err != nil {
		t.Fatal(err)
	}
	b.c = c
	t.Cleanup(func() { c.Close(); b.srv.Close() })
	return b
}

func marked(c rueidis.Completed) rueidis.Completed {
	return rueidis.Completed(rueidis.Cacheable(c).ToStaticTTL())
}

func (b *bundle) beat() {
	b.t.Helper()
	payload := b.table.Beat("fake:6379")
	res := b.c.DoMulti(b.t.Context(), b.c.B().Ping().Build(), marked(b.c.B().Arbitrary("ECHO", payload).Build()))
	if err := res[1].Error(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) do(args ...string) {
	b.t.Helper()
	if _, err := b.srv.Do(args...); err != nil {
		b.t.Fatal(err)
	}
}

// sync waits until every push that the server has sent so far was processed:
// replies and pushes share one ordered stream.
func (b *bundle) sync() {
	b.t.Helper()
	if err := b.c.Do(b.t.Context(), b.c.B().Ping().Build()).Error(); err != nil {
		b.t.Fatal(err)
	}
}

// get sends a tracked read and returns its reply.
func (b *bundle) get(key string) []byte {
	b.t.Helper()
	res := b.c.DoMulti(b.t.Context(), b.c.B().Ping().Build(),
		marked(b.c.B().ClientCaching().Yes().Build()), marked(b.c.B().Get().Key(key).Build()))
	v, err := res[2].AsBytes()
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// read is a whole tracked read whose entry is fresh for an hour.
func (b *bundle) read(key string) *near.Entry {
	b.t.Helper()
	ask := b.table.Ask(key, false)
	e := ask.Take(b.get(key))
	if e == nil {
		b.t.Fatalf("the reply to a tracked read of %q made no entry", key)
	}
	e.Value = "v"
	if !b.table.Publish(e, b.table.Clock().Now()+int64(time.Hour)) {
		b.t.Fatalf("the entry of %q was dead before it lived", key)
	}
	return e
}

func (b *bundle) wantFresh(e *near.Entry, want bool, when string) {
	b.t.Helper()
	if got := b.table.Fresh(e); got != want {
		b.t.Errorf("%s: Fresh = %v, want %v", when, got, want)
	}
}

func TestEntryIsFreshUntilAPushNamesItsKey(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.do("SET", "other", "1")
	b.beat()
	e := b.read("k")
	b.wantFresh(e, true, "after the read")
	b.do("SET", "other", "2")
	b.sync()
	b.wantFresh(e, true, "after a change of another key")
	b.do("SET", "k", "2")
	b.sync()
	b.wantFresh(e, false, "after a change of the key")
	if !e.Killed() {
		t.Error("Killed = false after a push")
	}
	if s := b.table.Stats(); s.Pushes != 1 || s.Keys != 0 {
		t.Errorf("Stats = %+v, want 1 push and no key left", s)
	}
}

func TestEntryNeedsABeat(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	e := b.read("k")
	b.wantFresh(e, false, "before the first beat")
	b.beat()
	b.wantFresh(e, true, "after it")
	b.table.Clock().Advance(maxStaleness + time.Millisecond)
	b.wantFresh(e, false, "when the last beat is too old")
	if e.Killed() {
		t.Error("Killed = true, want the value to be left as a fallback")
	}
}

// Schedule: a beat is sent, the server freezes, time passes, the server
// answers. What was read before must not come back to life: in the meantime
// its successor may have been changed.
func TestExpiredFeedIsDeadForEver(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	e := b.read("k")
	b.srv.Freeze()
	payload := b.table.Beat("fake:6379")
	replied := make(chan error, 1)
	go func() {
		res := b.c.DoMulti(t.Context(), b.c.B().Ping().Build(), marked(b.c.B().Arbitrary("ECHO", payload).Build()))
		replied <- res[1].Error()
	}()
	b.table.Clock().Advance(maxStaleness + time.Second)
	b.srv.Thaw()
	if err := <-replied; err != nil {
		t.Fatal(err)
	}
	b.wantFresh(e, false, "after the late beat")
	b.beat()
	b.wantFresh(e, false, "after a beat in time")
	b.wantFresh(b.read("k"), true, "read anew")
	if s := b.table.Stats(); s.LateBeats != 1 {
		t.Errorf("LateBeats = %d, want 1", s.LateBeats)
	}
}

func TestFlushKillsEverything(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	e := b.read("k")
	b.do("FLUSHALL")
	b.sync()
	b.wantFresh(e, false, "after FLUSHALL")
	if !e.Killed() {
		t.Error("Killed = false: a value that was flushed must not be a fallback")
	}
}

func TestLostConnectionEndsItsFeed(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	e := b.read("k")
	b.srv.DropConnections()
	<-e.Feed().Gone()
	b.wantFresh(e, false, "after the connection was lost")
	if e.Killed() {
		t.Error("Killed = true, want the value to be left as a fallback")
	}
	b.beat() // over a new connection
	b.wantFresh(e, false, "after a beat of another connection")
}

// A redirection sends the GET alone: the flag that CLIENT CACHING YES set was
// for a command that went elsewhere.
func TestUntrackedReplyMakesNoEntry(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	ask := b.table.Ask("k", false)
	res := b.c.DoMulti(t.Context(), b.c.B().Ping().Build(), marked(b.c.B().Get().Key("k").Build()))
	v, err := res[1].AsBytes()
	if err != nil {
		t.Fatal(err)
	}
	if e := ask.Take(v); e != nil {
		t.Error("an entry was made of a reply the server does not track")
	}
}

// Two reads of a key: each may claim only what was made of its own reply.
func TestEntryIsClaimedByItsOwnReplyOnly(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	first, second := b.table.Ask("k", false), b.table.Ask("k", false)
	older := b.get("k")
	newer := b.get("k")
	if e := first.Take(older); e != nil {
		t.Error("a reply that was replaced by a later one could be claimed")
	}
	if e := second.Take(newer); e == nil {
		t.Error("the later reply could not be claimed by its reader")
	}
}

func TestReplyOfAnAbandonedReadIsNotKept(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	ask := b.table.Ask("k", false)
	ask.Drop()
	b.get("k")
	if s := b.table.Stats(); s.Keys != 0 || s.Unasked != 1 {
		t.Errorf("Stats = %+v, want no key and 1 unasked", s)
	}
	// Dropped after the reply came, before it was claimed.
	ask = b.table.Ask("k", false)
	b.get("k")
	ask.Drop()
	if s := b.table.Stats(); s.Keys != 0 {
		t.Errorf("Keys = %d after Drop, want 0", s.Keys)
	}
}

func TestKillBetweenClaimAndPublish(t *testing.T) {
	for name, kill := range map[string]func(*bundle){
		"push":  func(b *bundle) { b.do("SET", "k", "2"); b.sync() },
		"evict": func(b *bundle) { b.table.Evict("k") },
		"slots": func(b *bundle) { b.table.KillSlots(func(s uint16) bool { return s == hashslot.Of("k") }) },
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.do("SET", "k", "1")
			b.beat()
			e := b.table.Ask("k", false).Take(b.get("k"))
			kill(b)
			if b.table.Publish(e, 1<<62) {
				t.Error("Publish = true for an entry that was killed before")
			}
			b.wantFresh(e, false, "after Publish")
		})
	}
}

// Schedule: the read is sent, the slot moves, the reply of the former owner
// arrives. It will not hear of changes any more.
func TestReadSentBeforeAMoveIsVoid(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	ask := b.table.Ask("k", false)
	v := b.get("k")
	b.table.KillSlots(func(uint16) bool { return false }) // some other slot
	if e := ask.Take(v); e != nil {
		t.Error("a read from before the move could be claimed")
	}
}

func TestKillSlotsSparesOthers(t *testing.T) {
	b := setup(t)
	b.do("SET", "a", "1")
	b.do("SET", "b", "1")
	b.beat()
	a, o := b.read("a"), b.read("b")
	if n := b.table.KillSlots(func(s uint16) bool { return s == hashslot.Of("a") }); n != 1 {
		t.Errorf("KillSlots = %d, want 1", n)
	}
	b.wantFresh(a, false, "moved")
	b.wantFresh(o, true, "not moved")
}

func TestResetNode(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	e := b.read("k")
	b.table.ResetNode("other:6379")
	b.wantFresh(e, true, "after a reset of another node")
	b.table.ResetNode("fake:6379")
	b.wantFresh(e, false, "after a reset of its node")
	b.beat()
	b.wantFresh(b.read("k"), true, "read anew under the next feed")
}

// A beat that was sent under an earlier feed says nothing about this one.
func TestBeatOfAnEarlierFeedDoesNotCount(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	b.beat()
	payload := b.table.Beat("fake:6379")
	b.table.ResetNode("fake:6379")
	e := b.read("k")
	res := b.c.DoMulti(t.Context(), b.c.B().Ping().Build(), marked(b.c.B().Arbitrary("ECHO", payload).Build()))
	if err := res[1].Error(); err != nil {
		t.Fatal(err)
	}
	b.wantFresh(e, false, "with a beat from before the feed")
}

func TestWatchIsWoken(t *testing.T) {
	b := setup(t)
	b.do("SET", "lease", "token")
	b.beat()
	for name, wake := range map[string]func(){
		"by a change":   func() { b.do("DEL", "lease"); b.do("SET", "lease", "token") },
		"by its expiry": func() { b.do("PEXPIRE", "lease", "1"); b.srv.FastForward(time.Second); b.do("SET", "lease", "token") },
		"locally":       func() { b.table.Evict("lease") },
	} {
		ask := b.table.Ask("lease", true)
		e := ask.Take(b.get("lease"))
		if e == nil || !b.table.Publish(e, 1<<62) {
			t.Fatal("no watch")
		}
		wake()
		select {
		case <-e.Woken():
		case <-time.After(5 * time.Second):
			t.Errorf("not woken %s", name)
		}
	}
}

func TestDetachedEntryLivesForMaxStalenessAtMost(t *testing.T) {
	b := setup(t)
	now := b.table.Clock().Now()
	e := b.table.Detached("k", now)
	b.table.Publish(e, now+int64(time.Hour))
	b.wantFresh(e, true, "at once")
	b.table.Clock().Advance(maxStaleness + time.Millisecond)
	b.wantFresh(e, false, "after MaxStaleness")
	e = b.table.Detached("k", b.table.Clock().Now())
	b.table.Publish(e, 1<<62)
	b.table.Evict("k")
	b.wantFresh(e, false, "after a local write")
}

func TestDoCacheIsCachedHere(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	b.do("HSET", "h", "f", "1")
	b.do("SET", "wrong", "1")
	b.beat()
	read := func() rueidis.RedisResult {
		return b.c.DoCache(ctx, b.c.B().Hget().Key("h").Field("f").Cache(), time.Minute)
	}
	if v, err := read().ToString(); v != "1" || err != nil {
		t.Fatalf("DoCache = %q, %v", v, err)
	}
	if !read().IsCacheHit() {
		t.Error("second DoCache is no hit")
	}
	b.do("HSET", "h", "f", "2")
	b.sync()
	if r := read(); r.IsCacheHit() {
		t.Error("hit after a change")
	}
	b.table.Clock().Advance(time.Minute + time.Second)
	b.beat()
	b.beat()
	if read().IsCacheHit() {
		t.Error("hit after the client's TTL")
	}
	for range 2 {
		r := b.c.DoCache(ctx, b.c.B().Hget().Key("wrong").Field("f").Cache(), time.Minute)
		if r.Error() == nil || r.IsCacheHit() {
			t.Errorf("DoCache of a wrong type = %v, hit %v; errors are not to be kept", r.Error(), r.IsCacheHit())
		}
	}
	read()
	b.table.Clock().Advance(maxStaleness + time.Second)
	if read().IsCacheHit() {
		t.Error("hit while the feed is silent")
	}
}

func TestDoCacheFollowersSurviveTheLeadersContext(t *testing.T) {
	b := setup(t)
	b.do("SET", "k", "1")
	arrived, release := b.srv.Hold("EXEC")
	lead, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- b.c.DoCache(lead, b.c.B().Get().Key("k").Cache(), time.Minute).Error() }()
	<-arrived
	second := make(chan error, 1)
	go func() {
		v, err := b.c.DoCache(t.Context(), b.c.B().Get().Key("k").Cache(), time.Minute).ToString()
		if err == nil && v != "1" {
			err = fmt.Errorf("value %q", v)
		}
		second <- err
	}()
	cancel()
	if err := <-first; err == nil {
		t.Error("the cancelled caller got no error")
	}
	release()
	if err := <-second; err != nil {
		t.Errorf("the other caller got %v", err)
	}
}

func TestDoCacheMemoryIsBounded(t *testing.T) {
	b := setup(t)
	b.beat()
	for i := range 5000 {
		k := fmt.Sprintf("k%d", i)
		b.do("SET", k, "0123456789")
		if err := b.c.DoCache(t.Context(), b.c.B().Get().Key(k).Cache(), time.Hour).Error(); err != nil {
			t.Fatal(err)
		}
	}
	// 64 KiB hold some 350 of them. Evicted ones are let go in the
	// background, so give that its time.
	deadline := time.Now().Add(10 * time.Second)
	for b.table.Stats().Keys > 1000 && time.Now().Before(deadline) {
		b.sync()
	}
	if n := b.table.Stats().Keys; n > 1000 {
		t.Errorf("%d keys held, want a few hundred", n)
	}
}

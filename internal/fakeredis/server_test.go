package fakeredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// newServer returns a server that ends with the test.
func newServer(t testing.TB) *Server {
	t.Helper()
	s := New()
	t.Cleanup(s.Close)
	return s
}

// do is Server.Do for commands that must succeed.
func do(t testing.TB, s *Server, args ...string) any {
	t.Helper()
	v, err := s.Do(args...)
	if err != nil {
		t.Fatalf("Do(%q) = %v", args, err)
	}
	return v
}

func TestDo(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, c := range []struct {
		args []string
		want any
		err  string
	}{
		{args: []string{"SET", "k\x00", "v\xff"}, want: "OK"},
		{args: []string{"get", "k\x00"}, want: "v\xff"},
		{args: []string{"GET", "none"}},
		{args: []string{"INCR", "n"}, want: int64(1)},
		{args: []string{"MGET", "k\x00", "none"}, want: []any{"v\xff", nil}},
		{args: []string{"LPUSH", "n", "x"}, err: "WRONGTYPE Operation against a key holding the wrong kind of value"},
		{args: []string{"HEXPIRE", "h", "1"}, err: "ERR unknown command 'HEXPIRE', with args beginning with: 'h' '1' "},
		{args: []string{"BLPOP", "none", "0"}},
		{args: []string{"SELECT", "1"}, err: "ERR DB index is out of range"},
		{args: []string{"MULTI"}, want: "OK"},
		{args: []string{"EXEC"}, err: "ERR EXEC without MULTI"},
	} {
		got, err := s.Do(c.args...)
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("Do(%q) = %#v, want %#v", c.args, got, c.want)
		}
		if want := Error(c.err); c.err != "" && err != want || c.err == "" && err != nil {
			t.Errorf("Do(%q) error = %v, want %v", c.args, err, c.err)
		}
	}
	if _, err := s.Do(); err == nil {
		t.Error("Do() without a command succeeds")
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("Connections = %d after Do, want 0", n)
	}
	if got := s.Commands(); len(got) != 0 {
		t.Errorf("Commands = %v after Do, want none", got)
	}
}

func TestCommandsCountsWhatClientsExecute(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	rc := dialRaw(t, s)
	s.ResetCommands()
	rc.do("get", "k")
	rc.do("NOSUCH")
	rc.do("GET")
	rc.do("EVAL", "redis.call('SET', KEYS[1], 1); return redis.call('GET', KEYS[1])", "1", "k")
	rc.do("MULTI")
	rc.do("GET", "k")
	rc.do("GET", "k")
	rc.do("EXEC")
	rc.do("MULTI")
	rc.do("SET", "k", "v")
	rc.do("DISCARD")
	// GET without a key is refused by miniredis when it runs, hence counted.
	want := map[string]int64{"GET": 4, "EVAL": 1, "MULTI": 2, "EXEC": 1, "DISCARD": 1}
	if got := s.Commands(); !maps.Equal(got, want) {
		t.Errorf("Commands = %v, want %v", got, want)
	}
	s.ResetCommands()
	if got := s.Commands(); len(got) != 0 {
		t.Errorf("Commands after ResetCommands = %v", got)
	}
}

func TestDialAfterClose(t *testing.T) {
	t.Parallel()
	s := New()
	rc := dialRaw(t, s)
	s.Close()
	s.Close()
	if _, err := rc.r.ReadByte(); err == nil {
		t.Error("a connection is open after Close")
	}
	if _, err := s.Dial(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial after Close = %v, want connection refused", err)
	}
	if _, err := s.Do("PING"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Do after Close = %v, want net.ErrClosed", err)
	}
}

func TestDialObeysContext(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a cancelled context = %v", err)
	}
}

func TestProtocolErrorEndsTheConnection(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"PING\r\n", "*1\r\n:1\r\n", "*1\r\n$4\r\nPINGxx", "*9999999999\r\n", "*1\r\n$-1\r\n",
		strings.Repeat("*", 10000)} {
		s := newServer(t)
		rc := dialRaw(t, s)
		if _, err := rc.c.Write([]byte(bad)); err != nil {
			t.Fatal(err)
		}
		if got := rc.read(); !strings.HasPrefix(got, "-ERR Protocol error") {
			t.Errorf("%.20q answers %s, want a protocol error", bad, got)
		}
		if _, err := rc.r.ReadByte(); err == nil {
			t.Errorf("%.20q does not close the connection", bad)
		}
	}
}

func TestClientKill(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b, c := dialRaw(t, s), dialRaw(t, s), dialRaw(t, s)
	c.send([]string{"SUBSCRIBE", "ch"})
	c.read()
	if got := a.do("CLIENT", "KILL", "TYPE", "normal"); got != ":1" {
		t.Errorf("CLIENT KILL TYPE normal = %s, want 1: not the caller, not the subscriber", got)
	}
	if _, err := b.r.ReadByte(); err == nil {
		t.Error("the killed client is connected")
	}
	if got := c.do("PING"); got != "+PONG" {
		t.Errorf("the subscriber's PING = %s", got)
	}
	if got := a.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"); got != ":1" {
		t.Errorf("CLIENT KILL SKIPME no = %s, want :1", got)
	}
	if _, err := a.r.ReadByte(); err == nil {
		t.Error("the client that killed itself is connected")
	}
}

// TestCloseLeavesNothing runs in a bubble, which fails when a goroutine is left.
func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New()
		do(t, s, "SET", "k", "v", "PX", "600000") // an armed timer
		idle, blocked, held := dialRaw(t, s), dialRaw(t, s), dialRaw(t, s)
		idle.do("PING")
		blocked.send([]string{"BLPOP", "list", "0"})
		arrived, _ := s.Hold("GET")
		held.send([]string{"GET", "k"})
		<-arrived
		synctest.Wait()
		s.Freeze()
		frozen := dialRawFrozen(t, s)
		frozen.send([]string{"GET", "k"})
		synctest.Wait()
		s.Close()
		if n := s.Connections(); n != 0 {
			t.Errorf("Connections = %d after Close", n)
		}
	})
}

// TestCloseWaitsForGoroutines is not parallel, so that no other test's servers
// are in the dump.
func TestCloseWaitsForGoroutines(t *testing.T) {
	s := New()
	for range 50 {
		rc := dialRaw(t, s)
		rc.send([]string{"PING"})
	}
	s.Close()
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	if n := strings.Count(string(buf), "(*Server).serve("); n != 0 {
		t.Errorf("%d connections are being served after Close", n)
	}
}

func TestForgottenClientsLeaveNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		for _, end := range []func(*rawClient){
			func(rc *rawClient) { rc.c.Close() },
			func(*rawClient) { s.DropConnections() },
		} {
			rc := dialRaw(t, s)
			rc.do("CLIENT", "TRACKING", "ON")
			rc.do("GET", "k")
			rc.do("WATCH", "k")
			rc.send([]string{"SUBSCRIBE", "ch"}, []string{"PSUBSCRIBE", "p*"}, []string{"SSUBSCRIBE", "sch"})
			dialRaw(t, s).do("CLIENT", "TRACKING", "ON", "BCAST")
			rc.sync()
			end(rc)
			s.DropConnections()
			synctest.Wait()
			s.mu.Lock()
			n := len(s.table.keys) + len(s.table.bcast) + len(s.watchers)
			for _, subs := range s.subs {
				n += len(subs)
			}
			s.mu.Unlock()
			if n != 0 {
				t.Errorf("%d entries for clients that are gone", n)
			}
		}
	})
}

func dialRawFrozen(t *testing.T, s *Server) *rawClient {
	t.Helper()
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, c, false)
}

func TestStartCloseStress(t *testing.T) {
	t.Parallel()
	for range 10 {
		s := New()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				c, err := s.Dial(context.Background())
				if err != nil {
					return // closed already
				}
				fmt.Fprintf(c, "*5\r\n$3\r\nSET\r\n$2\r\nk%d\r\n$1\r\nv\r\n$2\r\nPX\r\n$1\r\n5\r\n", i%10)
				c.Read(make([]byte, 10)) // a reply, or the end
			})
		}
		wg.Go(s.Close)
		wg.Wait()
	}
}

func TestBlockingCommandWaitsForAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		a, b, x := dialRaw(t, s), dialRaw(t, s), dialRaw(t, s)
		start := time.Now()
		a.send([]string{"BLPOP", "list", "3"})
		if got := a.read(); got != "_" || time.Since(start) != 3*time.Second {
			t.Errorf("BLPOP = %s after %v, want null after 3s", got, time.Since(start))
		}
		a.send([]string{"BLPOP", "list", "0"}, []string{"PING"})
		x.send([]string{"XREAD", "BLOCK", "0", "STREAMS", "stream", "$"})
		synctest.Wait()
		b.do("RPUSH", "list", "v")
		b.do("XADD", "stream", "5-1", "f", "v")
		if got := a.read(); got != `*["list" "v"]` {
			t.Errorf("BLPOP = %s", got)
		}
		if got := a.read(); got != "+PONG" {
			t.Errorf("PING behind BLPOP = %s", got)
		}
		if got := x.read(); !strings.Contains(got, `"5-1"`) {
			t.Errorf("XREAD = %s, want the new entry", got)
		}
		if got := b.do("LLEN", "list"); got != ":0" {
			t.Errorf("LLEN = %s, want 0", got)
		}
	})
}

func TestScanSeesWhatStays(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	want := map[string]bool{}
	for i := range 500 {
		key := fmt.Sprintf("k\xff%d", i)
		do(t, s, "SET", key, "v")
		want[key] = i%2 == 0 // the others are deleted as soon as they are seen
	}
	do(t, s, "SET", "other", "v")
	seen := map[string]int{}
	cursor, pages := "0", 0
	for {
		reply := do(t, s, "SCAN", cursor, "MATCH", "k\xff*", "COUNT", "20").([]any)
		cursor = reply[0].(string)
		for _, k := range reply[1].([]any) {
			seen[k.(string)]++
			if !want[k.(string)] {
				do(t, s, "UNLINK", k.(string))
			}
		}
		do(t, s, "SET", "new"+strconv.Itoa(pages), "v")
		if pages++; cursor == "0" {
			break
		}
	}
	if pages < 3 || pages > 20 {
		t.Errorf("%d pages, want several", pages)
	}
	for key := range want {
		if seen[key] != 1 {
			t.Errorf("SCAN returned %q %d times, want once", key, seen[key])
		}
	}
	if len(seen) != len(want) {
		t.Errorf("SCAN returned %d keys, want %d", len(seen), len(want))
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"a*c", "abbc", true}, {"a*c", "abcd", false},
		{"a**b*", "ab", true}, {"?", "", false}, {"?", "\xff", true}, {"[a-c]x", "bx", true}, {"[c-a]x", "bx", true},
		{"[^a]", "a", false}, {"[^a]", "b", true}, {"[\\]]", "]", true}, {"[a", "a", true}, {"[", "a", false},
		{`\*`, "*", true}, {`\*`, "a", false}, {`\`, `\`, true}, {"[]", "a", false},
		{"users:{1}*", "users:{1}:lease", true}, {"\x00*\xfe", "\x00mid\xfe", true},
	} {
		if got := match(c.pattern, c.text); got != c.want {
			t.Errorf("match(%q, %q) = %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

// FuzzRequest feeds a connection arbitrary bytes: whatever they are, the server
// must answer or hang up, and go on serving others.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("*1\r\n$4\r\nPING\r\n"))
	f.Add([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\x00\xff\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"))
	f.Add([]byte("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n"))
	f.Add([]byte("*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n"))
	for _, cmd := range []string{"GETEX k", "SETRANGE k 0", "BLPOP", "BZMPOP 0", "XREAD STREAMS", "OBJECT", "COPY a",
		"CLIENT TRACKING ON PREFIX", "SCAN 0 MATCH", "MSET", "ZUNIONSTORE d 9", "BITOP", "TTL", "SET k"} {
		var b []byte
		words := strings.Fields(cmd)
		b = fmt.Appendf(b, "*%d\r\n", len(words))
		for _, w := range words {
			b = appendBulk(b, w)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := New()
		defer s.Close()
		c, err := s.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Write(in)
		c.(*conn).out.closeWrite()
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // a blocking command ends only with Close
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		c.Close()
		if got := do(t, s, "PING"); got != "PONG" {
			t.Errorf("PING = %v", got)
		}
	})
}

func TestSortedSessionsAreInOrderOfConnection(t *testing.T) {
	t.Parallel()
	m := sessionsByName{}
	for _, id := range []int{3, 1, 2} {
		m.add("k", newSession(id, nil))
	}
	var ids []int
	for _, sess := range m.sorted("k") {
		ids = append(ids, sess.id)
	}
	if !slices.Equal(ids, []int{1, 2, 3}) {
		t.Errorf("order = %v", ids)
	}
}

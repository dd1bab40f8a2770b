package successor

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/relay"
)

// raw is a connection with which a test speaks to the server itself.
type raw struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// connect makes a connection as rueidis would: it begins with HELLO.
func connect(t *testing.T, opt rueidis.ClientOption) *raw {
	t.Helper()
	c, err := opt.DialCtxFn(t.Context(), opt.InitAddress[0], &net.Dialer{Timeout: 10 * time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	rc := &raw{t, c, bufio.NewReader(c)}
	hello := "HELLO 3"
	if opt.Password != "" {
		hello += " AUTH " + cmp.Or(opt.Username, "default") + " " + opt.Password
	}
	rc.send(hello)
	for line := ""; line != "$7 modules"; { // the last field
		line = rc.line()
		if strings.HasPrefix(line, "-") {
			t.Fatal(line)
		}
		if line == "$7" {
			line += " " + rc.line()
		}
	}
	rc.line() // its value: none
	return rc
}

func (c *raw) send(command string) {
	c.t.Helper()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) line() string {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimRight(l, "\r\n")
}

// do sends a command and returns its reply, of one line or one text.
func (c *raw) do(command string) string {
	c.t.Helper()
	c.send(command)
	if l := c.line(); l[0] != '$' {
		return l
	}
	return c.line()
}

// TestLateWriteDoesNotLand: a write whose connection was given up is not
// executed after one of the next connection. Without the dialer it is, which
// shows that the relay does what it is there for.
func TestLateWriteDoesNotLand(t *testing.T) {
	for _, flavor := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		for _, password := range []string{"", "secret"} {
			for _, fenced := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/password=%v/fenced=%v", flavor, password != "", fenced), func(t *testing.T) {
					t.Parallel()
					testLate(t, flavor, password, fenced)
				})
			}
		}
	}
}

func testLate(t *testing.T, flavor localredis.Flavor, password string, fenced bool) {
	var args []string
	if password != "" {
		args = []string{"--requirepass", password}
	}
	srv := localredis.Standalone(t, flavor, args...)
	r := relay.New(srv.Addr())
	opt := rueidis.ClientOption{InitAddress: []string{srv.Addr()}, Password: password, DialCtxFn: r.Dial}
	var d *Dialer
	if fenced {
		d = New(opt, func(_ string, err error) { t.Errorf("refused: %v", err) })
		opt.DialCtxFn = d.Dial
	}
	first := connect(t, opt)
	first.do("SET k before")
	r.Hold()
	first.send("SET k late")
	_ = first.Close()
	second := connect(t, opt)
	second.do("SET k new")
	r.Release()
	if !fenced {
		await(t, "the late write to land", func() bool { return second.do("GET k") == "late" })
		return
	}
	// The server has no other connection left, so nothing can land any more.
	if n := second.do("CLIENT KILL TYPE normal SKIPME yes"); n != ":0" || d.Ended.Load() != 1 {
		t.Errorf("%s connections left at the server, %d ended; want none left and 1 ended", n, d.Ended.Load())
	}
	if v := second.do("GET k"); v != "new" {
		t.Errorf("the value is %q, want the new one", v)
	}
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 10s for %s", what)
		}
	}
}

// TestRefused: a server that does not allow the command is used, and counted.
func TestRefused(t *testing.T) {
	srv := localredis.Standalone(t, localredis.Redis)
	if _, err := srv.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-client|kill"); err != nil {
		t.Fatal(err)
	}
	opt := rueidis.ClientOption{InitAddress: []string{srv.Addr()}, Username: "app", Password: "pw"}
	var told []string
	d := New(opt, func(addr string, err error) { told = append(told, addr+" "+err.Error()) })
	opt.DialCtxFn = d.Dial
	_ = connect(t, opt).Close()
	connect(t, opt).do("PING")
	if len(told) != 1 || !strings.Contains(told[0], srv.Addr()+" CLIENT KILL: NOPERM") || d.Unfenced.Load() != 1 {
		t.Errorf("told %q, Unfenced = %d", told, d.Unfenced.Load())
	}
}

// TestUnreachable: what could not be ended is not forgotten.
func TestUnreachable(t *testing.T) {
	srv := localredis.Standalone(t, localredis.Redis)
	opt := rueidis.ClientOption{InitAddress: []string{srv.Addr()}}
	d := New(opt, func(_ string, err error) { t.Errorf("refused: %v", err) })
	opt.DialCtxFn = d.Dial
	_ = connect(t, opt).Close()
	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if c, err := d.Dial(ctx, srv.Addr(), &net.Dialer{Timeout: time.Minute}, nil); err == nil {
		_ = c.Close()
		t.Error("Dial of a server that cannot be asked = nil")
	}
	if err := srv.Thaw(); err != nil {
		t.Fatal(err)
	}
	connect(t, opt).do("PING")
	if d.Ended.Load() != 1 {
		t.Errorf("Ended = %d, want 1", d.Ended.Load())
	}
}

// TestRestarted: ids of before a restart may be somebody else's.
func TestRestarted(t *testing.T) {
	srv := localredis.Standalone(t, localredis.Redis)
	opt := rueidis.ClientOption{InitAddress: []string{srv.Addr()}}
	d := New(opt, func(_ string, err error) { t.Errorf("refused: %v", err) })
	opt.DialCtxFn = d.Dial
	stranger := connect(t, opt)
	id, err := strconv.ParseInt(stranger.do("CLIENT ID")[1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	d.lose(srv.Addr(), lost{id, time.Now().Add(-time.Hour)}) // long before the server
	d.lose(srv.Addr(), lost{id + 1000, time.Now()})          // nobody's
	connect(t, opt)
	if pong := stranger.do("PING"); pong != "+PONG" {
		t.Errorf("the stranger's PING = %q", pong)
	}
}

func TestFindID(t *testing.T) {
	hello := "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:4711\r\n$4\r\nmode\r\n"
	for i := range len(hello) {
		id, ok := findID([]byte(hello[:i]))
		if whole := i >= strings.Index(hello, "4711\r\n")+6; ok != whole || ok && id != 4711 {
			t.Errorf("findID of %d bytes = %d, %v", i, id, ok)
		}
	}
	for _, bad := range []string{"$2\r\nid\r\n:\r\n", "$2\r\nid\r\n:-1\r\n", "$2\r\nid\r\n:99999999999999999999\r\n"} {
		if id, ok := findID([]byte(bad)); ok {
			t.Errorf("findID(%q) = %d", bad, id)
		}
	}
}

// TestRemembered: connections that cannot be ended do not pile up.
func TestRemembered(t *testing.T) {
	d := New(rueidis.ClientOption{}, nil)
	for i := range 3 * remembered {
		d.lose("a:1", lost{id: int64(i)})
	}
	if g := d.gone["a:1"]; len(g) != remembered || g[len(g)-1].id != 3*remembered-1 {
		t.Errorf("%d remembered, the last is %d", len(g), g[len(g)-1].id)
	}
}

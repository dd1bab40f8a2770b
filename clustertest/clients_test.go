package clustertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// rawConn is a connection on the default link that speaks inline commands.
type rawConn struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (b bench) dial(n *Node) *rawConn {
	b.Helper()
	conn, err := b.c.Link().DialContext(within(b.T), "tcp", n.Announced())
	must(b.T, "dial", err)
	b.Cleanup(func() { _ = conn.Close() })
	must(b.T, "deadline", conn.SetDeadline(time.Now().Add(30*time.Second)))
	return &rawConn{b.T, conn, bufio.NewReader(conn)}
}

// ask sends a command and wants a first line of reply.
func (c *rawConn) ask(command, want string) {
	c.t.Helper()
	_, err := fmt.Fprintf(c, "%s\r\n", command)
	must(c.t, command, err)
	line, err := c.in.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		c.t.Fatalf("%s: %q, %v, want %s", command, line, err, want)
	}
}

// wantEnd wants the connection to be closed by the other side.
func (c *rawConn) wantEnd() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.in)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the connection is still open")
	}
}

func testDropClients(b bench) {
	dropped, spared := b.c.Node(0), b.c.Node(1)
	subscriber, normal, other := b.dial(dropped), b.dial(dropped), b.dial(spared)
	subscriber.ask("SUBSCRIBE news", "*3")
	normal.ask("PING", "+PONG")
	other.ask("PING", "+PONG")

	must(b.T, "DropClients", b.c.DropClients(within(b.T), PubSub, dropped))
	subscriber.wantEnd()
	normal.ask("PING", "+PONG")
	must(b.T, "DropClients", b.c.DropClients(within(b.T), Normal, dropped))
	normal.wantEnd()
	other.ask("PING", "+PONG")
	must(b.T, "DropClients", b.c.DropClients(within(b.T), Normal))
	other.wantEnd()

	must(b.T, "DropClients", b.c.DropClients(within(b.T), ReplicaLinks))
	waitStable(b.T, b.c)
}

func testSlow(b bench) {
	slow, other := b.c.Node(0), b.c.Node(1)
	conn := b.dial(slow)
	conn.ask("PING", "+PONG")
	const delay = 300 * time.Millisecond
	must(b.T, "Slow", b.c.Slow(slow, delay, 0))
	start := time.Now()
	conn.ask("PING", "+PONG")
	if took := time.Since(start); took < delay {
		b.Errorf("PING took %s, want at least %s", took, delay)
	}

	// So slow that an answer can only come if it is not, or no more, slow.
	must(b.T, "Slow", b.c.Slow(slow, time.Hour, time.Minute))
	b.dial(other).ask("PING", "+PONG")
	wantReply(b.T, slow, "PONG", "PING") // Do is on no link
	must(b.T, "Slow 0", b.c.Slow(slow, 0, 0))
	b.dial(slow).ask("PING", "+PONG")
	if err := b.c.Slow(slow, time.Second, 2*time.Second); err == nil {
		b.Error("a jitter above the delay is accepted")
	}
}

func testPauseWrites(b bench) {
	primary, _ := b.first()
	set(b.T, b.client, keyInFirstSlot, "v")
	must(b.T, "PauseWrites", b.c.PauseWrites(within(b.T), time.Hour, primary))
	done := make(chan error, 1)
	go func() {
		_, err := primary.Do(b.Context(), "SET", keyInFirstSlot, "w")
		done <- err
	}()
	eventually(b.T, "the write to be held", func(context.Context) error {
		if info := do(b.T, primary, "INFO", "clients").(string); infoField(info, "blocked_clients") != "1" {
			return errors.New("no client is blocked")
		}
		return nil
	})
	wantReply(b.T, primary, "v", "GET", keyInFirstSlot)
	must(b.T, "Unpause", b.c.Unpause(within(b.T), primary))
	must(b.T, "the write that was held", <-done)
	wantReply(b.T, primary, "w", "GET", keyInFirstSlot)
	if err := b.c.PauseWrites(within(b.T), time.Microsecond); err == nil {
		b.Error("a pause of less than a millisecond is accepted")
	}
}

func testFlushAll(b bench) {
	for i := range 20 {
		set(b.T, b.client, fmt.Sprint("key", i), "v")
	}
	must(b.T, "FlushAll", b.c.FlushAll(within(b.T)))
	for i := range 3 {
		primary := primaryOf(b.T, b.c, firstSlot(i, 3))
		wantReply(b.T, primary, int64(0), "DBSIZE")
		synced(b.T, b.c, primary)
	}
}

func testEvict(b bench) {
	const keys = 500
	primary, _ := b.first()
	if err := b.c.Evict(within(b.T), primary); err == nil || !strings.Contains(err.Error(), "no keys") {
		b.Errorf("Evict of a node without keys: %v", err)
	}
	for i := range keys {
		do(b.T, primary, "SET", fmt.Sprintf("%d%s", i, keyInFirstSlot), strings.Repeat("x", 200))
	}
	before := do(b.T, primary, "CONFIG", "GET", "maxmemory*")
	must(b.T, "Evict", b.c.Evict(within(b.T), primary))
	if left := do(b.T, primary, "DBSIZE").(int64); left >= keys {
		b.Errorf("%d of %d keys are left", left, keys)
	}
	if after := do(b.T, primary, "CONFIG", "GET", "maxmemory*"); fmt.Sprint(after) != fmt.Sprint(before) {
		b.Errorf("settings were %v and are %v", before, after)
	}
	wantReply(b.T, primary, "OK", "SET", keyInFirstSlot, "v")
	synced(b.T, b.c, primary)
}

func testLinkFaults(b bench) {
	set(b.T, b.client, keyInFirstSlot, "v")
	primary, _ := b.first()
	mine := b.c.NewLink()
	client := clientOf(b.T, mine.ClientOption())
	wantValue(b.T, client, keyInFirstSlot, "v")
	mine.Cut()
	ctx, cancel := context.WithTimeout(b.Context(), 200*time.Millisecond)
	defer cancel()
	if err := client.Do(ctx, client.B().Get().Key(keyInFirstSlot).Build()).Error(); err == nil {
		b.Error("a client on a link that is cut gets an answer")
	}
	wantValue(b.T, b.client, keyInFirstSlot, "v")
	mine.Heal()
	wantValue(b.T, client, keyInFirstSlot, "v")

	if conn, err := mine.DialContext(within(b.T), "tcp", "127.0.0.1:1"); err == nil {
		_ = conn.Close()
		b.Error("an address that nobody announces can be dialled")
	}
	if mine == b.c.Link() || b.c.Link() != b.c.Link() {
		b.Error("the default link is another one each time")
	}
	wantReply(b.T, primary, "v", "GET", keyInFirstSlot)
}

// testExport goes to another process and back in spirit: through JSON.
func testExport(b bench) {
	text, err := json.Marshal(b.c.Export())
	must(b.T, "encode", err)
	var e Exported
	must(b.T, "decode", json.Unmarshal(text, &e))
	link, err := NewLinkFrom(e)
	must(b.T, "NewLinkFrom", err)
	client := clientOf(b.T, link.ClientOption())
	set(b.T, client, keyInFirstSlot, "v")
	wantValue(b.T, b.client, keyInFirstSlot, "v")
	if len(e.Nodes) != 6 || e.Nodes[0].Announced != b.c.Node(0).Announced() {
		b.Errorf("exported nodes: %+v", e.Nodes)
	}
}

// testMisuse wants errors for what cannot be, and nothing to change.
func testMisuse(b bench) {
	stranger := &Node{}
	primary, replica := b.first()
	ended, cancel := context.WithCancel(b.Context())
	cancel()
	ctx := within(b.T)
	for what, err := range map[string]error{
		"isolate nobody":           b.c.Isolate(ctx),
		"isolate a stranger":       b.c.Isolate(ctx, stranger),
		"isolate nil":              b.c.Isolate(ctx, nil),
		"cut a primary":            b.c.CutReplication(ctx, primary),
		"move to a replica":        b.c.MoveSlot(ctx, 0, replica),
		"move slot 16384":          b.c.MoveSlot(ctx, slotCount, primary),
		"move no slots":            b.c.MoveSlots(ctx, 5, 4, primary),
		"set to nil":               b.c.SetSlot(ctx, 0, nil),
		"fail over to a stranger":  b.c.Failover(ctx, stranger, Graceful),
		"drop a stranger's client": b.c.DropClients(ctx, Normal, stranger),
		"drop unknown clients":     b.c.DropClients(ctx, "friendly"),
		"slow a stranger":          b.c.Slow(stranger, time.Second, 0),
		"evict at a stranger":      b.c.Evict(ctx, stranger),
		"remove a stranger":        b.c.RemoveNode(ctx, stranger),
		"kill after the end":       primary.Kill(ended),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "clustertest: ") {
			b.Errorf("%s: %v", what, err)
		}
	}
	if n, err := b.c.PrimaryOf(ctx, -1); err == nil {
		b.Errorf("slot -1 is at %s", n)
	}
	if n, err := b.c.Master(ctx); !errors.Is(err, errors.ErrUnsupported) {
		b.Errorf("master of a cluster: %v, %v", n, err)
	}
	if n := b.c.Node(6); n != nil {
		b.Errorf("Node(6) = %s", n)
	}
	waitStable(b.T, b.c)
}

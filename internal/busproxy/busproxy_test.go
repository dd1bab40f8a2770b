package busproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/leak"
)

const patience = 20 * time.Second

// fakeNode is a bus port that echoes what it receives, and the proxy in front
// of it. Its id is forty times the letter it was made with.
type fakeNode struct {
	id    string
	proxy *Proxy
}

func id(letter string) string { return strings.Repeat(letter, idLen) }

// fakeNodes puts a node per letter behind a switch.
func fakeNodes(t *testing.T, letters ...string) (*Switch, map[string]*fakeNode) {
	t.Helper()
	s := New()
	t.Cleanup(s.Close)
	nodes := map[string]*fakeNode{}
	for _, letter := range letters {
		p, err := s.Add(echoServer(t))
		if err != nil {
			t.Fatal(err)
		}
		p.SetID(id(letter))
		nodes[letter] = &fakeNode{id: id(letter), proxy: p}
	}
	return s, nodes
}

// echoServer returns its port. It passes on half a close.
func echoServer(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // ends with the client
			})
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return ln.Addr().(*net.TCPAddr).Port
}

// message is a packet of the cluster bus as far as a proxy reads it.
func message(from string) []byte {
	b := make([]byte, 256)
	copy(b, signature)
	copy(b[idOffset:], from)
	return b
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp4", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p.Port()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// echo sends b and reports whether it came back; false means that the link was
// closed instead.
func echo(t *testing.T, conn net.Conn, b []byte) bool {
	t.Helper()
	_, err := conn.Write(b)
	got := make([]byte, len(b))
	if err == nil {
		_, err = io.ReadFull(conn, got)
	}
	if e := (net.Error)(nil); errors.As(err, &e) && e.Timeout() {
		t.Fatalf("neither an answer nor the end of the link: %v", err)
	}
	if err == nil && !bytes.Equal(got, b) {
		t.Fatalf("%d bytes came back changed", len(b))
	}
	return err == nil
}

// connects opens a link and reports whether its first message is answered.
func connects(t *testing.T, from string, to *fakeNode) (*net.TCPConn, bool) {
	t.Helper()
	conn := dial(t, to.proxy)
	return conn, echo(t, conn, message(from))
}

func wantConnects(t *testing.T, what, from string, to *fakeNode, want bool) {
	t.Helper()
	if _, got := connects(t, from, to); got != want {
		t.Errorf("%s: link from %.1s to %.1s works: %t, want %t", what, from, to.id, got, want)
	}
}

func TestCutAndHeal(t *testing.T) {
	t.Parallel()
	s, nodes := fakeNodes(t, "a", "b", "c", "d")
	for _, step := range []struct {
		name  string
		group []string
		sides map[string]int // side of each node
	}{
		{"no cut", nil, map[string]int{}},
		{"one node", []string{"a"}, map[string]int{"a": 1}},
		{"two nodes replace it", []string{"b", "c"}, map[string]int{"b": 1, "c": 1}},
		{"healed", nil, map[string]int{}},
		{"an id of nobody", []string{"x"}, map[string]int{}},
		{"three nodes", []string{"a", "b", "d"}, map[string]int{"a": 1, "b": 1, "d": 1}},
		{"all nodes", []string{"a", "b", "c", "d"}, map[string]int{}},
	} {
		var group []string
		for _, letter := range step.group {
			group = append(group, id(letter))
		}
		s.Cut(group...)
		for from, f := range nodes {
			for to, n := range nodes {
				if from != to {
					wantConnects(t, step.name, f.id, n, step.sides[from] == step.sides[to])
				}
			}
		}
	}
}

func TestCutClosesOpenLinks(t *testing.T) {
	t.Parallel()
	s, nodes := fakeNodes(t, "a", "b", "c")
	open := func(from, to string) *net.TCPConn {
		conn, ok := connects(t, id(from), nodes[to])
		if !ok {
			t.Fatalf("link from %s to %s was refused without a cut", from, to)
		}
		return conn
	}
	out, in, within, unknown := open("a", "b"), open("b", "a"), open("b", "c"), open("x", "c")
	s.Cut(id("a"))
	for name, conn := range map[string]*net.TCPConn{"from a": out, "to a": in, "of unknown origin": unknown} {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("link %s is open after the cut", name)
		}
	}
	if !echo(t, within, []byte("ping")) {
		t.Error("the cut closed a link within one side")
	}
	s.Heal()
	if !echo(t, within, []byte("ping")) {
		t.Error("healing closed a link")
	}
}

func TestUnknownIsRefusedWhileCut(t *testing.T) {
	t.Parallel()
	s, nodes := fakeNodes(t, "a", "b")
	newcomer, err := s.Add(echoServer(t))
	if err != nil {
		t.Fatal(err)
	}
	node := &fakeNode{id: id("n"), proxy: newcomer}
	wantConnects(t, "no cut", id("x"), nodes["b"], true)
	wantConnects(t, "no cut, target without id", id("b"), node, true)
	s.Cut(id("a"))
	wantConnects(t, "cut", id("x"), nodes["a"], false)
	wantConnects(t, "cut", id("x"), nodes["b"], false)
	wantConnects(t, "cut, target without id", id("b"), node, false)
	wantConnects(t, "cut, no id", "", nodes["b"], false)
	newcomer.SetID(node.id)
	wantConnects(t, "cut, id told", id("b"), node, true)
	wantConnects(t, "cut, id told", id("a"), node, false)
	conn, _ := connects(t, id("b"), node)
	newcomer.SetID(id("m")) // as CLUSTER RESET HARD does; b is still known
	if !echo(t, conn, []byte("ping")) {
		t.Error("a new id on the same side closed the link")
	}
	wantConnects(t, "cut, old id", node.id, nodes["b"], false)
	newcomer.SetID("")
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("link is open though its target has no id any more")
	}
}

// A link that has not yet said who it is might cross the cut.
func TestCutClosesLinksThatHaveSaidNothing(t *testing.T) {
	t.Parallel()
	s, nodes := fakeNodes(t, "a", "b", "c")
	silent, half := dial(t, nodes["b"].proxy), dial(t, nodes["b"].proxy)
	if _, err := half.Write(message(id("c"))[:idOffset+3]); err != nil {
		t.Fatal(err)
	}
	// They are accepted in order, so an answer here proves that both were.
	wantConnects(t, "no cut", id("a"), nodes["b"], true)
	s.Cut(id("a"))
	for name, conn := range map[string]net.Conn{"silent": silent, "half a header": half} {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: link is open after the cut", name)
		}
	}
}

func TestHeaderInPieces(t *testing.T) {
	t.Parallel()
	s, nodes := fakeNodes(t, "a", "b", "c")
	s.Cut(id("a"))
	for from, want := range map[string]bool{"a": false, "c": true} {
		conn := dial(t, nodes["b"].proxy)
		whole := message(id(from))
		for _, b := range whole[:headerRead-1] {
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := conn.Write(whole[headerRead-1:])
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, len(whole)))
		}
		if got := err == nil; got != want {
			t.Errorf("link from %s works: %t, want %t", from, got, want)
		}
	}
}

func TestForeignProtocol(t *testing.T) {
	t.Parallel()
	s, nodes := fakeNodes(t, "a", "b")
	conn := dial(t, nodes["a"].proxy)
	if !echo(t, conn, []byte("hello, and no more")) {
		t.Fatal("closed without a cut")
	}
	s.Cut(id("a"))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("open after a cut")
	}
	if conn := dial(t, nodes["b"].proxy); echo(t, conn, []byte("hello, and no more")) {
		t.Error("let through during a cut")
	}
}

func TestLargeMessagesAndHalfClose(t *testing.T) {
	t.Parallel()
	_, nodes := fakeNodes(t, "a", "b")
	conn, ok := connects(t, id("a"), nodes["b"])
	if !ok {
		t.Fatal("refused")
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // more than fits under way
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := conn.Write(want); err != nil {
			t.Error(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(conn) // ends, though this side stays open to read
	sending.Wait()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes and %v, want the %d that were sent", len(got), err, len(want))
	}
}

func TestDeadTarget(t *testing.T) {
	t.Parallel()
	s := New()
	defer s.Close()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	p, err := s.Add(addr.Port)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	node := &fakeNode{id: id("a"), proxy: p}
	wantConnects(t, "nobody listens", id("b"), node, false)
	again, err := net.ListenTCP("tcp4", addr)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	defer again.Close()
	var running sync.WaitGroup
	running.Go(func() {
		conn, err := again.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn) // ends with the client
			conn.Close()
		}
	})
	conn, ok := connects(t, id("b"), node)
	if !ok {
		t.Error("refused although the node is back")
	}
	conn.Close()
	running.Wait()
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	s := New()
	for _, port := range []int{-1, 0, 65536} {
		if _, err := s.Add(port); err == nil {
			t.Errorf("Add(%d) succeeded", port)
		}
	}
	s.Close()
	s.Close()
	if _, err := s.Add(7000); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v, want ErrClosed", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	s, nodes := fakeNodes(t, "a", "b")
	silent := dial(t, nodes["a"].proxy)
	open, ok := connects(t, id("a"), nodes["b"])
	if !ok {
		t.Fatal("refused")
	}
	nodes["a"].proxy.Close()
	nodes["a"].proxy.Close()
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("Proxy.Close left a link open")
	}
	if !echo(t, open, []byte("ping")) {
		t.Error("Proxy.Close closed a link of another proxy")
	}
	s.Cut(id("a"))
	wantConnects(t, "a's proxy is closed, so a is unknown", id("a"), nodes["b"], false)
	s.Close()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("Switch.Close left a link open")
	}
	if p := nodes["b"].proxy; p.ctx.Err() == nil || len(p.links) != 0 {
		t.Errorf("after Close: context %v, %d links", p.ctx.Err(), len(p.links))
	}
	if _, err := net.Dial("tcp4", address(nodes["b"].proxy)); err == nil {
		t.Error("somebody listens after Close")
	}
}

func address(p *Proxy) string { return p.listener.Addr().String() }

// Links come and go while cuts do; afterwards nothing runs and no link is left.
func TestStress(t *testing.T) {
	s, nodes := fakeNodes(t, "a", "b", "c")
	for range 10 {
		stop := make(chan struct{})
		var running sync.WaitGroup
		for from := range nodes {
			for _, to := range nodes {
				running.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						conn, ok := connects(t, id(from), to)
						for range 5 {
							ok = ok && echo(t, conn, []byte("ping"))
						}
						conn.Close()
					}
				})
			}
		}
		for _, group := range [][]string{{id("a")}, {id("b"), id("c")}, {}, {id("c")}, nil} {
			s.Cut(group...)
			wantConnects(t, "under load", id("a"), nodes["c"], len(group) == 0)
		}
		close(stop)
		running.Wait()
	}
	s.Close()
	if left := leak.Goroutines("busproxy.(*Proxy)", 0); len(left) > 0 {
		t.Errorf("left behind by Close:\n%s", strings.Join(left, "\n\n"))
	}
}

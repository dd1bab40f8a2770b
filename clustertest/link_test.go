package clustertest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// linkPatience is how long these tests wait for what should come at once.
const linkPatience = time.Minute

// The announced addresses of the fake servers. Nothing is there.
const (
	addrA = "192.0.2.1:6379"
	addrB = "192.0.2.2:6379"
)

// fakeServer accepts connections for a test to use.
type fakeServer struct {
	addr     string
	accepted chan *net.TCPConn
}

func newFakeServer(t *testing.T) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{addr: ln.Addr().String(), accepted: make(chan *net.TCPConn)}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			select {
			case s.accepted <- conn.(*net.TCPConn):
			case <-stop:
			}
		}
	})
	t.Cleanup(func() { close(stop); ln.Close(); running.Wait() })
	return s
}

// next returns the next connection of a client.
func (s *fakeServer) next(t *testing.T) *net.TCPConn {
	t.Helper()
	select {
	case conn := <-s.accepted:
		patient(t, conn)
		return conn
	case <-time.After(linkPatience):
		t.Fatal("no client has connected")
		return nil
	}
}

func patient(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(linkPatience)); err != nil {
		t.Fatal(err)
	}
}

// linkBundle is a link to two fake servers.
type linkBundle struct {
	*Link
	a, b *fakeServer
}

func setupLink(t *testing.T) *linkBundle {
	t.Helper()
	bundle := &linkBundle{a: newFakeServer(t), b: newFakeServer(t)}
	l, err := NewLinkFrom(Exported{Nodes: []ExportedNode{
		{Name: "a", Announced: addrA, Reachable: bundle.a.addr},
		{Name: "b", Announced: addrB, Reachable: bundle.b.addr},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	bundle.Link = l
	return bundle
}

// open connects to server a and returns both ends.
func (b *linkBundle) open(t *testing.T) (client net.Conn, server *net.TCPConn) {
	t.Helper()
	return b.openTo(t, addrA, b.a)
}

func (b *linkBundle) openTo(t *testing.T, addr string, s *fakeServer) (client net.Conn, server *net.TCPConn) {
	t.Helper()
	client, err := b.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	patient(t, client)
	return client, s.next(t)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if n, err := conn.Write([]byte(text)); err != nil || n != len(text) {
		t.Fatalf("Write(%q) = %d, %v", text, n, err)
	}
}

func receive(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("received %q and %v, want %q", got[:n], err, want)
	}
}

// works sends something each way.
func works(t *testing.T, client, server net.Conn) {
	t.Helper()
	send(t, client, "ping")
	receive(t, server, "ping")
	send(t, server, "pong")
	receive(t, client, "pong")
}

// wantSilence reads until a deadline that the connection has to honour.
func wantSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	defer patient(t, conn)
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(make([]byte, 100))
	wantTimeout(t, err)
	if n != 0 {
		t.Errorf("%d bytes got through", n)
	}
}

func wantTimeout(t *testing.T, err error) {
	t.Helper()
	e, ok := err.(net.Error) // as clients do it, so it must not be wrapped
	if !ok || !e.Timeout() {
		t.Fatalf("error %v, want a timeout", err)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// inBackground runs f and returns a function that waits for its error.
func inBackground(t *testing.T, f func() error) (wait func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() error {
		t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(linkPatience):
			t.Fatal("a call does not end")
			return nil
		}
	}
}

// eventuallyTrue waits for something that nothing announces.
func eventuallyTrue(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(linkPatience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s", what)
		}
	}
}

// direct reports whether calls on the connection go to the operating system.
func direct(client net.Conn) bool {
	c := client.(*conn)
	return !c.in.slow.Load() && !c.out.slow.Load()
}

func TestLinkMapsAddresses(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	works(t, client, server)
	client, server = l.openTo(t, addrB, l.b)
	works(t, client, server)
	if got, want := client.RemoteAddr().String(), l.b.addr; got != want {
		t.Errorf("RemoteAddr = %s, want %s", got, want)
	}
	_, err := l.DialContext(t.Context(), "tcp", l.a.addr)
	if err == nil || !strings.Contains(err.Error(), addrA) || !strings.Contains(err.Error(), l.a.addr) {
		t.Errorf("dial of a reachable address: %v, want an error that names it and the announced ones", err)
	}
	_, err = l.DialContext(t.Context(), "nonsense", addrA)
	if e := (*net.OpError)(nil); !errors.As(err, &e) || e.Op != "dial" {
		t.Errorf("dial of network nonsense: %v, want a net.OpError", err)
	}
}

func TestLinkCut(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	other, otherServer := l.openTo(t, addrB, l.b)
	reading := inBackground(t, func() error { _, err := client.Read(make([]byte, 1)); return err })
	l.Cut(addrA)
	wantError(t, "Read under way", reading(), syscall.ECONNRESET)
	_, err := client.Read(make([]byte, 1))
	wantError(t, "Read", err, syscall.ECONNRESET)
	_, err = client.Write([]byte("x"))
	wantError(t, "Write", err, syscall.ECONNRESET)
	_, err = server.Read(make([]byte, 1))
	wantError(t, "server's Read", err, syscall.ECONNRESET)
	_, err = l.DialContext(t.Context(), "tcp", addrA)
	wantError(t, "dial", err, syscall.ECONNREFUSED)
	works(t, other, otherServer)
	if err := client.Close(); err != nil {
		t.Errorf("Close after a cut: %v", err)
	}
	wantError(t, "second Close", client.Close(), net.ErrClosed)

	l.Heal(addrA)
	client, server = l.open(t)
	works(t, client, server)
}

func TestLinkFaultsOfAll(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	l.Blackhole(addrB) // has an entry of its own
	l.Cut()
	l.Heal(addrA)
	_, err := l.DialContext(t.Context(), "tcp", addrB)
	wantError(t, "dial of b", err, syscall.ECONNREFUSED)
	client, server := l.open(t)
	works(t, client, server)
	// A server that appears later is cut off, too.
	e := l.book.Export()
	e.Nodes = append(e.Nodes, ExportedNode{Name: "c", Announced: "192.0.2.3:6379", Reachable: l.a.addr})
	if err := l.Update(e); err != nil {
		t.Fatal(err)
	}
	_, err = l.DialContext(t.Context(), "tcp", "192.0.2.3:6379")
	wantError(t, "dial of c", err, syscall.ECONNREFUSED)
	l.Heal()
	client, server = l.openTo(t, addrB, l.b)
	works(t, client, server)
}

// The end of a connection is a packet, too.
// What was written before Close is on its way, as with TCP.
// connCount returns the number of connections the link knows.
func (b *linkBundle) connCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

// A deadline holds whoever reads from the operating system when it passes.
func TestLinkDeadlines(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	soon := func() time.Time { return time.Now().Add(200 * time.Millisecond) }
	for name, prepare := range map[string]func(){
		"no fault":                func() {},
		"fault after deadline":    func() { l.Blackhole() },
		"fault and healed":        func() { l.Blackhole(); l.Heal() },
		"fault, healed and again": func() { l.Blackhole(); l.Heal(); l.Blackhole(); l.Delay(time.Second, 0) },
	} {
		if err := client.SetReadDeadline(soon()); err != nil {
			t.Fatal(err)
		}
		reading := inBackground(t, func() error { _, err := client.Read(make([]byte, 1)); return err })
		prepare()
		err := reading()
		if wantTimeout(t, err); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: Read: %v, want os.ErrDeadlineExceeded", name, err)
		}
		l.Heal()
		patient(t, client)
		works(t, client, server)
	}
	l.Blackhole()
	if err := client.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err := client.Write([]byte("x"))
	wantTimeout(t, err)
	l.Heal()
	eventuallyTrue(t, "direct again", func() bool { return direct(client) })
	_, err = client.Write([]byte("x")) // the deadline is that of the operating system again
	wantTimeout(t, err)
	_, err = client.Read(make([]byte, 1))
	wantTimeout(t, err)
	patient(t, client)
	works(t, client, server)
}

func TestLinkErrorOfServer(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	l.Delay(time.Millisecond, 0)
	if err := server.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read: %v, want ECONNRESET", err)
	}
	writing := inBackground(t, func() error {
		for {
			if _, err := client.Write([]byte("x")); err != nil {
				return err
			}
		}
	})
	if err := writing(); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Write: %v, want EPIPE or ECONNRESET", err)
	}
}

func TestLinkClose(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, _ := l.open(t)
	held, _ := l.open(t)
	l.Blackhole()
	send(t, held, "x")
	held.Close() // lingers
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	_, err := client.Read(make([]byte, 1))
	wantError(t, "Read", err, syscall.ECONNRESET)
	_, err = l.DialContext(t.Context(), "tcp", addrA)
	wantError(t, "dial", err, net.ErrClosed)
	l.Heal()
	_, err = l.DialContext(t.Context(), "tcp", addrA)
	wantError(t, "dial after Heal", err, net.ErrClosed)
	if n := l.connCount(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// faultyBook lets a fault come while a dial is under way.
type faultyBook struct {
	addressBook
	fault func()
}

func (b faultyBook) resolve(announced string) (string, bool) {
	b.fault()
	return b.addressBook.resolve(announced)
}

func TestLinkFaultDuringDial(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault func(*Link)
		want  error
	}{
		"cut":        {func(l *Link) { l.Cut() }, syscall.ECONNREFUSED},
		"blackholed": {func(l *Link) { l.Blackhole() }, context.DeadlineExceeded},
		"closed":     {func(l *Link) { l.Close() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := setupLink(t)
			l.book = faultyBook{l.book, func() { test.fault(l.Link) }}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := l.DialContext(ctx, "tcp", addrA)
			wantError(t, "dial", err, test.want)
			if n := l.connCount(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// Bytes are late from when they arrive, not from when somebody reads them.
// A Write that is stuck in the operating system when a fault comes ends with
// Close all the same.

package clustertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLinkBlackhole(t *testing.T) {
	t.Parallel()
	for name, waiting := range map[string]bool{"a Read is waiting": true, "no Read is waiting": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := setupLink(t)
			client, server := l.open(t)
			other, otherServer := l.openTo(t, addrB, l.b)
			got := make([]byte, 7)
			read := func() error { _, err := io.ReadFull(client, got); return err }
			var reading func() error
			if waiting {
				reading = inBackground(t, read)
			}
			l.Blackhole(addrA)
			send(t, client, "one ")
			send(t, server, "uno")
			wantSilence(t, server)
			works(t, other, otherServer)
			if !waiting {
				wantSilence(t, client)
				reading = inBackground(t, read)
			}
			send(t, client, "two ")
			send(t, server, " due")
			l.Heal(addrA)
			send(t, client, "three")
			receive(t, server, "one two three")
			if err := reading(); err != nil || string(got) != "uno due" {
				t.Errorf("client read %q and %v, want \"uno due\"", got, err)
			}
			eventuallyTrue(t, "direct again", func() bool { return direct(client) })
			works(t, client, server)
		})
	}
}

func TestLinkBlackholeHoldsTheEnd(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	l.Blackhole()
	send(t, server, "bye")
	server.Close()
	wantSilence(t, client)
	l.Heal()
	got, err := io.ReadAll(client)
	if err != nil || string(got) != "bye" {
		t.Errorf("read %q and %v, want \"bye\" and the end", got, err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("Read after the end = %d, %v, want EOF", n, err)
	}
}

func TestLinkBlackholeDial(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	l.Blackhole(addrA)
	dial := func(ctx context.Context) func() error {
		return inBackground(t, func() error {
			conn, err := l.DialContext(ctx, "tcp", addrA)
			if err == nil {
				conn.Close()
			}
			return err
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := dial(ctx)()
	wantTimeout(t, err)
	wantError(t, "dial", err, context.DeadlineExceeded)
	healed := dial(t.Context())
	l.Heal(addrA)
	if err := healed(); err != nil {
		t.Errorf("dial after Heal: %v", err)
	}
	l.a.next(t)
	l.Blackhole(addrA)
	cut := dial(t.Context())
	l.Cut()
	wantError(t, "dial after Cut", cut(), syscall.ECONNREFUSED)
	l.Heal()
	l.Blackhole()
	closed := dial(t.Context())
	l.Close()
	wantError(t, "dial after Close", closed(), net.ErrClosed)
}

func TestLinkBlackholeBlocksWrites(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	l.Blackhole()
	large := bytes.Repeat([]byte("x"), queueLimit)
	send(t, client, string(large))
	if err := client.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := client.Write([]byte("y"))
	wantTimeout(t, err)
	patient(t, client)
	writing := inBackground(t, func() error { _, err := client.Write([]byte("z")); return err })
	l.Heal()
	receive(t, server, string(large)+"z")
	if err := writing(); err != nil {
		t.Errorf("Write that waited for room: %v", err)
	}
}

func TestLinkBlackholeClose(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, _ := l.open(t)
	l.Blackhole()
	send(t, client, strings.Repeat("x", queueLimit))
	reading := inBackground(t, func() error { _, err := client.Read(make([]byte, 1)); return err })
	writing := inBackground(t, func() error { _, err := client.Write([]byte("y")); return err })
	if err := client.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantError(t, "Read", reading(), net.ErrClosed)
	wantError(t, "Write", writing(), net.ErrClosed)
	wantError(t, "SetDeadline", client.SetDeadline(time.Time{}), net.ErrClosed)
	wantError(t, "second Close", client.Close(), net.ErrClosed)
}

func TestLinkLateBytes(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	for _, test := range []struct {
		name string
		end  func()
		want string
		err  error
	}{
		{"healed", func() { l.Heal() }, "late", nil},
		{"cut", func() { l.Cut() }, "", syscall.ECONNRESET},
	} {
		client, server := l.open(t)
		reading := inBackground(t, func() error { _, err := client.Read(make([]byte, 1)); return err })
		l.Blackhole()
		send(t, client, "late")
		if err := client.Close(); err != nil {
			t.Errorf("%s: Close: %v", test.name, err)
		}
		wantError(t, test.name+": Read under way", reading(), net.ErrClosed)
		test.end()
		got, err := io.ReadAll(server)
		if string(got) != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: server read %q and %v, want %q and %v", test.name, got, err, test.want, test.err)
		}
		eventuallyTrue(t, "forgotten", func() bool { return l.connCount() == 0 })
		l.Heal()
	}
}

func TestLinkReceivesWithoutRead(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	l.Delay(time.Hour, 0)
	send(t, server, "uno")
	in := &client.(*conn).in
	eventuallyTrue(t, "queued", func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.size == 3
	})
}

func TestLinkCloseEndsStuckWrite(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	writing := inBackground(t, func() error { _, err := client.Write(make([]byte, 64<<20)); return err })
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	l.Blackhole()
	if err := client.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantError(t, "Write", writing(), net.ErrClosed)
}

func TestLinkBlackholeBlocksServer(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	l.Blackhole()
	n := 0
	writing := inBackground(t, func() (err error) { n, err = server.Write(make([]byte, 64<<20)); return err })
	in := &client.(*conn).in
	size := func() int {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.size
	}
	eventuallyTrue(t, "a full queue", func() bool { return size() >= queueLimit })
	if err := server.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	wantTimeout(t, writing())
	held := size()
	if held < queueLimit || held > queueLimit+(32<<10) {
		t.Errorf("%d bytes are held, want about %d", held, queueLimit)
	}
	l.Heal()
	server.Close()
	got, err := io.Copy(io.Discard, client)
	if err != nil || got != int64(n) {
		t.Errorf("client received %d bytes and %v, want %d", got, err, n)
	}
}

package lock

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// garbage is a server that greets as Redis does, and answers everything else
// with what no script returns.
func garbage(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(t.Context(), func() { _ = c.Close() })
			wg.Go(func() { // ends with the connection
				defer stop()
				babble(c)
			})
		}
	})
	return ln.Addr().String()
}

// babble answers one connection.
func babble(c net.Conn) {
	r := bufio.NewReader(c)
	line := func() string { s, _ := r.ReadString('\n'); return strings.TrimSpace(s) }
	for {
		head := line()
		n, err := strconv.Atoi(strings.TrimPrefix(head, "*"))
		if err != nil {
			return
		}
		first := ""
		for i := range n {
			line()
			if word := line(); i == 0 {
				first = word
			}
		}
		reply := "*2\r\n$3\r\nabc\r\n:-7\r\n"
		switch first {
		case "HELLO":
			reply = "%2\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n"
		case "CLUSTER":
			reply = "-ERR This instance has cluster support disabled\r\n"
		}
		if _, err := c.Write([]byte(reply)); err != nil {
			return
		}
	}
}

// A node that answers garbage is a node that fails: with Redlock the others
// decide, and Open says what it met.
func TestGarbage(t *testing.T) {
	t.Parallel()
	servers, opts := trio(t)
	opts[1] = option(garbage(t))
	l := openRedlock(t, opts, quick())
	k := acquire(t, l, "n")
	if exists(t, servers[1], redlockKey) {
		t.Fatal("the wrong server was asked")
	}
	release(t, k)
	until(t, "the keys to be gone", func() bool { return !exists(t, servers[0], redlockKey) && !exists(t, servers[2], redlockKey) })

	l, err := Open(t.Context(), opts[1], quick())
	mustErr(t, "Open", err, nil)
	t.Cleanup(func() { _ = l.Close() })
	_, err = l.TryAcquire(t.Context(), "n")
	var node *NodeError
	if !errors.As(err, &node) || !errors.Is(err, errReply) {
		t.Errorf("TryAcquire = %v, want a NodeError that says so", err)
	}
}

// The wrong type under the key of a lock is an error of the node, and stays.
func TestForeignKey(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, quick())
		do(t, s, "RPUSH", leaseKey, "x")
		_, err := l.TryAcquire(t.Context(), "n")
		var node *NodeError
		if !errors.As(err, &node) || node.Op != opAcquire || !SafeToRetry(err) {
			t.Errorf("TryAcquire = %v, want a NodeError", err)
		}
		if do(t, s, "TYPE", leaseKey) != "list" {
			t.Error("the list is gone")
		}
	})
}

// Extend by hand: before, after the loss, and after the release; and by two at a
// time, with a release among them.
func TestExtend(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, s *localredis.Server) {
		l := open(t, s, Config{TTL: time.Hour, OpTimeout: 5 * time.Second})
		k := acquire(t, l, "n")
		before := k.Until()
		mustErr(t, "Extend", k.Extend(t.Context()), nil)
		if !k.Until().After(before) {
			t.Error("Extend did not move Until")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		mustErr(t, "Extend with a context that ended", k.Extend(ctx), context.Canceled)
		do(t, s, "DEL", leaseKey)
		mustErr(t, "Extend after the loss", k.Extend(t.Context()), ErrLost)
		mustErr(t, "second Extend after the loss", k.Extend(t.Context()), ErrLost)
		if !Lost(k.Context()) {
			t.Error("the context does not say so")
		}
		mustErr(t, "Release after the loss", k.Release(t.Context()), ErrLost)

		k = acquire(t, l, "n")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				err := k.Extend(t.Context())
				if i == 4 {
					err = k.Release(t.Context())
				}
				if err != nil && !errors.Is(err, ErrReleased) {
					t.Errorf("goroutine %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		mustErr(t, "Extend after Release", k.Extend(t.Context()), ErrReleased)
		if exists(t, s, leaseKey) {
			t.Error("an extension came after the release")
		}
	})
}

// A lock that is passed on is held by the message alone; a message that comes too
// late, or whose time cannot be told, is not believed.
func TestHanded(t *testing.T) {
	t.Parallel()
	s := localredis.Standalone(t, localredis.Redis)
	cfg := Config{TTL: time.Hour, OpTimeout: 5 * time.Second, Grace: time.Minute}
	a, b := open(t, s, cfg), open(t, s, cfg)
	k := acquire(t, a, "n")
	next := async(func() *Lock { k, _ := b.Acquire(limited(t), "n"); return k })
	queued(t, s, "n", 1)
	release(t, k)
	k = event(t, "the lock", next)
	if k == nil || b.Stats().Handed != 1 {
		t.Fatalf("lock %v, stats %+v", k, b.Stats())
	}
	until(t, "the confirmation", func() bool { return do(t, s, "PTTL", leaseKey).(int64) > time.Minute.Milliseconds() })
	until(t, "the holder to know it", func() bool { return time.Until(k.Until()) > time.Minute })
	release(t, k)

	now := mark{sent: time.Now(), server: 1_000_000_000}
	for _, c := range []struct {
		name string
		last mark
		at   int64
		want bool
	}{
		{"in time", now, now.server + 1000, true},
		{"nothing is known of the clock", mark{}, now.server + 1000, false},
		{"the clock was set back", now, now.server - 1, false},
		{"longer ago than the grace", mark{now.sent.Add(-2 * time.Minute), now.server}, now.server + 1000, false},
	} {
		k, err := b.accept(t.Context(), c.name, "id", gift{7, c.at}, c.last)
		if (k != nil) != c.want {
			t.Errorf("%s: accept = %v, %v", c.name, k, err)
		}
		if k != nil {
			_ = k.Release(t.Context()) // the server knows nothing of it
		}
	}
}

package clustertest

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// echoConn sends back what arrives.
func echoConn(t *testing.T, server net.Conn) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, server) // ends with the connection
	}()
	t.Cleanup(func() { server.Close(); <-done })
}

// roundTripTime returns how long one takes.
func roundTripTime(t *testing.T, client net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	send(t, client, "ping")
	receive(t, client, "ping")
	return time.Since(began)
}

func TestLinkDelay(t *testing.T) {
	t.Parallel()
	const d = 200 * time.Millisecond
	l := setupLink(t)
	client, server := l.open(t)
	echoConn(t, server)
	other, otherServer := l.openTo(t, addrB, l.b)
	echoConn(t, otherServer)
	l.Delay(d, 0, addrA)
	for range 3 {
		if took := roundTripTime(t, client); took < d {
			t.Errorf("round trip took %s, want at least %s", took, d)
		}
	}
	if c := other.(*conn); !direct(c) {
		t.Error("the other server's connection is delayed")
	}
	began := time.Now()
	late, lateServer := l.open(t)
	if took := time.Since(began); took < d {
		t.Errorf("dial took %s, want at least %s", took, d)
	}
	echoConn(t, lateServer)
	if took := roundTripTime(t, late); took < d {
		t.Errorf("round trip on a new connection took %s, want at least %s", took, d)
	}
	l.Delay(0, 0, addrA)
	eventuallyTrue(t, "direct again", func() bool { return direct(client) && direct(late) })
	roundTripTime(t, client)
}

// An hour's delay is over when it is healed, for what is under way, too.
func TestLinkHealReleases(t *testing.T) {
	t.Parallel()
	for name, heal := range map[string]func(*Link){
		"Heal":       func(l *Link) { l.Heal() },
		"Delay of 0": func(l *Link) { l.Delay(0, 0) },
		"negative":   func(l *Link) { l.Delay(-time.Hour, -time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := setupLink(t)
			client, server := l.open(t)
			l.Delay(time.Hour, 0)
			dialling := inBackground(t, func() error {
				_, err := l.DialContext(t.Context(), "tcp", addrA)
				return err
			})
			send(t, client, "one ")
			send(t, server, "uno ")
			wantSilence(t, client)
			wantSilence(t, server)
			heal(l.Link)
			send(t, client, "two")
			send(t, server, "due")
			receive(t, server, "one two")
			receive(t, client, "uno due")
			if err := dialling(); err != nil {
				t.Errorf("dial: %v", err)
			}
		})
	}
}

// Delayed by 100 ms per call, the transfer would take a quarter of an hour.
func TestLinkDelayKeepsThroughput(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	echoConn(t, server)
	l.Delay(200*time.Millisecond, 0)
	began := time.Now()
	transfer(t, client, 10_000, 1000)
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("10 MB there and back took %s", took)
	}
}

// transfer sends n messages of a size to an echo, and checks what comes back
// and its order.
func transfer(t *testing.T, client net.Conn, n, size int) {
	t.Helper()
	var sending sync.WaitGroup
	sending.Go(func() {
		message := make([]byte, size)
		for i := range n {
			binary.BigEndian.PutUint64(message, uint64(i))
			message[size-1] = byte(i)
			if _, err := client.Write(message); err != nil {
				t.Errorf("message %d: %v", i, err)
				return
			}
		}
	})
	defer sending.Wait()
	message := make([]byte, size)
	for i := range n {
		if _, err := io.ReadFull(client, message); err != nil {
			t.Errorf("message %d: %v", i, err)
			return
		}
		if got := binary.BigEndian.Uint64(message); got != uint64(i) || message[size-1] != byte(i) {
			t.Errorf("message %d came as number %d", got, i)
			return
		}
	}
}

// Faults come and go at random under full duplex traffic; every byte arrives,
// in order, and afterwards nothing is left of them.
func TestLinkKeepsOrder(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 5 {
		client, server := l.open(t)
		echoConn(t, server)
		done := make(chan struct{})
		go func() {
			defer close(done)
			transfer(t, client, 10_000, 16+round*1000)
		}()
		changes := 0
		for running := true; running; changes++ {
			after := func(limit time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(limit))) }
			switch rng.IntN(4) {
			case 0:
				l.Blackhole()
			case 1, 2:
				l.Delay(after(5*time.Millisecond), after(10*time.Millisecond))
			default:
				l.Heal()
			}
			select {
			case <-done:
				running = false
			case <-time.After(after(time.Millisecond)):
			}
		}
		l.Heal()
		eventuallyTrue(t, "direct again", func() bool { return direct(client) })
		roundTripTime(t, client)
		t.Logf("%d changes", changes)
		client.Close()
	}
	if n := l.connCount(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestFaultRoundTrip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	f := fault{delay: 10 * time.Millisecond, jitter: 5 * time.Millisecond}
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := f.roundTrip(rng)
		low, high = min(low, d), max(high, d)
	}
	if low < 5*time.Millisecond || low > 6*time.Millisecond || high > 15*time.Millisecond || high < 14*time.Millisecond {
		t.Errorf("10ms with a jitter of 5ms is %s to %s", low, high)
	}
	if d := (fault{jitter: time.Nanosecond}).roundTrip(rng); d < 0 {
		t.Errorf("a delay is %s", d)
	}
	for range 100 {
		if d := (fault{delay: time.Millisecond, jitter: time.Hour}).roundTrip(rng); d < 0 {
			t.Fatalf("a delay is %s", d)
		}
	}
}

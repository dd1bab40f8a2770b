package fakeredis

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnWriteNeverBlocks(t *testing.T) {
	t.Parallel()
	c := newConn("test")
	big := bytes.Repeat([]byte("x"), 1<<20)
	for range 20 { // nobody reads meanwhile
		if n, err := c.Write(big); n != len(big) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	c.Close()
	got, err := io.ReadAll(reader{c.out})
	if err != nil || len(got) != 20*len(big) {
		t.Fatalf("read %d bytes, %v behind Close, want %d", len(got), err, 20*len(big))
	}
}

func TestConnDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConn("test")
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Second))
		_, err := c.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Read = %v after %v, want a deadline error after 1s", err, time.Since(start))
		}
		if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
			t.Errorf("Read error %v is no net.Error with Timeout", err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("Write behind a read deadline: %v", err)
		}
		c.SetDeadline(time.Now())
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %v, want a deadline error", err)
		}
		c.SetDeadline(time.Time{})
		done := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		c.SetReadDeadline(time.Now()) // reaches a Read that waits already
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("waiting Read = %v, want a deadline error", err)
		}
	})
}

func TestConnClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConn("test")
		done := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("waiting Read = %v, want net.ErrClosed", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write = %v, want net.ErrClosed", err)
		}
		if err := c.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline = %v, want net.ErrClosed", err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close = %v, want net.ErrClosed", err)
		}
	})
}

func TestStreamDelayKeepsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		start := time.Now()
		s.write([]byte("a"), 50*time.Millisecond)
		s.write([]byte("b"), 0) // must not overtake
		s.write([]byte("c"), 70*time.Millisecond)
		for _, want := range []struct {
			text string
			at   time.Duration
		}{{"ab", 50 * time.Millisecond}, {"c", 70 * time.Millisecond}} {
			got := make([]byte, len(want.text))
			if _, err := io.ReadFull(reader{s}, got); err != nil || string(got) != want.text {
				t.Fatalf("read %q, %v, want %q", got, err, want.text)
			}
			if at := time.Since(start); at != want.at {
				t.Errorf("%q arrived after %v, want %v", want.text, at, want.at)
			}
		}
	})
}

func TestStreamCutLosesWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	s := newStream()
	s.write([]byte("there"), 0)
	s.write([]byte("late"), time.Hour)
	s.cut()
	got, err := io.ReadAll(reader{s})
	if string(got) != "there" || err != nil {
		t.Errorf("read %q, %v, want %q and EOF", got, err, "there")
	}
	if err := s.write([]byte("x"), 0); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write = %v, want EPIPE", err)
	}
}

func TestStreamHold(t *testing.T) {
	t.Parallel()
	s := newStream()
	s.write([]byte("before"), 0)
	s.hold(true)
	s.write([]byte("held"), 0)
	buf := make([]byte, 100)
	if n, err := s.read(buf); string(buf[:n]) != "before" || err != nil {
		t.Errorf("read %q, %v, want what came before hold", buf[:n], err)
	}
	s.setDeadline(time.Now())
	if _, err := s.read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read = %v, want held data to stay away", err)
	}
	s.setDeadline(time.Time{})
	s.hold(false)
	if n, err := s.read(buf); string(buf[:n]) != "held" || err != nil {
		t.Errorf("read %q, %v, want held data", buf[:n], err)
	}
}

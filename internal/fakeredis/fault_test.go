package fakeredis

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestDropConnections(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b := dialRaw(t, s), dialRaw(t, s)
	a.do("CLIENT", "TRACKING", "ON")
	a.do("GET", "k")
	if n := s.DropConnections(); n != 2 {
		t.Errorf("DropConnections = %d, want 2", n)
	}
	for _, rc := range []*rawClient{a, b} {
		if _, err := rc.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("read from a dropped connection = %v, want EOF", err)
		}
		if _, err := rc.c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a dropped connection = %v, want EPIPE", err)
		}
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("Connections = %d, want 0", n)
	}
	do(t, s, "SET", "k", "v") // pushes to nobody
	if got := dialRaw(t, s).do("GET", "k"); got != `"v"` {
		t.Errorf("GET on a new connection = %s", got)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := dialRaw(t, s)
	s.Refuse(true)
	if _, err := a.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("read = %v, want EOF", err)
	}
	_, err := s.Dial(t.Context())
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Dial = %v, want connection refused", err)
	}
	s.Refuse(false)
	if got := dialRaw(t, s).do("PING"); got != "+PONG" {
		t.Errorf("PING = %s", got)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		a, b := dialRaw(t, s), dialRaw(t, s)
		a.do("CLIENT", "TRACKING", "ON")
		a.do("GET", "k")
		s.Delay(70 * time.Millisecond)
		start := time.Now()
		b.send([]string{"SET", "k", "v"}, []string{"GET", "k"}) // a pipeline pays once
		if got := b.read() + " " + b.read(); got != `+OK "v"` || time.Since(start) != 70*time.Millisecond {
			t.Errorf("replies %s after %v, want 70ms", got, time.Since(start))
		}
		if got := a.read(); got != `>["invalidate" *["k"]]` || time.Since(start) != 70*time.Millisecond {
			t.Errorf("push %s after %v, want 70ms", got, time.Since(start))
		}
		s.Delay(0)
		start = time.Now()
		b.do("PING")
		if d := time.Since(start); d != 0 {
			t.Errorf("PING took %v after Delay(0)", d)
		}
	})
}

func TestFreezeAndThaw(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		a := dialRaw(t, s)
		a.do("CLIENT", "TRACKING", "ON")
		do(t, s, "SET", "volatile", "v", "PX", "1000")
		a.do("GET", "k")
		a.do("GET", "volatile")
		s.Freeze()
		s.Freeze()
		a.send([]string{"SET", "own", "v"}, []string{"GET", "k"})
		do(t, s, "SET", "k", "new")
		late := dialRawFrozen(t, s)
		late.send([]string{"PING"})
		a.c.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := a.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a frozen server answered (%v)", err)
		}
		if got := do(t, s, "EXISTS", "own"); got != int64(0) {
			t.Error("a frozen server executed a client's command")
		}
		if n := s.Connections(); n != 2 {
			t.Errorf("Connections = %d while frozen, want 2", n)
		}
		s.Thaw()
		s.Thaw()
		for _, want := range []string{`>["invalidate" *["k"]]`, `>["invalidate" *["volatile"]]`, "+OK", `"new"`} {
			if got := a.read(); got != want {
				t.Errorf("after Thaw: %s, want %s", got, want)
			}
		}
		if got := late.read(); got != "+PONG" {
			t.Errorf("the connection made while frozen: %s", got)
		}
	})
}

func TestFreezeThenDrop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		a := dialRaw(t, s)
		s.Freeze()
		a.send([]string{"SET", "k", "v"})
		synctest.Wait()
		s.DropConnections()
		s.Thaw()
		synctest.Wait()
		if got := do(t, s, "EXISTS", "k"); got != int64(0) {
			t.Error("the request of a dropped connection was executed")
		}
	})
}

func TestFailNext(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b := dialRaw(t, s), dialRaw(t, s)
	s.FailNext("set", "OOM command not allowed", 2)
	s.FailNext("SET", "NOPERM no", 1)
	for i, step := range []struct {
		rc   *rawClient
		args []string
		want string
	}{
		{a, []string{"SET", "k", "1"}, "-OOM command not allowed"},
		{a, []string{"GET", "k"}, "_"},
		{a, []string{"EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "k"}, "+OK"}, // scripts are spared
		{b, []string{"SET", "k", "2"}, "-OOM command not allowed"},
		{a, []string{"MULTI"}, "+OK"},
		{a, []string{"SET", "k", "3"}, "-NOPERM no"},
		{a, []string{"GET", "k"}, "+QUEUED"},
		{a, []string{"EXEC"}, "-EXECABORT Transaction discarded because of previous errors."},
		{a, []string{"GET", "k"}, `"x"`},
		{a, []string{"SET", "k", "4"}, "+OK"},
	} {
		if got := step.rc.do(step.args...); got != step.want {
			t.Errorf("step %d: %q = %s, want %s", i, step.args, got, step.want)
		}
	}
	s.FailNext("GET", "LOADING x", 100)
	if v, err := s.Do("GET", "k"); v != "4" || err != nil {
		t.Errorf("Do(GET) = %v, %v: Do must be beyond faults", v, err)
	}
	s.FailNext("GET", "", 0)
	if got := a.do("GET", "k"); got != `"4"` {
		t.Errorf("GET after FailNext(0) = %s", got)
	}
}

func TestHoldStallsOneConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b := dialRaw(t, s), dialRaw(t, s)
	a.do("CLIENT", "TRACKING", "ON")
	a.do("GET", "other")
	arrived, release := s.Hold("get")
	a.send([]string{"GET", "k"})
	<-arrived
	if got := b.do("SET", "k", "v"); got != "+OK" { // another connection goes on
		t.Errorf("SET = %s", got)
	}
	if got := b.do("GET", "k"); got != `"v"` { // one call is held, not two
		t.Errorf("GET on the other connection = %s", got)
	}
	b.do("SET", "other", "v")
	if got := a.read(); got != `>["invalidate" *["other"]]` { // pushes reach a stalled client
		t.Errorf("got %s, want the push", got)
	}
	release()
	release()
	if got := a.read(); got != `"v"` {
		t.Errorf("held GET = %s, want the value as of its release", got)
	}
}

func TestHoldInsideATransactionWaitsAtExec(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := dialRaw(t, s)
	arrived, release := s.Hold("GET")
	a.send([]string{"MULTI"}, []string{"PTTL", "k"}, []string{"GET", "k"}, []string{"EXEC"})
	<-arrived
	do(t, s, "SET", "k", "v")
	release()
	var got []string
	for range 4 {
		got = append(got, a.read())
	}
	if want := `+OK +QUEUED +QUEUED *[:-1 "v"]`; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
}

func TestHoldReleasedBeforeItsCall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := dialRaw(t, s)
	arrived, release := s.Hold("GET")
	release()
	if got := a.do("GET", "k"); got != "_" {
		t.Errorf("GET = %s", got)
	}
	select {
	case <-arrived:
		t.Error("a cancelled hold has arrived")
	default:
	}
}

func TestHoldOutlivesTheClientButNotADrop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		for _, c := range []struct {
			end  func(*rawClient)
			want any
		}{
			{func(rc *rawClient) { rc.c.Close() }, int64(1)},
			{func(*rawClient) { s.DropConnections() }, int64(0)},
		} {
			do(t, s, "FLUSHALL")
			rc := dialRaw(t, s)
			arrived, release := s.Hold("SET")
			rc.send([]string{"SET", "k", "v"})
			<-arrived
			c.end(rc)
			release()
			synctest.Wait()
			if got := do(t, s, "EXISTS", "k"); got != c.want {
				t.Errorf("EXISTS = %v, want %v", got, c.want)
			}
		}
	})
}

package localredis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

func TestKilledServerComesBackWithItsData(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f Flavor) {
		s := Standalone(t, f)
		addr, pid := s.Addr(), s.Pid()
		wantReply(t, s, "OK", "SET", "k", "v")
		must(t, "Kill", s.Kill())
		if _, err := s.Do(within(t), "PING"); err == nil {
			t.Fatal("PING of a killed server succeeded")
		}
		if got := s.Pid(); got != 0 {
			t.Fatalf("Pid of a killed server = %d, want 0", got)
		}
		must(t, "Kill again", s.Kill())
		must(t, "Start", s.Start())
		wantReply(t, s, "v", "GET", "k")
		if s.Addr() != addr || s.Pid() == pid || s.Pid() == 0 {
			t.Fatalf("restarted as %s pid %d, was %s pid %d", s.Addr(), s.Pid(), addr, pid)
		}
		if err := s.Start(); err == nil {
			t.Fatal("Start of a running server succeeded")
		}
		must(t, "Restart", s.Restart())
		wantReply(t, s, "v", "GET", "k")
	})
}

func TestFrozenServerAnswersAfterThaw(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f Flavor) {
		s := Standalone(t, f)
		must(t, "Freeze", s.Freeze())
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := s.Do(ctx, "SET", "k", "v"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("SET at a frozen server: %v, want DeadlineExceeded", err)
		}
		if s.Pid() == 0 {
			t.Fatal("Pid of a frozen server = 0")
		}
		must(t, "Freeze again", s.Freeze())
		must(t, "Thaw", s.Thaw())
		wantReply(t, s, "PONG", "PING")
		must(t, "Freeze", s.Freeze())
		must(t, "Restart of a frozen server", s.Restart())
		wantReply(t, s, "PONG", "PING")
		must(t, "Kill", s.Kill())
		if s.Freeze() == nil || s.Thaw() == nil {
			t.Fatal("Freeze or Thaw of a killed server succeeded")
		}
	})
}

func TestStopOfFrozenServerLeavesNothing(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	s, err := Start(within(t), Config{})
	must(t, "Start", err)
	m := s.Machine().(*machine)
	dir := m.home.path
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	must(t, "Freeze", s.Freeze())
	s.Stop()
	s.Stop()
	if exited, _ := m.Exited(); !exited {
		t.Error("the process still runs")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat of its directory: %v, want ErrNotExist", err)
	}
	if err := s.Start(); !errors.Is(err, ErrStopped) {
		t.Errorf("Start = %v, want ErrStopped", err)
	}
	if !strings.Contains(s.Log(), "Ready to accept connections") {
		t.Errorf("Log = %q, want it readable after Stop", s.Log())
	}
}

func TestGivenDirectoryAndLogAreUsed(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	dir, log := t.TempDir(), new(bytes.Buffer)
	s, err := Start(within(t), Config{Dir: dir, Log: log, Args: []string{"--appendonly", "no", "--maxmemory", "7mb"}})
	must(t, "Start", err)
	defer s.Stop()
	wantReply(t, s, "OK", "SET", "k", "v")
	wantReply(t, s, "OK", "SAVE")
	config, _ := do(t, s, "CONFIG", "GET", "maxmemory").([]any)
	if want := []any{"maxmemory", "7340032"}; !slices.Equal(config, want) {
		t.Errorf("CONFIG GET = %v, want %v", config, want)
	}
	config, _ = do(t, s, "CONFIG", "GET", "appendonly").([]any)
	if want := []any{"appendonly", "no"}; !slices.Equal(config, want) {
		t.Errorf("CONFIG GET = %v, want %v", config, want)
	}
	s.Stop()
	if _, err := os.Stat(dir + "/dump.rdb"); err != nil {
		t.Errorf("snapshot in the given directory: %v", err)
	}
	if log.String() != s.Log() {
		t.Errorf("Config.Log has %d bytes, Server.Log %d", log.Len(), len(s.Log()))
	}
}

func TestBadConfigurationIsReportedWithTheLog(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f Flavor) {
		begin := time.Now()
		_, err := Start(within(t), Config{Flavor: f, Args: []string{"--no-such-directive", "7"}})
		if err == nil || !strings.Contains(err.Error(), "exited") || !strings.Contains(err.Error(), "no-such-directive") {
			t.Errorf("Start = %v, want an exit and the directive from the log", err)
		}
		// It must not wait for the deadline once the process is gone.
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("Start took %s to fail", took)
		}
		_, err = StartCluster(within(t), ClusterConfig{Flavor: f, Args: []string{"--no-such-directive", "7"}})
		if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
			t.Errorf("StartCluster = %v, want the directive from the log", err)
		}
	})
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, want Canceled", err)
	}
	if _, err := StartCluster(ctx, ClusterConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("StartCluster = %v, want Canceled", err)
	}
}

func TestStartTriesOtherPortsWhenTaken(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, "Listen", err)
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	calls := 0
	m, err := newMaker(MakerConfig{})
	must(t, "newMaker", err)
	m.reserve = func() (*reservation, error) {
		if calls++; calls <= 2 {
			return &reservation{port: taken}, nil
		}
		return reservePort()
	}
	s, err := redisnode.Start(within(t), m, redisnode.ServerConfig{})
	must(t, "Start", err)
	defer s.Stop()
	if calls != 3 || s.Port() == taken {
		t.Errorf("%d reservations, port %d (taken: %d), want 3 and another", calls, s.Port(), taken)
	}
	wantReply(t, s, "PONG", "PING")
}

// A server which fails to listen must not be taken for the one that holds the
// port and answers on it.
func TestForeignServerIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	foreign := Standalone(t, Redis)
	calls := 0
	m, err := newMaker(MakerConfig{})
	must(t, "newMaker", err)
	m.reserve = func() (*reservation, error) {
		calls++
		return &reservation{port: foreign.Port()}, nil
	}
	if _, err := redisnode.Start(within(t), m, redisnode.ServerConfig{}); err == nil || calls != 5 {
		t.Fatalf("Start = %v after %d attempts, want an error after %d", err, calls, 5)
	}
}

func TestServerWithPasswordStarts(t *testing.T) {
	t.Parallel()
	s := Standalone(t, Redis, "--requirepass", "secret")
	if _, err := s.Do(within(t), "GET", "k"); !errors.As(err, new(RedisError)) {
		t.Errorf("GET = %v, want a RedisError", err)
	}
}

func TestMissingBinary(t *testing.T) {
	const missing = Flavor("no-such-server")
	if missing.Available() {
		t.Fatal("Available = true")
	}
	if _, err := Start(within(t), Config{Flavor: missing}); err == nil {
		t.Fatal("Start succeeded")
	}
	t.Setenv(RequireEnv, "")
	tb := &recorder{}
	Require(tb, missing)
	if len(tb.skips) != 1 || len(tb.fatals) != 0 || strings.Contains(tb.skips[0], "\n") {
		t.Errorf("Require skipped %q, failed %q, want one line of skip", tb.skips, tb.fatals)
	}
	t.Setenv(RequireEnv, "1")
	tb = &recorder{}
	Require(tb, missing)
	if len(tb.skips) != 0 || len(tb.fatals) != 1 {
		t.Errorf("Require skipped %q, failed %q, want one failure", tb.skips, tb.fatals)
	}
}

func TestHelperStopsAndDescribesOnFailure(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	for _, failed := range []bool{false, true} {
		tb := &recorder{failed: failed}
		s := Standalone(tb, Redis)
		for _, cleanup := range slices.Backward(tb.cleanups) {
			cleanup()
		}
		if s.Pid() != 0 {
			t.Errorf("failed=%t: the server still runs", failed)
		}
		// Its state, which is told from inside; what it printed may still be
		// on its way through the pipe.
		described := strings.Contains(strings.Join(tb.logs, "\n"), s.Addr()+" (running)")
		if described != failed {
			t.Errorf("failed=%t: logged %q", failed, tb.logs)
		}
	}
}

// recorder is a TB that goes on after Fatalf and Skipf.
type recorder struct {
	failed              bool
	skips, fatals, logs []string
	cleanups            []func()
}

func (r *recorder) Helper()                   {}
func (r *recorder) Failed() bool              { return r.failed }
func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Fatalf(f string, a ...any) { r.fatals = append(r.fatals, fmt.Sprintf(f, a...)) }
func (r *recorder) Skipf(f string, a ...any)  { r.skips = append(r.skips, fmt.Sprintf(f, a...)) }
func (r *recorder) Logf(f string, a ...any)   { r.logs = append(r.logs, fmt.Sprintf(f, a...)) }

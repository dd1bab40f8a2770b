package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

func TestKillAndRunAgain(t *testing.T) {
	t.Parallel()
	c := newNode(t, newTestMaker(t, Config{}))
	announced := c.Announced()
	if exited, err := c.Exited(); exited {
		t.Fatalf("Exited() = true, %v while it runs", err)
	}
	if got := c.Pid(); got != 1 || !strings.Contains(do(t, c, "INFO server"), "process_id:1\r\n") {
		t.Errorf("Pid() = %d, and INFO does not show it", got)
	}
	do(t, c, "SET k before")

	if err := c.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exited, err := c.Exited(); !exited || err == nil || !strings.Contains(err.Error(), "signal 9") {
		t.Errorf("Exited() = %v, %v after Kill, want true and signal 9", exited, err)
	}
	if got := c.Pid(); got != 0 {
		t.Errorf("Pid() = %d after Kill, want 0", got)
	}
	if err := c.Kill(t.Context()); err != nil {
		t.Errorf("second Kill: %v", err)
	}

	runNode(t, c)
	if got := do(t, c, "GET k"); got != "before" {
		t.Errorf("GET k = %q after a kill, want the value from before", got)
	}
	if got := c.Announced(); got != announced {
		t.Errorf("Announced() = %v after a kill, was %v", got, announced)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Error("Run of a running machine succeeded")
	}
	const started = "Ready to accept connections"
	eventually(t, "the log of both runs", func() error { // the daemon copies it
		if got := strings.Count(c.Log(1<<20), started); got != 2 {
			return fmt.Errorf("%q is there %d times", started, got)
		}
		return nil
	})
	if got := c.Log(300); len(got) > 300 || got == "" || strings.Count(c.Log(1<<20), got) == 0 {
		t.Errorf("Log(300) = %q", got)
	}
	c.Remove()
	c.Remove()
	if got := strings.Count(c.Log(1<<20), started); got != 2 {
		t.Errorf("Log has %q %d times after Remove, want 2", started, got)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Error("Run of a removed machine succeeded")
	}
}

func TestFreezeAndThaw(t *testing.T) {
	t.Parallel()
	c := newNode(t, newTestMaker(t, Config{}))
	for range 2 { // freezing a frozen one does nothing
		if err := c.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.DialTimeout("tcp", c.Addr(), patience)
	if err != nil {
		t.Fatalf("a frozen node refuses connections: %v", err)
	}
	defer conn.Close()
	if reply, err := askOn(conn, "PING", 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a frozen node answers %q, %v", reply, err)
	}
	if exited, _ := c.Exited(); exited || c.Pid() != 1 {
		t.Errorf("Exited() = %v, Pid() = %d while frozen, want false and 1", exited, c.Pid())
	}
	for range 2 {
		if err := c.Thaw(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The first PING has been waiting in the kernel.
	if reply, err := askOn(conn, "PING", patience); err != nil || reply != "+PONG" {
		t.Errorf("after Thaw: %q, %v", reply, err)
	}

	if err := c.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(t.Context()); err != nil {
		t.Fatalf("Kill of a frozen node: %v", err)
	}
	if err := c.Freeze(t.Context()); err == nil {
		t.Error("Freeze of a node that does not run succeeded")
	}
	runNode(t, c)
}

func TestServerExitsAtOnce(t *testing.T) {
	t.Parallel()
	m := newTestMaker(t, Config{})
	c := makeNode(t, m, redisnode.MachineSpec{Lines: []string{"no-such-directive yes"}})
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "exit", func() error {
		if exited, _ := c.Exited(); !exited {
			return errors.New("it runs")
		}
		return nil
	})
	if _, err := c.Exited(); err == nil || err.Error() != "exit status 1" {
		t.Errorf("Exited() = %v, want exit status 1", err)
	}
	if got := c.Log(4096); !strings.Contains(got, "no-such-directive") {
		t.Errorf("Log = %q, want the line that is refused", got)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	m := newTestMaker(t, Config{})
	t.Run("cluster node", func(t *testing.T) {
		c := makeNode(t, m, redisnode.MachineSpec{Role: redisnode.ClusterNode})
		runNode(t, c)
		a := c.Announced()
		if a.Port != 6379 || a.Bus != 16379 {
			t.Errorf("Announced() = %+v", a)
		}
		// A node knows its own address from what it is told to announce.
		if got, want := do(t, c, "CLUSTER NODES"), a.IP+":6379@16379"; !strings.Contains(got, want) {
			t.Errorf("CLUSTER NODES = %q, want %s", got, want)
		}
	})
	t.Run("sentinel", func(t *testing.T) {
		primary := newNode(t, m)
		c := makeNode(t, m, redisnode.MachineSpec{
			Role:  redisnode.SentinelNode,
			Lines: []string{"sentinel monitor shard " + primary.Announced().IP + " 6379 1"},
		})
		runNode(t, c)
		if a := c.Announced(); a.Port != 26379 || a.Bus != 0 {
			t.Errorf("Announced() = %+v", a)
		}
		id := do(t, c, "SENTINEL MYID")
		if err := c.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		runNode(t, c)
		if got := do(t, c, "SENTINEL MYID"); got != id {
			t.Errorf("the sentinel has id %s after a kill, had %s: its file was not kept", got, id)
		}
	})
	t.Run("files", func(t *testing.T) {
		c := makeNode(t, m, redisnode.MachineSpec{
			Lines: []string{`include "${DIR}/more.conf"`},
			Files: map[string][]byte{"more.conf": []byte("maxclients 123\n")},
		})
		runNode(t, c)
		if got := do(t, c, "INFO clients"); !strings.Contains(got, "maxclients:123\r\n") {
			t.Errorf("INFO clients = %q, want maxclients of the file", got)
		}
	})
}

func TestServerOutputIsCopied(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	m := newTestMaker(t, Config{Log: &log})
	c := newNode(t, m)
	if err := c.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	runNode(t, c)
	eventually(t, "output of both runs", func() error {
		if n := strings.Count(log.String(), "Ready to accept connections"); n != 2 {
			return errors.New(log.String())
		}
		return nil
	})
}

// safeBuffer is a buffer that is read while it is written to.
type safeBuffer struct {
	lockedWriter
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestMakeWithEndedContextLeavesNothing(t *testing.T) {
	t.Parallel()
	m := newTestMaker(t, Config{}) // its cleanup looks
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Make(ctx, redisnode.MachineSpec{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Make = %v, want context.Canceled", err)
	}
	if left := leftovers(t, m.api, labelSession+"="+m.session); len(left) != 1 {
		t.Errorf("there are %v, want the network alone", left)
	}
}

func TestCloseRemovesMachines(t *testing.T) {
	t.Parallel()
	m := newTestMaker(t, Config{})
	c := newNode(t, m)
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := leftovers(t, m.api, labelSession+"="+m.session); len(left) > 0 {
		t.Errorf("left behind by Close: %v", left)
	}
	if exited, _ := c.Exited(); !exited {
		t.Error("the machine runs after Close")
	}
	if _, err := m.Make(t.Context(), redisnode.MachineSpec{}); err == nil {
		t.Error("Make after Close succeeded")
	}
}

func TestWrongBinary(t *testing.T) {
	t.Parallel()
	c := makeNode(t, newTestMaker(t, Config{Binary: "no-such-server"}), redisnode.MachineSpec{})
	err := c.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no-such-server") {
		t.Errorf("Run = %v, want the program's name", err)
	}
}

func TestMissingImage(t *testing.T) {
	t.Parallel()
	requireDocker(t)
	const image = "localhost:1/fleetcache-ci/no-such-image:1"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	_, err := NewMaker(ctx, Config{Image: image})
	if err == nil {
		t.Fatal("NewMaker succeeded without an image")
	}
	for _, want := range []string{image, "Topology.Image", "CLUSTERTEST_IMAGE"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("NewMaker = %v, want %s in it", err, want)
		}
	}
	if took := time.Since(began); took > patience {
		t.Errorf("NewMaker took %s, and its context ended after 10s", took)
	}
}

// TestNothingOfAProcessIsLeft is not parallel: it counts.
func TestNothingOfAProcessIsLeft(t *testing.T) {
	requireDocker(t)
	life := func() {
		m, err := newMaker(t.Context(), Config{Image: os.Getenv("CLUSTERTEST_IMAGE"), Log: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}()
		c := newNode(t, m)
		if err := c.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		runNode(t, c)
	}
	life() // what is made once per process
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 2 {
		life()
	}
	eventually(t, "as many goroutines and files as before", func() error {
		if g, f := runtime.NumGoroutine(), openFiles(t); g > goroutines || f > files {
			return fmt.Errorf("%d goroutines and %d files, had %d and %d", g, f, goroutines, files)
		}
		return nil
	})
}

// openFiles returns how many files this process has open, 0 where that cannot be
// told.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(entries)
}

package clustertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// childEnv makes the test binary act as one of the programs in children, and
// childTopologyEnv says with what.
const (
	childEnv         = "CLUSTERTEST_TEST_CHILD"
	childTopologyEnv = "CLUSTERTEST_TEST_TOPOLOGY"
)

var children = map[string]func(Topology) error{
	"once":     childOnce,
	"wait":     childWait,
	"panic":    childPanic,
	"starting": childStarting,
	"twenty":   childTwenty,
}

func runChild() int {
	var on Topology
	err := json.Unmarshal([]byte(os.Getenv(childTopologyEnv)), &on)
	if err == nil {
		err = children[os.Getenv(childEnv)](on)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func childOnce(on Topology) error {
	c, err := Run(context.Background(), on)
	if err != nil {
		return err
	}
	return c.Stop()
}

// childWait starts a deployment, says so with the process ids of its servers,
// and waits until it is killed or its input ends.
func childWait(on Topology) error {
	c, err := Run(context.Background(), on)
	if err != nil {
		return err
	}
	for _, n := range c.Nodes() {
		fmt.Print(n.server.Pid(), " ")
	}
	fmt.Println()
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, c.Stop())
}

func childPanic(on Topology) error {
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		panic("as asked")
	}()
	return childWait(on)
}

// childStarting says so before it starts a deployment, which it then does for
// ever.
func childStarting(on Topology) error {
	fmt.Println("0")
	for {
		if err := childOnce(on); err != nil {
			// It is about to be ended by a signal.
			fmt.Fprintln(os.Stderr, err)
			select {}
		}
	}
}

// childTwenty runs clusters one after the other, with faults, and compares what
// the process holds after the first with what it holds after the last.
func childTwenty(on Topology) error {
	count, err := strconv.Atoi(os.Getenv("CLUSTERTEST_TEST_COUNT"))
	if err != nil {
		return err
	}
	var before string
	for i := range count {
		if err := useAndStop(on); err != nil {
			return err
		}
		if i == 0 {
			before, err = settled("")
		}
		if err != nil {
			return err
		}
	}
	_, err = settled(before)
	return err
}

func useAndStop(on Topology) error {
	ctx := context.Background()
	c, err := Run(ctx, on)
	if err != nil {
		return err
	}
	conn, dialed := c.Link().DialContext(ctx, "tcp", c.Node(0).Announced())
	if dialed == nil {
		c.Link().Blackhole()
		defer conn.Close()
	}
	return errors.Join(dialed, c.Isolate(ctx, c.Node(0)), c.Node(1).Freeze(ctx), c.Node(2).Kill(ctx), c.Stop())
}

// settled returns what this process holds when it is no more than want, or has
// not changed for a second if want is empty.
func settled(want string) (string, error) {
	last, since, began := "", time.Now(), time.Now()
	for {
		// io.Copy between sockets keeps pipes in a pool, which a collection
		// empties.
		runtime.GC()
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil && runtime.GOOS == "linux" {
			return "", err
		}
		held := fmt.Sprintf("%d goroutines, %d files", runtime.NumGoroutine(), len(files))
		if held != last {
			last, since = held, time.Now()
		}
		if held == want || want == "" && time.Since(since) > time.Second {
			return held, nil
		}
		if time.Since(began) > 20*time.Second {
			stacks := make([]byte, 1<<20)
			return held, fmt.Errorf("%s are held, and were %s after the first cluster:\n%s",
				held, want, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// child is a running program with a directory for temporary files of its own.
type child struct {
	*exec.Cmd
	t      *testing.T
	on     Topology
	dir    string
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func startChild(t *testing.T, program string, on Topology, dir string, env ...string) *child {
	t.Helper()
	topology, err := json.Marshal(on)
	must(t, "topology", err)
	c := &child{Cmd: exec.Command(os.Args[0]), t: t, on: on, dir: dir}
	c.Env = append(os.Environ(), childEnv+"="+program, childTopologyEnv+"="+string(topology), "TMPDIR="+dir)
	c.Env = append(c.Env, env...)
	c.Stderr = &testLog{t}
	c.stdin, err = c.StdinPipe()
	must(t, "stdin", err)
	stdout, err := c.StdoutPipe()
	must(t, "stdout", err)
	c.stdout = bufio.NewReader(stdout)
	must(t, "start child", c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill() // it has ended, if the test went well
		_ = c.Wait()
	})
	return c
}

// testLog logs what a child says.
type testLog struct{ t *testing.T }

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Logf("child: %s", p)
	return len(p), nil
}

// servers waits until the child has started, and returns the process ids of its
// servers. In containers they mean nothing.
func (c *child) servers() []int {
	c.t.Helper()
	line, err := c.stdout.ReadString('\n')
	must(c.t, "child", err)
	var pids []int
	for field := range strings.FieldsSeq(line) {
		pid, err := strconv.Atoi(field)
		must(c.t, "pid", err)
		pids = append(pids, pid)
	}
	if c.on.Backend == Docker {
		return nil
	}
	return pids
}

// left returns what a dead child has left behind.
func (c *child) left(servers []int) (left []string) {
	c.t.Helper()
	for _, pid := range servers {
		if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			left = append(left, fmt.Sprint("process ", pid))
		}
	}
	entries, err := os.ReadDir(c.dir)
	must(c.t, "directory", err)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if c.on.Backend == Docker {
		left = append(left, containersOf(c.t, c.Process.Pid)...)
	}
	return left
}

// containersOf returns the containers and networks that a process has made.
func containersOf(t *testing.T, pid int) (names []string) {
	t.Helper()
	api, err := client.New(client.FromEnv)
	must(t, "docker client", err)
	defer api.Close()
	filters := make(client.Filters).Add("label", "org.fleetcache.clustertest.pid="+strconv.Itoa(pid))
	containers, err := api.ContainerList(context.Background(), client.ContainerListOptions{All: true, Filters: filters})
	must(t, "list containers", err)
	for _, c := range containers.Items {
		names = append(names, c.Names...)
	}
	networks, err := api.NetworkList(context.Background(), client.NetworkListOptions{Filters: filters})
	must(t, "list networks", err)
	for _, n := range networks.Items {
		names = append(names, n.Name)
	}
	return names
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, on Topology) {
		long(t, on)
		on.Mode, on.ReplicasPerPrimary = Replicated, 1
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(sig.String(), func(t *testing.T) { testSignalled(t, "wait", on, sig) })
		}
		t.Run("interrupt during a start", func(t *testing.T) { testSignalled(t, "starting", on, syscall.SIGINT) })
		t.Run("panic", func(t *testing.T) {
			testDead(t, "panic", on, func(c *child) { _, _ = io.WriteString(c.stdin, "panic\n") })
		})
		t.Run("killed", func(t *testing.T) {
			testDead(t, "wait", on, func(c *child) { _ = c.Process.Kill() })
		})
	})
}

// testSignalled wants everything gone when the child has ended, and the child to
// have died of the signal.
func testSignalled(t *testing.T, program string, on Topology, sig syscall.Signal) {
	c := startChild(t, program, on, t.TempDir())
	servers := c.servers()
	if program == "starting" {
		servers = nil
		eventually(t, "the start", func(context.Context) error {
			if len(c.left(nil)) == 0 {
				return errors.New("nothing is there yet")
			}
			return nil
		})
	}
	must(t, "signal", c.Process.Signal(sig))
	_ = c.Wait() // it says what is looked at here
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != sig {
		t.Errorf("child: %s, want it to be ended by %s", c.ProcessState, sig)
	}
	if left := c.left(servers); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// testDead wants the servers gone soon after the child, and everything after the
// next one.
func testDead(t *testing.T, program string, on Topology, end func(*child)) {
	c := startChild(t, program, on, t.TempDir())
	servers := c.servers()
	end(c)
	if err := c.Wait(); err == nil {
		t.Fatal("the child ended well")
	}
	for _, pid := range servers {
		eventually(t, "the end of a server", func(context.Context) error {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("process %d: %w", pid, err)
			}
			return nil
		})
	}
	if len(c.left(nil)) == 0 {
		t.Error("nothing is left to be swept: the test is of no use")
	}
	// A directory that is just being made is left alone: make them look older.
	locks, err := filepath.Glob(filepath.Join(c.dir, "*", "in-use"))
	must(t, "glob", err)
	for _, name := range locks {
		must(t, "age", os.Chtimes(name, time.Time{}, time.Now().Add(-time.Hour)))
	}
	next := startChild(t, "once", on, c.dir)
	must(t, "next child", next.Wait())
	if left := c.left(servers); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestTwentyClusters runs in a process of its own, where it can count.
func TestTwentyClusters(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, on Topology) {
		long(t, on)
		count := "4"
		if on.Backend == Local && on.Server == redisServer {
			count = "20"
		}
		c := startChild(t, "twenty", on, t.TempDir(), "CLUSTERTEST_TEST_COUNT="+count)
		if err := c.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
		if left := c.left(nil); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

package busproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// busNode is a server process without a bus port that others know of: they are
// told the proxy's.
type busNode struct {
	port  int
	id    string
	proxy *Proxy
}

// errExited says that a server ended before it answered.
var errExited = errors.New("server has exited")

// startNode runs a cluster node for the duration of the test.
func startNode(t *testing.T, s *Switch, binary string) *busNode {
	t.Helper()
	for range 5 {
		n, err := tryNode(t, s, binary)
		if err == nil {
			return n
		}
		// Somebody may have taken the port between choosing and using it.
		if !errors.Is(err, errExited) {
			t.Fatal(err)
		}
	}
	t.Fatalf("%s does not start", binary)
	return nil
}

func tryNode(t *testing.T, s *Switch, binary string) (*busNode, error) {
	t.Helper()
	port, bus := freePort(t), freePort(t)
	proxy, err := s.Add(bus)
	if err != nil {
		return nil, err
	}
	log := &bytes.Buffer{} // read after the process has ended
	cmd := exec.Command(binary, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", t.TempDir(),
		"--save", "", "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
		"--cluster-port", strconv.Itoa(bus), "--cluster-announce-bus-port", strconv.Itoa(proxy.Port()))
	cmd.Stdout = log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() { // ends with the process, which the cleanup kills
		defer close(exited)
		_ = cmd.Wait() // killed, or its log tells why
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // or it has exited
		<-exited
		if t.Failed() {
			t.Logf("%s on port %d:\n%s", binary, port, log)
		}
	})
	n := &busNode{port: port, proxy: proxy}
	for {
		n.id, err = n.ask("CLUSTER", "MYID")
		if err == nil {
			proxy.SetID(n.id)
			return n, nil
		}
		select {
		case <-exited:
			return nil, errExited
		case <-t.Context().Done():
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// ask sends one command and returns a reply that is one string.
func (n *busNode) ask(args ...string) (string, error) {
	conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	cmd := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		cmd = fmt.Appendf(cmd, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := conn.Write(cmd); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	size, bulk := strings.CutPrefix(line, "$")
	if !bulk {
		if strings.HasPrefix(line, "-") {
			return "", fmt.Errorf("%v: %s", args, line)
		}
		return line, nil
	}
	length, err := strconv.Atoi(size)
	if err != nil {
		return "", err
	}
	body := make([]byte, length)
	_, err = io.ReadFull(in, body)
	return string(body), err
}

// view returns the flags with which n lists each other node, by id, and the
// cluster state as n sees it.
func (n *busNode) view(t *testing.T) (flags map[string]string, state string) {
	t.Helper()
	nodes, err := n.ask("CLUSTER", "NODES")
	if err != nil {
		t.Fatal(err)
	}
	info, err := n.ask("CLUSTER", "INFO")
	if err != nil {
		t.Fatal(err)
	}
	flags = map[string]string{}
	for line := range strings.Lines(nodes) {
		if f := strings.Fields(line); len(f) > 2 && f[0] != n.id {
			flags[f[0]] = f[2]
		}
	}
	state, _, _ = strings.Cut(strings.TrimPrefix(info, "cluster_state:"), "\r\n")
	return flags, state
}

// eventually waits until each node sees each other one as want has it.
func eventually(t *testing.T, what string, nodes []*busNode, want func(at, of *busNode) string, state func(at *busNode) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		wrong := ""
		for _, at := range nodes {
			flags, got := at.view(t)
			if got != state(at) {
				wrong += fmt.Sprintf("%d says state %s, want %s\n", at.port, got, state(at))
			}
			for _, of := range nodes {
				if of != at && flags[of.id] != want(at, of) {
					wrong += fmt.Sprintf("%d says %d is %q, want %q\n", at.port, of.port, flags[of.id], want(at, of))
				}
			}
		}
		if wrong == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: still wrong:\n%s", what, wrong)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A minority that is cut off suspects everybody and gives up; the majority
// declares it failed and goes on. All of that ends with the cut.
func TestRealCluster(t *testing.T) {
	t.Parallel()
	for _, binary := range []string{"redis-server", "valkey-server"} {
		t.Run(binary, func(t *testing.T) {
			t.Parallel()
			requireBinary(t, binary)
			s := New()
			t.Cleanup(s.Close)
			nodes := formCluster(t, s, binary)
			fine := func(at, of *busNode) string { return "master" }
			ok := func(*busNode) string { return "ok" }
			eventually(t, "formed", nodes, fine, ok)

			minority := map[*busNode]bool{nodes[0]: true, nodes[3]: true}
			s.Cut(nodes[0].id, nodes[3].id)
			eventually(t, "cut", nodes, func(at, of *busNode) string {
				switch {
				case minority[at] == minority[of]:
					return "master"
				case minority[at]:
					return "master,fail?"
				}
				return "master,fail"
			}, func(at *busNode) string { return "fail" })

			s.Heal()
			eventually(t, "healed", nodes, fine, ok)

			s.Cut(nodes[1].id)
			s.Cut(nodes[2].id) // replaces the one before
			eventually(t, "cut again", nodes, func(at, of *busNode) string {
				switch nodes[2] {
				case at:
					return "master,fail?"
				case of:
					return "master,fail"
				}
				return "master"
			}, func(at *busNode) string { return "fail" })
			s.Heal()
			eventually(t, "healed again", nodes, fine, ok)
		})
	}
}

// requireBinary skips the test without the server, or fails it if
// RC_REQUIRE_REDIS is set.
func requireBinary(t *testing.T, binary string) {
	t.Helper()
	if _, err := exec.LookPath(binary); err == nil {
		return
	}
	if os.Getenv("RC_REQUIRE_REDIS") == "1" {
		t.Fatalf("%s is not on PATH, and RC_REQUIRE_REDIS is set", binary)
	}
	t.Skipf("%s is not on PATH", binary)
}

// formCluster joins five primaries. All of them announce full coverage, so
// that the loss of any slot makes all say that the state is "fail".
func formCluster(t *testing.T, s *Switch, binary string) []*busNode {
	t.Helper()
	const slots = 16384
	nodes := make([]*busNode, 5)
	for i := range nodes {
		nodes[i] = startNode(t, s, binary)
	}
	tell := func(n *busNode, args ...string) {
		t.Helper()
		if _, err := n.ask(args...); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range nodes {
		tell(n, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		tell(n, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/len(nodes)), strconv.Itoa((i+1)*slots/len(nodes)-1))
		for _, other := range nodes[:i] {
			tell(n, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.port), strconv.Itoa(other.proxy.Port()))
		}
	}
	return nodes
}

package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// patience is how long a test waits for something that has to happen.
const patience = 30 * time.Second

// newTestMaker returns a maker of the image in CLUSTERTEST_IMAGE. Without a
// daemon the test is skipped, or fails if CLUSTERTEST_REQUIRE is 1. At the end
// the maker is closed, and nothing of it may be left.
func newTestMaker(t *testing.T, cfg Config) *Maker {
	t.Helper()
	requireDocker(t)
	if cfg.Image == "" {
		cfg.Image = os.Getenv("CLUSTERTEST_IMAGE")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := newMaker(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if left := leftovers(t, m.api, labelSession+"="+m.session); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return m
}

func requireDocker(t *testing.T) {
	t.Helper()
	err := Available(t.Context())
	switch {
	case err == nil:
	case os.Getenv("CLUSTERTEST_REQUIRE") == "1":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// leftovers returns the names of containers and networks with a label.
func leftovers(t *testing.T, api client.APIClient, label string) []string {
	t.Helper()
	ctx := context.Background() // also called when the test's context has ended
	filters := make(client.Filters).Add("label", label)
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		t.Fatal(err)
	}
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range containers.Items {
		names = append(names, c.Names...)
	}
	for _, n := range networks.Items {
		names = append(names, n.Name)
	}
	return names
}

// newNode makes a machine, runs it and waits until it answers.
func newNode(t *testing.T, m *Maker, lines ...string) *Container {
	t.Helper()
	c := makeNode(t, m, redisnode.MachineSpec{Lines: append([]string{
		"appendonly yes", "repl-diskless-sync-delay 0", "repl-timeout 2", "repl-ping-replica-period 1",
	}, lines...)})
	runNode(t, c)
	return c
}

func makeNode(t *testing.T, m *Maker, spec redisnode.MachineSpec) *Container {
	t.Helper()
	machine, err := m.Make(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machine.Remove)
	return machine.(*Container)
}

func runNode(t *testing.T, c *Container) {
	t.Helper()
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, c.Name()+" answers", func() error {
		reply, err := ask(c.Addr(), "PING")
		if err == nil && reply != "+PONG" {
			err = fmt.Errorf("reply %q", reply)
		}
		return err
	})
}

// eventually waits until check has nothing to object to.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ask sends a command of plain words on a connection of its own, and returns the
// reply: the line, or the text behind the length.
func ask(addr, command string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return askOn(conn, command, patience)
}

func askOn(conn net.Conn, command string, timeout time.Duration) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "-") {
		return "", errors.New(line)
	}
	var length int
	if _, err := fmt.Sscanf(line, "$%d", &length); err != nil || length < 0 {
		return line, nil
	}
	text := make([]byte, length)
	for n := 0; n < length; {
		k, err := reader.Read(text[n:])
		if err != nil {
			return "", err
		}
		n += k
	}
	return string(text), nil
}

// do is ask for commands that have to succeed.
func do(t *testing.T, c *Container, command string) string {
	t.Helper()
	reply, err := ask(c.Addr(), command)
	if err != nil {
		t.Fatalf("%s to %s: %v", command, c.Name(), err)
	}
	return reply
}

// awaitReply waits until a command gets the reply that is wanted.
func awaitReply(t *testing.T, c *Container, command, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to %s", command, c.Name()), func() error {
		reply, err := ask(c.Addr(), command)
		if err == nil && !strings.Contains(reply, want) {
			err = fmt.Errorf("reply %q, want %q in it", reply, want)
		}
		return err
	})
}

// silentListener returns the DOCKER_HOST of a daemon that accepts and never
// answers.
func silentListener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "tcp://" + l.Addr().String()
}

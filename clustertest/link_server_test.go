package clustertest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// The name of a server's files in these tests.
const (
	testCA   = "ca.pem"
	testCert = "cert.pem"
	testKey  = "key.pem"
)

// plainServer runs a server with a password, and TLS if auth is not nil, for
// the duration of the test, and returns where it listens.
func plainServer(t *testing.T, binary string, auth *authority) string {
	t.Helper()
	for range 5 {
		addr, ok := tryPlainServer(t, binary, auth)
		if ok {
			return addr
		}
	}
	t.Fatalf("%s does not start", binary)
	return ""
}

// tryPlainServer reports false if somebody has taken the port between choosing
// and using it, or the server ended for another reason.
func tryPlainServer(t *testing.T, binary string, auth *authority) (addr string, ok bool) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	ln.Close()
	dir := t.TempDir()
	args := []string{"--bind", "127.0.0.1", "--dir", dir, "--save", "", "--requirepass", "secret"}
	if auth == nil {
		args = append(args, "--port", port)
	} else {
		for name, b := range map[string][]byte{testCA: auth.ca, testCert: auth.cert, testKey: auth.key} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, "--port", "0", "--tls-port", port, "--tls-auth-clients", "no",
			"--tls-ca-cert-file", filepath.Join(dir, testCA),
			"--tls-cert-file", filepath.Join(dir, testCert), "--tls-key-file", filepath.Join(dir, testKey))
	}
	log := &bytes.Buffer{} // read after the process has ended
	cmd := exec.Command(binary, args...)
	cmd.Stdout = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
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
			t.Logf("%s at %s:\n%s", binary, addr, log)
		}
	})
	for {
		if conn, err := net.Dial("tcp4", addr); err == nil {
			conn.Close()
			return addr, true
		}
		select {
		case <-exited:
			return "", false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func ping(t *testing.T, client rueidis.Client, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return client.Do(ctx, client.B().Ping().Build()).Error()
}

// A rueidis client reaches a server by its announced address, which nobody
// listens on, and feels the faults.
func TestLinkWithRueidis(t *testing.T) {
	t.Parallel()
	auth, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for _, binary := range []string{redisServer, valkeyServer} {
		for name, auth := range map[string]*authority{"plain": nil, "TLS": auth} {
			t.Run(binary+" "+name, func(t *testing.T) {
				t.Parallel()
				if _, err := exec.LookPath(binary); err != nil {
					missing(t, err)
				}
				testLinkWithRueidis(t, binary, auth)
			})
		}
	}
}

func testLinkWithRueidis(t *testing.T, binary string, auth *authority) {
	e := Exported{
		Mode:     Replicated,
		Nodes:    []ExportedNode{{"n0", addrA, plainServer(t, binary, auth)}},
		Password: "secret",
	}
	if auth != nil {
		e.CA = string(auth.ca)
	}
	l, err := NewLinkFrom(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	o := l.ClientOption()
	o.DisableRetry = true
	client, err := rueidis.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	healthy := func(what string) {
		t.Helper()
		eventuallyTrue(t, what, func() bool { return ping(t, client, linkPatience) == nil })
	}
	healthy("serving")

	const d = 200 * time.Millisecond
	l.Delay(d, 0)
	began := time.Now()
	if err := ping(t, client, linkPatience); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < d {
		t.Errorf("PING took %s, want at least %s", took, d)
	}
	l.Blackhole()
	wantError(t, "PING in a blackhole", ping(t, client, 100*time.Millisecond), context.DeadlineExceeded)
	l.Heal()
	healthy("serving after a blackhole")

	l.Cut()
	err = ping(t, client, linkPatience)
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("PING through a cut: %v, want ECONNREFUSED or ECONNRESET", err)
	}
	// The server comes back at another port, as with docker.
	e.Nodes[0].Reachable = plainServer(t, binary, auth)
	if err := l.Update(e); err != nil {
		t.Fatal(err)
	}
	l.Heal()
	healthy("serving at another port")

	conn, err := l.DialTLSContext(t.Context(), "tcp", addrA)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	patient(t, conn)
	send(t, conn, "AUTH secret\r\n")
	receive(t, conn, "+OK\r\n")
}

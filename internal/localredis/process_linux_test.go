package localredis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helperEnv makes the test binary start a server, print its address and wait.
const helperEnv = "LOCALREDIS_TEST_HELPER"

func runHelper() {
	s, err := Start(context.Background(), Config{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.Machine().(*machine).home.path, s.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0) // without Stop
}

func TestServerDiesWithItsStarter(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	for _, how := range []string{"killed", "exits"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"=1")
			stdin, err := cmd.StdinPipe()
			must(t, "stdin", err)
			stdout, err := cmd.StdoutPipe()
			must(t, "stdout", err)
			must(t, "start helper", cmd.Start())
			line, err := bufio.NewReader(stdout).ReadString('\n')
			must(t, "read address", err)
			dir, addr, ok := strings.Cut(strings.TrimSpace(line), " ")
			if !ok {
				t.Fatalf("helper: %s", line)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			conn, err := net.Dial("tcp", addr)
			must(t, "dial", err)
			defer conn.Close()

			if how == "killed" {
				must(t, "kill helper", cmd.Process.Kill())
			} else {
				must(t, "close stdin", stdin.Close())
			}
			_ = cmd.Wait()
			// The end of the connection is the end of the server.
			must(t, "deadline", conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			_, err = conn.Read(make([]byte, 1))
			if err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("the server outlives its starter: read = %v", err)
			}
		})
	}
}

// The kernel ties a child to the thread that created it, so a server started
// by a goroutine that takes its thread with it must not be killed by that.
func TestServerOutlivesTheThreadOfItsStarter(t *testing.T) {
	t.Parallel()
	Require(t, Redis)
	type started struct {
		s   *Server
		tid int
		err error
	}
	result := make(chan started)
	var start func()
	start = func() {
		runtime.LockOSThread() // and never unlock: the thread ends with us
		if syscall.Gettid() == os.Getpid() {
			// The runtime keeps the main thread. While it is locked to this
			// goroutine the next one cannot get it.
			done := make(chan struct{})
			go func() { defer close(done); start() }()
			<-done
			return
		}
		s, err := Start(context.Background(), Config{})
		result <- started{s, syscall.Gettid(), err}
	}
	go start()
	r := <-result
	must(t, "Start", r.err)
	defer r.s.Stop()
	task := "/proc/self/task/" + strconv.Itoa(r.tid)
	ctx := within(t)
	for _, err := os.Stat(task); err == nil; _, err = os.Stat(task) {
		must(t, "wait for the end of the thread", ctx.Err())
		runtime.Gosched()
	}
	wantReply(t, r.s, "PONG", "PING")
}

func TestSweepRemovesOnlyWhatDeadProcessesLeft(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	used, err := newDataDirIn(base)
	must(t, "newDataDirIn", err)
	defer used.remove()
	left, err := newDataDirIn(base)
	must(t, "newDataDirIn", err)
	must(t, "release", left.lock.Close()) // as the end of its process does
	foreign, err := os.MkdirTemp(base, dirPrefix)
	must(t, "MkdirTemp", err)

	sweep(base, time.Hour)
	for _, dir := range []string{used.path, left.path, foreign} {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("swept although younger than an hour: %v", err)
		}
	}
	sweep(base, 0)
	for dir, want := range map[string]bool{used.path: true, left.path: false, foreign: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("stat %s = %v, want it there: %t", dir, err, want)
		}
	}
	used.remove()
	if _, err := os.Stat(used.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat after remove = %v, want ErrNotExist", err)
	}
}

// Docker gives out ports from the beginning of the range, and takes those of
// servers that are down.
func TestReservedPortIsNotOneOfDockers(t *testing.T) {
	t.Parallel()
	if dockerEnd() < 1024 {
		t.Errorf("dockerEnd() = %d, want a port in the kernel's range", dockerEnd())
	}
	for range 50 {
		r, err := reservePort()
		must(t, "reservePort", err)
		defer r.free()
		if r.port < dockerEnd() {
			t.Errorf("port %d, want none below %d", r.port, dockerEnd())
		}
	}
}

func TestReservedPortIsGivenToNobody(t *testing.T) {
	t.Parallel()
	r, err := reservePort()
	must(t, "reservePort", err)
	defer r.free()
	bind := func() error {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		must(t, "socket", err)
		defer syscall.Close(fd)
		return syscall.Bind(fd, &syscall.SockaddrInet4{Port: r.port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err := bind(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("bind = %v, want EADDRINUSE", err)
	}
	// A server, which sets SO_REUSEADDR as package net does, gets it.
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)))
	must(t, "Listen", err)
	must(t, "Close", l.Close())
	r.free()
	must(t, "bind after free", bind())
}

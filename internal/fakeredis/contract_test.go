package fakeredis

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expectations of testdata/contract.txt with what redis-server says")

const contractFile = "testdata/contract.txt"

// contractCase is a script of raw commands and what every server must answer.
//
// A line "a: CMD args | CMD args" sends commands in one write on connection a,
// then waits until every connection has received what it caused. Connections a
// to c speak RESP3, x to z RESP2. "a: !push" waits for one more message, "a:
// !until CMD args = reply" repeats a command until it answers that, for keys that
// expire. Arguments with special bytes are Go strings. Lines that begin with ">"
// are the messages received, with the connection, in order.
type contractCase struct {
	name  string
	lines []string // without the expectations
	want  []string // expectations, each in front of the index of its line
}

func loadContract(t *testing.T) []contractCase {
	t.Helper()
	b, err := os.ReadFile(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	var cases []contractCase
	for _, line := range strings.Split(string(b), "\n") {
		if name, ok := strings.CutPrefix(line, "== "); ok {
			cases = append(cases, contractCase{name: name})
			continue
		}
		if line == "" || strings.HasPrefix(line, "#") || len(cases) == 0 {
			continue
		}
		c := &cases[len(cases)-1]
		if strings.HasPrefix(line, ">") {
			c.want = append(c.want, fmt.Sprintf("%d%s", len(c.lines), line))
			continue
		}
		c.lines = append(c.lines, line)
	}
	return cases
}

func TestContract(t *testing.T) {
	t.Parallel()
	cases := loadContract(t)
	if len(cases) < 40 {
		t.Fatalf("%d cases in %s, want 40 or more", len(cases), contractFile)
	}
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		s := New()
		t.Cleanup(s.Close)
		checkContract(t, cases, s.Dial)
	})
	for _, binary := range []string{"redis-server", "valkey-server"} {
		t.Run(binary, func(t *testing.T) {
			t.Parallel()
			dial := startReal(t, binary)
			if *update && binary == "redis-server" {
				updateContract(t, cases, dial)
				return
			}
			checkContract(t, cases, dial)
		})
	}
}

type dialFunc func(context.Context) (net.Conn, error)

// checkContract runs the cases one after the other: they share a server.
func checkContract(t *testing.T, cases []contractCase, dial dialFunc) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := runContract(t, c, dial)
			if !slices.Equal(got, c.want) {
				t.Errorf("script:\n  %s\ngot:\n  %s\nwant:\n  %s", strings.Join(c.lines, "\n  "),
					strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func runContract(t *testing.T, c contractCase, dial dialFunc) []string {
	t.Helper()
	conns := map[string]*rawClient{}
	var names []string
	open := func(name string) *rawClient {
		if rc := conns[name]; rc != nil {
			return rc
		}
		nc, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns[name] = newRaw(t, nc, name < "x")
		names = append(names, name)
		slices.Sort(names)
		return conns[name]
	}
	reset := open("x")
	reset.do("FLUSHALL")
	reset.do("SCRIPT", "FLUSH")
	for _, line := range c.lines { // all connections exist from the start
		open(line[:1])
	}
	var got []string
	for i, line := range c.lines {
		name, text := line[:1], strings.TrimSpace(line[2:])
		add := func(name, m string) {
			got = append(got, fmt.Sprintf("%d> %s %s", i+1, name, normal(text, m)))
		}
		contractLine(t, conns[name], text, func(m string) { add(name, m) })
		for _, n := range names {
			for _, m := range conns[n].sync() {
				add(n, m)
			}
		}
	}
	for _, rc := range conns {
		rc.c.Close()
	}
	return got
}

// contractLine sends what a line says and reads the replies it knows will come.
func contractLine(t *testing.T, rc *rawClient, text string, add func(string)) {
	t.Helper()
	if text == "!push" {
		add(rc.read())
		return
	}
	if rest, ok := strings.CutPrefix(text, "!until "); ok {
		cmd, want, _ := strings.Cut(rest, " = ")
		for end := time.Now().Add(patience); ; {
			if got := rc.do(fields(t, cmd)...); got == want {
				return
			} else if time.Now().After(end) {
				t.Fatalf("%s = %s, want %s", cmd, got, want)
			}
		}
	}
	var cmds [][]string
	replies := 0
	for _, cmd := range strings.Split(text, " | ") {
		args := fields(t, cmd)
		cmds = append(cmds, args)
		if !strings.HasSuffix(strings.ToUpper(args[0]), "SUBSCRIBE") {
			replies++ // subscriptions are confirmed by pushes, which sync collects
		}
	}
	rc.send(cmds...)
	for replies > 0 {
		m := rc.read()
		add(m)
		if !strings.HasPrefix(m, ">") {
			replies--
		}
	}
}

// fields splits a command: plain words and Go strings.
func fields(t *testing.T, cmd string) []string {
	t.Helper()
	var args []string
	for cmd = strings.TrimSpace(cmd); cmd != ""; cmd = strings.TrimSpace(cmd) {
		if cmd[0] == '"' || cmd[0] == '`' {
			q, err := strconv.QuotedPrefix(cmd)
			if err != nil {
				t.Fatalf("bad argument in %s", cmd)
			}
			a, _ := strconv.Unquote(q)
			args, cmd = append(args, a), cmd[len(q):]
			continue
		}
		word, rest, _ := strings.Cut(cmd, " ")
		args, cmd = append(args, word), rest
	}
	return args
}

var (
	inScript = regexp.MustCompile(` script: .*$`)
	integers = regexp.MustCompile(`:\d+`)
)

// normal removes what may differ between servers that agree: where in a script
// an error happened, the time between two commands, and two texts that Valkey has
// changed.
func normal(cmd, m string) string {
	m = inScript.ReplaceAllString(m, "")
	m = strings.ReplaceAll(m, " Please use EVAL.", "")                    // Redis only
	m = strings.ReplaceAll(m, "calling Redis command", "calling command") // Redis only
	if strings.Contains(cmd, "TTL") || strings.Contains(cmd, "EXPIRETIME") {
		m = integers.ReplaceAllStringFunc(m, func(s string) string {
			n, _ := strconv.Atoi(s[1:])
			if n < 1000 {
				return s
			}
			return fmt.Sprintf(":%d", (n+999)/1000*1000)
		})
	}
	return m
}

// updateContract writes the file anew. Comments are kept.
func updateContract(t *testing.T, cases []contractCase, dial dialFunc) {
	t.Helper()
	got := map[string][]string{}
	for _, c := range cases {
		got[c.name] = runContract(t, c, dial)
	}
	b, err := os.ReadFile(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	name, n := "", 0
	for _, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if strings.HasPrefix(line, ">") {
			continue
		}
		out.WriteString(line + "\n")
		if s, ok := strings.CutPrefix(line, "== "); ok {
			name, n = s, 0
		} else if line != "" && !strings.HasPrefix(line, "#") && name != "" {
			n++
			for _, g := range got[name] {
				if rest, ok := strings.CutPrefix(g, strconv.Itoa(n)+">"); ok {
					out.WriteString(">" + rest + "\n")
				}
			}
		}
	}
	if err := os.WriteFile(contractFile, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startReal runs a server of its own on a free loopback port for this test. No
// binary is a skip, or a failure with RC_REQUIRE_REDIS=1.
func startReal(t *testing.T, binary string) dialFunc {
	t.Helper()
	path, err := exec.LookPath(binary)
	if err != nil {
		if os.Getenv("RC_REQUIRE_REDIS") == "1" {
			t.Fatalf("RC_REQUIRE_REDIS=1, but: %v", err)
		}
		t.Skipf("SKIPPED: the fake is NOT compared with %s: %v", binary, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	cmd := exec.Command(path, "--port", strconv.Itoa(at.Port), "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "no", "--dir", t.TempDir(), "--daemonize", "no", "--logfile", "")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	log := bufio.NewScanner(out)
	ready := false
	for !ready && log.Scan() {
		ready = strings.Contains(log.Text(), "Ready to accept connections")
	}
	if !ready {
		t.Fatalf("%s ended before it was ready", binary)
	}
	go func() { // so that the server never blocks on its log; ends with the process
		for log.Scan() {
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", at.String())
	}
}

package localredis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/fleetcache/fleetcache/internal/busproxy"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

const confName = "node.conf"

// machine is a server process and what outlives it: its ports, directory,
// configuration and log.
type machine struct {
	name    string // of the binary
	args    []string
	addr    redisnode.Address
	busPort int // the node's own; addr.Bus may be the proxy's
	tls     bool
	home    *dataDir
	held    []*reservation
	proxy   *busproxy.Proxy // nil for none
	out     *tail

	mu   sync.Mutex // protects the fields below
	proc *process   // the last one; nil before the first run
	id   string     // cluster node id
}

// writeFiles writes the configuration, with data as the directory that the
// server works in, and the files beside it.
func (p *machine) writeFiles(spec redisnode.MachineSpec, data string) error {
	dir := p.home.path
	quoted := redisnode.Quote(dir)
	replace := strings.NewReplacer("${DIR}", quoted[1:len(quoted)-1])
	lines := p.ownLines(spec.Role, data)
	for _, line := range spec.Lines {
		lines = append(lines, replace.Replace(line))
	}
	for name, content := range spec.Files {
		if filepath.Base(name) != name {
			return fmt.Errorf("localredis: file %q: want a name without a directory", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return fmt.Errorf("localredis: %w", err)
		}
	}
	conf := filepath.Join(dir, confName)
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("localredis: %w", err)
	}
	p.args = []string{conf}
	if spec.Role == redisnode.SentinelNode {
		p.args = append(p.args, "--sentinel")
	}
	return nil
}

// ownLines are the lines about where the server is.
func (p *machine) ownLines(role redisnode.Role, data string) []string {
	port := strconv.Itoa(p.addr.Port)
	lines := []string{"port " + port}
	if p.tls {
		lines = []string{"port 0", "tls-port " + port}
	}
	lines = append(lines,
		"bind 127.0.0.1",
		"dir "+redisnode.Quote(data),
		`logfile ""`,
	)
	if role != redisnode.ClusterNode {
		return lines
	}
	return append(lines,
		"cluster-port "+strconv.Itoa(p.busPort),
		"cluster-announce-ip "+p.addr.IP,
		"cluster-announce-bus-port "+strconv.Itoa(p.addr.Bus),
	)
}

func (p *machine) Announced() redisnode.Address { return p.addr }

func (p *machine) Addr() string { return p.addr.String() }

func (p *machine) Name() string { return filepath.Base(p.name) }

func (p *machine) Log(n int) string { return p.out.last(n) }

func (p *machine) Run(context.Context) error {
	if proc := p.process(); proc != nil && !proc.exited() {
		return errors.New("it runs already")
	}
	proc, err := startProcess(p.name, p.args, p.out)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proc = proc
	return nil
}

// process returns the last process, nil before the first run.
func (p *machine) process() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc
}

func (p *machine) Exited() (bool, error) {
	proc := p.process()
	if proc == nil || !proc.exited() {
		return false, nil
	}
	return true, proc.err
}

func (p *machine) Pid() int {
	proc := p.process()
	if proc == nil {
		return 0
	}
	// Also after its end: a server that answers then is another one.
	return proc.os.Pid
}

// Kill blocks until the process is gone. A process that has got SIGKILL does not
// keep anybody waiting, so ctx is not needed.
func (p *machine) Kill(context.Context) error {
	proc := p.process()
	if proc == nil {
		return nil
	}
	return proc.kill()
}

func (p *machine) Freeze(ctx context.Context) error {
	proc, err := p.running()
	if err != nil {
		return err
	}
	if err := proc.freeze(); err != nil {
		return err
	}
	return awaitFrozen(ctx, proc.os.Pid)
}

func (p *machine) Thaw(context.Context) error {
	proc, err := p.running()
	if err != nil {
		return err
	}
	return proc.thaw()
}

func (p *machine) running() (*process, error) {
	proc := p.process()
	if proc == nil || proc.exited() {
		return nil, errors.New("its process does not run")
	}
	return proc, nil
}

// Remove kills the process, gives up the ports, and removes the directory.
func (p *machine) Remove() {
	// An error means that the process cannot be signalled, which for a child of
	// ours means that it is gone.
	_ = p.Kill(context.Background())
	if p.proxy != nil {
		p.proxy.Close()
	}
	for _, r := range p.held {
		r.free()
	}
	p.home.remove()
}

// SetNodeID tells the proxy which node is behind it.
func (p *machine) SetNodeID(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id = id
	if p.proxy != nil {
		p.proxy.SetID(id)
	}
}

func (p *machine) nodeID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id
}

package localredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/fleetcache/fleetcache/internal/busproxy"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// MakerConfig describes what [NewMaker] makes. MakerConfig{} runs Redis.
type MakerConfig struct {
	// Binary is the server to run: a name on PATH, or a path.
	//
	// Defaults to Redis.
	Binary string

	// DirectBus makes cluster nodes talk to each other directly, and not through
	// proxies in this process. They can then not be isolated, and do not depend
	// on this process being scheduled.
	DirectBus bool

	// Log receives everything the servers print, one Write at a time. It must
	// not block: a server waits for its log to be read.
	//
	// Defaults to none.
	Log io.Writer
}

// maker makes processes on this machine.
type maker struct {
	cfg     MakerConfig
	log     io.Writer                    // serialized cfg.Log; nil for none
	dir     string                       // data directory for the one machine; "" for temporary ones
	reserve func() (*reservation, error) // reservePort, except in tests

	mu     sync.Mutex       // protects the fields below
	sw     *busproxy.Switch // nil until the first proxy is needed
	closed bool
}

// NewMaker returns the backend that runs servers as processes on this machine.
// It fails when there is no such server.
func NewMaker(cfg MakerConfig) (redisnode.Maker, error) { return newMaker(cfg) }

func newMaker(cfg MakerConfig) (*maker, error) {
	cfg.Binary = string(Flavor(cfg.Binary).orRedis())
	if _, err := exec.LookPath(cfg.Binary); err != nil {
		return nil, fmt.Errorf("localredis: %w: %s", err, Flavor(cfg.Binary).hint())
	}
	m := &maker{cfg: cfg, reserve: reservePort}
	if cfg.Log != nil {
		m.log = &lockedWriter{w: cfg.Log}
	}
	return m, nil
}

// Name returns "local" and the file name of the server.
func (m *maker) Name() string { return "local " + filepath.Base(m.cfg.Binary) }

// Make reserves ports, makes a directory and writes the configuration file.
func (m *maker) Make(ctx context.Context, spec redisnode.MachineSpec) (redisnode.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("localredis: make a %s: %w", spec.Role, err)
	}
	p := &machine{name: m.cfg.Binary, out: &tail{copyTo: m.log}, tls: spec.TLS}
	if err := m.prepare(p, spec); err != nil {
		p.Remove()
		return nil, err
	}
	return p, nil
}

func (m *maker) prepare(p *machine, spec redisnode.MachineSpec) (err error) {
	if p.home, err = newDataDir(); err != nil {
		return err
	}
	if p.addr.Port, err = m.hold(p); err != nil {
		return err
	}
	p.addr.IP = "127.0.0.1"
	if spec.Role == redisnode.ClusterNode {
		if p.busPort, err = m.hold(p); err != nil {
			return err
		}
		p.addr.Bus = p.busPort
		if err := m.stand(p); err != nil {
			return err
		}
	}
	data := p.home.path
	if m.dir != "" {
		if data, err = filepath.Abs(m.dir); err != nil {
			return fmt.Errorf("localredis: %w", err)
		}
	}
	return p.writeFiles(spec, data)
}

// hold reserves a port for p.
func (m *maker) hold(p *machine) (int, error) {
	r, err := m.reserve()
	if err != nil {
		return 0, fmt.Errorf("localredis: %w", err)
	}
	p.held = append(p.held, r)
	return r.port, nil
}

// stand puts a proxy in front of the bus port of p, unless that is not wanted,
// or of no use: the proxy could not read who connects with TLS.
func (m *maker) stand(p *machine) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errors.New("localredis: the maker is closed")
	}
	if m.cfg.DirectBus || p.tls {
		return nil
	}
	if m.sw == nil {
		m.sw = busproxy.New()
	}
	if p.proxy, err = m.sw.Add(p.busPort); err != nil {
		return fmt.Errorf("localredis: %w", err)
	}
	p.addr.Bus = p.proxy.Port()
	return nil
}

// IsolatesBusOnly reports true: replication uses the client port, in front of
// which there is no proxy.
func (m *maker) IsolatesBusOnly() bool { return true }

// Isolate cuts the cluster bus between group and all other cluster nodes.
func (m *maker) Isolate(_ context.Context, group []redisnode.Machine) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := make([]string, 0, len(group))
	for _, g := range group {
		p, ok := g.(*machine)
		switch {
		case !ok || p.busPort == 0:
			return fmt.Errorf("localredis: %s is no cluster node, and only the links of these can be cut "+
				"between local processes; use the docker backend: %w", g.Announced(), errors.ErrUnsupported)
		case p.tls:
			return fmt.Errorf("localredis: with TLS nobody can see whose link is whose between local processes; "+
				"use the docker backend, or no TLS: %w", errors.ErrUnsupported)
		case p.proxy == nil:
			return fmt.Errorf("localredis: %s has no proxy on its bus (DirectBus): %w",
				p.addr, errors.ErrUnsupported)
		}
		ids = append(ids, p.nodeID())
	}
	m.sw.Cut(ids...)
	return nil
}

// Heal ends what Isolate did.
func (m *maker) Heal(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sw != nil {
		m.sw.Heal()
	}
	return nil
}

// Close closes the proxies. Afterwards no cluster node can be made.
func (m *maker) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.sw != nil {
		m.sw.Close()
	}
	return nil
}

// lockedWriter lets several servers share a writer.
type lockedWriter struct {
	mu sync.Mutex // held while writing
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

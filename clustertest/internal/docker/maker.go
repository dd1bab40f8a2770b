package docker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// DefaultImage is the image of nodes when [Config] names none.
const DefaultImage = "redis:8"

// tidyTimeout bounds calls that clean up, which have to be made even when the
// caller's context has ended.
const tidyTimeout = 30 * time.Second

// Config describes the containers of a deployment. Config{} runs DefaultImage.
type Config struct {
	// Image is the image every node runs. It is pulled if it is not there.
	//
	// Defaults to DefaultImage.
	Image string

	// Binary is the server program in the image.
	//
	// Defaults to the one that the image's own command runs.
	Binary string

	// Log receives what the servers print, and what testcontainers has to say.
	// It is written to by one goroutine at a time.
	//
	// Defaults to nowhere.
	Log io.Writer
}

// Maker makes containers on one network. [NewMaker] makes one.
type Maker struct {
	provider *testcontainers.DockerProvider
	api      client.APIClient
	image    string
	binary   string
	tools    string    // image that has ip, for nodes' images that have none
	log      io.Writer // nil for none
	session  string    // in the name and a label of all that is made here
	host     string    // where published ports are reached
	bind     netip.Addr
	bus      bus

	// cutMu is held while routes are changed. It is taken before mu and before
	// Container.mu.
	cutMu   sync.Mutex
	group   map[*Container]bool // isolated from the rest; nil for no cut
	routing routing             // where ip is to be had

	mu        sync.Mutex // protects the fields below
	addresses *addressPool
	machines  []*Container // not removed, in the order of Make
	made      int
	closed    bool
}

var _ redisnode.Maker = (*Maker)(nil)

// NewMaker finds the daemon, pulls the image if it has to, and makes a network.
// It blocks until ctx ends at most. Nothing is left behind after an error.
func NewMaker(ctx context.Context, cfg Config) (redisnode.Maker, error) {
	m, err := newMaker(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func newMaker(ctx context.Context, cfg Config) (_ *Maker, err error) {
	m := &Maker{
		session: strings.ToLower(rand.Text()[:10]),
		tools:   cmp.Or(os.Getenv(toolsVariable), defaultTools),
	}
	if cfg.Log != nil {
		m.log = &lockedWriter{out: cfg.Log}
	}
	if m.provider, err = connect(ctx, m.log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	m.api = m.provider.Client()
	sweepOnce.Do(func() { m.note(sweep(ctx, m.api)) })
	name, command, err := ensureImage(ctx, m.provider, cmp.Or(cfg.Image, DefaultImage))
	if err != nil {
		return nil, fmt.Errorf("docker: %w; choose another with Topology.Image or CLUSTERTEST_IMAGE", err)
	}
	m.image, m.binary = name, cmp.Or(cfg.Binary, serverIn(name, command))
	if m.host, m.bind, err = reachable(ctx, m.provider); err != nil {
		return nil, err
	}
	if m.bus, err = createBus(ctx, m.api, m.name("net"), m.labels()); err != nil {
		return nil, err
	}
	m.addresses = newAddressPool(m.bus.subnet)
	return m, nil
}

// reachable returns the host at which published ports are reached, and the
// address they are to be published at. Ports that only this host needs are not
// offered to others.
func reachable(ctx context.Context, p *testcontainers.DockerProvider) (string, netip.Addr, error) {
	host, err := p.DaemonHost(ctx)
	if err != nil {
		return "", netip.Addr{}, fmt.Errorf("docker: find the daemon's host: %w", err)
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return loopback.String(), loopback, nil
	}
	return host, netip.IPv4Unspecified(), nil
}

// Name implements [redisnode.Maker].
func (m *Maker) Name() string { return "docker " + m.image }

// name returns the name of a container or network of this maker.
func (m *Maker) name(what string) string { return "clustertest-" + m.session + "-" + what }

// labels returns a new map with the labels of what is made here.
func (m *Maker) labels() map[string]string {
	labels := thisProcess().labels()
	labels[labelSession] = m.session
	testcontainers.AddGenericLabels(labels)
	return labels
}

// note writes an error that nobody can be given to the log.
func (m *Maker) note(err error) {
	if err != nil && m.log != nil {
		_, _ = fmt.Fprintln(m.log, err)
	}
}

// Make implements [redisnode.Maker]: it creates a container with an address of
// its own and puts the configuration into it. It may be called concurrently.
func (m *Maker) Make(ctx context.Context, spec redisnode.MachineSpec) (redisnode.Machine, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, errors.New("docker: Make after Close")
	}
	ip, err := m.addresses.take()
	m.made++
	number := m.made
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c := &Container{maker: m, spec: spec, ip: ip, name: m.name(fmt.Sprintf("%02d", number))}
	if err := c.create(ctx); err != nil {
		m.release(c)
		return nil, err
	}
	m.mu.Lock()
	m.machines = append(m.machines, c)
	closed := m.closed
	m.mu.Unlock()
	if closed {
		c.Remove()
		return nil, errors.New("docker: Close during Make")
	}
	return c, nil
}

// release forgets a container and makes its address free.
func (m *Maker) release(c *Container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addresses.giveBack(c.ip)
	m.machines = slices.DeleteFunc(m.machines, func(o *Container) bool { return o == c })
}

// all returns the containers that have not been removed.
func (m *Maker) all() []*Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.machines)
}

// Close implements [redisnode.Maker]. It removes machines that are still there,
// the network, and what failed calls may have left behind. A Close that failed
// may be repeated.
func (m *Maker) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range m.all() {
		wg.Go(c.Remove)
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	defer cancel()
	err := removeLabelled(ctx, m.api, labelSession+"="+m.session, func(map[string]string) bool { return true })
	return errors.Join(err, m.provider.Close())
}

// lockedWriter is a writer for several goroutines.
type lockedWriter struct {
	mu  sync.Mutex // protects out
	out io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

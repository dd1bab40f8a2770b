package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// logKept is how much of the log is kept when a container is removed, in bytes.
const logKept = 128 << 10

// Container is one server in a container. [Maker.Make] makes one.
type Container struct {
	maker *Maker
	spec  redisnode.MachineSpec
	ip    netip.Addr // on the maker's network
	name  string
	id    string                   // set by create
	made  testcontainers.Container // the same, to testcontainers

	mu      sync.Mutex // protects the fields below
	addr    string     // of the published port; empty before the first Run
	run     *run       // the last one; nil before the first
	runs    int        // so far
	paused  bool
	removed bool
	kept    string // the end of the log, once removed
}

var _ redisnode.Machine = (*Container)(nil)

// Announced implements [redisnode.Machine]: the address on the maker's network.
func (c *Container) Announced() redisnode.Address {
	a := redisnode.Address{IP: c.ip.String(), Port: portOf(c.spec.Role)}
	if c.spec.Role == redisnode.ClusterNode {
		a.Bus = a.Port + busOffset
	}
	return a
}

// Addr implements [redisnode.Machine]. It is empty before the first Run, and
// what it was until the next Run when the container has ended.
func (c *Container) Addr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addr
}

// Name implements [redisnode.Machine].
func (c *Container) Name() string {
	return fmt.Sprintf("%s container %s", c.maker.image, cmp.Or(short(c.id), c.name))
}

// Pid implements [redisnode.Machine]. The server is the first process of its
// container.
func (c *Container) Pid() int {
	if c.running() == nil {
		return 0
	}
	return 1
}

// Exited implements [redisnode.Machine].
func (c *Container) Exited() (exited bool, err error) {
	c.mu.Lock()
	r := c.run
	c.mu.Unlock()
	if r == nil || !r.ended() {
		return false, nil
	}
	return true, r.err
}

// running returns the current run, frozen or not, or nil if there is none.
func (c *Container) running() *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil || c.run.ended() {
		return nil
	}
	return c.run
}

func (c *Container) frozen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// create makes the container. After an error there is none.
func (c *Container) create(ctx context.Context) error {
	m := c.maker
	files, err := archive(configuration(c.spec, c.Announced()), c.spec.Files)
	if err != nil {
		return err
	}
	c.made, err = m.provider.CreateContainer(ctx, c.request(func(ctx context.Context, made testcontainers.Container) error {
		_, err := m.api.CopyToContainer(ctx, made.GetContainerID(),
			client.CopyToContainerOptions{DestinationPath: "/", Content: files})
		return err
	}))
	if err == nil {
		c.id = c.made.GetContainerID()
		return nil
	}
	// The daemon may have made it before ctx ended or a later step failed.
	m.tidy(func(ctx context.Context) error { return removeContainer(ctx, m.api, c.name) })
	if strings.Contains(err.Error(), "reaper") {
		return fmt.Errorf("docker: create node from %s: %w (set TESTCONTAINERS_RYUK_DISABLED=true to do without testcontainers' own cleanup)", m.image, err)
	}
	return fmt.Errorf("docker: create node from %s: %w", m.image, err)
}

// request describes the container to testcontainers. There is no wait strategy:
// the caller knows better when a server is ready. created is called before the
// container is started.
func (c *Container) request(created testcontainers.ContainerHook) testcontainers.ContainerRequest {
	m := c.maker
	port := network.MustParsePort(fmt.Sprintf("%d/tcp", portOf(c.spec.Role)))
	command := []string{m.binary, homeDir + "/" + confName}
	if c.spec.Role == redisnode.SentinelNode {
		command = append(command, "--sentinel")
	}
	return testcontainers.ContainerRequest{
		Image:        m.image,
		Name:         c.name,
		Labels:       m.labels(),
		Entrypoint:   command,
		ExposedPorts: []string{port.String()},
		ConfigModifier: func(cfg *container.Config) {
			// Images differ in the user they run as, and in who owns what.
			cfg.User = "0"
		},
		HostConfigModifier: func(host *container.HostConfig) {
			host.NetworkMode = container.NetworkMode(m.bus.name)
			host.PortBindings = network.PortMap{port: {{HostIP: m.bind}}}
			host.CapAdd = []string{"NET_ADMIN"}                     // for Isolate
			host.LogConfig = container.LogConfig{Type: "json-file"} // readable whatever the daemon's default
		},
		EndpointSettingsModifier: func(endpoints map[string]*network.EndpointSettings) {
			// Older daemons take one network here.
			clear(endpoints)
			endpoints[m.bus.name] = &network.EndpointSettings{
				NetworkID:  m.bus.id,
				IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: c.ip},
			}
		},
		LifecycleHooks: []testcontainers.ContainerLifecycleHooks{{
			PostCreates: []testcontainers.ContainerHook{created},
		}},
	}
}

// Run implements [redisnode.Machine].
func (c *Container) Run(ctx context.Context) error {
	if c.running() != nil {
		return fmt.Errorf("docker: %s runs already", c.Name())
	}
	c.mu.Lock()
	removed := c.removed
	c.mu.Unlock()
	if removed {
		return fmt.Errorf("docker: %s is removed", c.Name())
	}
	c.dropSidecar() // of a run that has ended by itself
	if _, err := c.maker.api.ContainerStart(ctx, c.id, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("docker: start %q in %s: %w", c.maker.binary, c.Name(), err)
	}
	c.mu.Lock()
	c.runs++
	c.run, c.paused = c.watch(c.runs), false
	c.mu.Unlock()
	err := c.resolve(ctx)
	if err == nil {
		err = c.maker.rerouteAfterRun(ctx)
	}
	if err != nil {
		c.maker.tidy(c.Kill)
	}
	return err
}

// resolve finds out where the client port is published: docker chooses another
// one at every start. A server that has exited has none.
func (c *Container) resolve(ctx context.Context) error {
	found, err := c.maker.api.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{})
	if err != nil {
		return fmt.Errorf("docker: inspect %s: %w", c.Name(), err)
	}
	if found.Container.NetworkSettings == nil {
		return nil
	}
	for port, bindings := range found.Container.NetworkSettings.Ports {
		if int(port.Num()) == portOf(c.spec.Role) && len(bindings) > 0 {
			c.mu.Lock()
			c.addr = net.JoinHostPort(c.maker.host, bindings[0].HostPort)
			c.mu.Unlock()
		}
	}
	return nil
}

// Kill implements [redisnode.Machine].
func (c *Container) Kill(ctx context.Context) error {
	r := c.running()
	if r == nil {
		return nil
	}
	_, err := c.maker.api.ContainerKill(ctx, c.id, client.ContainerKillOptions{Signal: "SIGKILL"})
	// A conflict means that it has ended by itself just now.
	if err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
		return fmt.Errorf("docker: kill %s: %w", c.Name(), err)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("docker: kill %s: it has not ended: %w", c.Name(), context.Cause(ctx)), err)
	}
	c.mu.Lock()
	c.paused = false
	c.mu.Unlock()
	c.dropSidecar()
	return nil
}

// Freeze implements [redisnode.Machine]: the kernel stops every process of the
// container, and goes on accepting connections and acknowledging data.
func (c *Container) Freeze(ctx context.Context) error { return c.pause(ctx, true) }

// Thaw implements [redisnode.Machine].
func (c *Container) Thaw(ctx context.Context) error { return c.pause(ctx, false) }

func (c *Container) pause(ctx context.Context, pause bool) (err error) {
	if c.running() == nil {
		return fmt.Errorf("docker: %s does not run", c.Name())
	}
	// A command that changes routes inside the container must not be frozen with
	// it.
	c.maker.cutMu.Lock()
	defer c.maker.cutMu.Unlock()
	switch {
	case c.frozen() == pause:
		return nil
	case pause:
		_, err = c.maker.api.ContainerPause(ctx, c.id, client.ContainerPauseOptions{})
	default:
		_, err = c.maker.api.ContainerUnpause(ctx, c.id, client.ContainerUnpauseOptions{})
	}
	if err != nil {
		return fmt.Errorf("docker: pause or resume %s: %w", c.Name(), err)
	}
	c.mu.Lock()
	c.paused = pause
	c.mu.Unlock()
	return nil
}

// Remove implements [redisnode.Machine]. What cannot be removed is tried again
// by [Maker.Close].
func (c *Container) Remove() {
	c.mu.Lock()
	removed := c.removed
	c.removed = true
	c.mu.Unlock()
	if removed {
		return
	}
	c.maker.tidy(c.Kill)
	c.dropSidecar()
	log := c.fetchLog(logKept)
	c.mu.Lock()
	c.kept = log
	r := c.run
	c.mu.Unlock()
	c.maker.tidy(func(ctx context.Context) error { return terminate(ctx, c.made) })
	if r != nil {
		r.stop()
	}
	c.maker.release(c)
}

// dropSidecar removes the container beside the last run, if there is one. It
// would keep the network namespace of that run alive.
func (c *Container) dropSidecar() {
	var sidecar testcontainers.Container
	c.mu.Lock()
	if c.run != nil {
		sidecar, c.run.sidecar = c.run.sidecar, nil
	}
	c.mu.Unlock()
	if sidecar != nil {
		c.maker.tidy(func(ctx context.Context) error { return terminate(ctx, sidecar) })
	}
}

// terminate removes a container by way of testcontainers, which has a connection
// to Ryuk to give up for each.
func terminate(ctx context.Context, made testcontainers.Container) error {
	err := made.Terminate(ctx, testcontainers.StopTimeout(0))
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("docker: remove container %s: %w", short(made.GetContainerID()), err)
	}
	return nil
}

// tidy does something that must be done whether or not the caller's context has
// ended, and notes an error.
func (m *Maker) tidy(do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	defer cancel()
	m.note(do(ctx))
}

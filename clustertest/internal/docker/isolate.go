package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// toolsVariable names the environment variable with the image that is used to
// change routes when the nodes' image has no ip; defaultTools is used without it.
const (
	toolsVariable = "CLUSTERTEST_TOOLS_IMAGE"
	defaultTools  = "busybox:1"
)

// settleTime is how long the daemon may take to notice that a server has ended
// whose container refuses commands.
const settleTime = time.Second

// routing says where the ip program is to be had.
type routing int

const (
	routingUnknown routing = iota
	routingInside          // in the nodes' image
	routingOutside         // in the tools image
)

// containersOf returns group as containers of m.
func (m *Maker) containersOf(group []redisnode.Machine) (map[*Container]bool, error) {
	set := make(map[*Container]bool, len(group))
	for _, machine := range group {
		c, ok := machine.(*Container)
		if !ok || c.maker != m {
			return nil, fmt.Errorf("docker: %s is not a machine of this deployment", machine.Name())
		}
		set[c] = true
	}
	return set, nil
}

// Isolate implements [redisnode.Maker]. Machines that do not run are cut off when
// they do, machines that are frozen at once. After an error some links may be
// cut and others not, until Heal.
func (m *Maker) Isolate(ctx context.Context, group []redisnode.Machine) error {
	set, err := m.containersOf(group)
	if err != nil {
		return err
	}
	m.cutMu.Lock()
	defer m.cutMu.Unlock()
	m.group = set
	return m.reroute(ctx)
}

// Heal implements [redisnode.Maker].
func (m *Maker) Heal(ctx context.Context) error {
	m.cutMu.Lock()
	defer m.cutMu.Unlock()
	m.group = nil
	return m.reroute(ctx)
}

// rerouteAfterRun brings the cut to a machine that has just been started: its
// network namespace is new.
func (m *Maker) rerouteAfterRun(ctx context.Context) error {
	m.cutMu.Lock()
	defer m.cutMu.Unlock()
	if len(m.group) == 0 {
		return nil
	}
	return m.reroute(ctx)
}

// blackholes returns the addresses that c must not reach.
func (m *Maker) blackholes(c *Container, all []*Container) map[netip.Addr]bool {
	want := make(map[netip.Addr]bool)
	if len(m.group) == 0 {
		return want
	}
	for _, o := range all {
		if m.group[o] != m.group[c] {
			want[o.ip] = true
		}
	}
	return want
}

// addedAndGone returns what is in want alone and what is in have alone, sorted.
func addedAndGone(want, have map[netip.Addr]bool) (added, gone []netip.Addr) {
	for ip := range want {
		if !have[ip] {
			added = append(added, ip)
		}
	}
	for ip := range have {
		if !want[ip] {
			gone = append(gone, ip)
		}
	}
	slices.SortFunc(added, netip.Addr.Compare)
	slices.SortFunc(gone, netip.Addr.Compare)
	return added, gone
}

// union returns the addresses of both.
func union(a, b map[netip.Addr]bool) map[netip.Addr]bool {
	both := maps.Clone(a)
	if both == nil {
		both = make(map[netip.Addr]bool, len(b))
	}
	maps.Copy(both, b)
	return both
}

// reroute makes the routes of every machine that runs, frozen or not, what the
// cut demands. It needs cutMu to be held.
func (m *Maker) reroute(ctx context.Context) error {
	all := m.all()
	m.probe(ctx, all)
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() { errs[i] = m.rerouteOne(ctx, c, m.blackholes(c, all)) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// rerouteOne changes the routes of c in one go. It needs cutMu to be held.
func (m *Maker) rerouteOne(ctx context.Context, c *Container, want map[netip.Addr]bool) error {
	r := c.running()
	if r == nil {
		return nil // Run does it
	}
	added, gone := addedAndGone(want, r.blackholes)
	if len(added)+len(gone) == 0 {
		return nil
	}
	// Should the script fail in the middle, Heal has to take back all of it.
	r.blackholes = union(want, r.blackholes)
	err := m.execIn(ctx, c, r, routeScript(added, gone))
	if err == nil {
		r.blackholes = want
		return nil
	}
	// The server may be being killed: then the namespace goes, and its routes with
	// it.
	select {
	case <-r.done:
		return nil
	case <-time.After(settleTime):
	case <-ctx.Done():
	}
	return fmt.Errorf("docker: change routes of %s: %w", c.Name(), err)
}

// routeScript returns shell commands that leave a node with the blackhole routes
// added and without those gone. Taking back a route that is not there, after an
// earlier failure, is fine.
func routeScript(added, gone []netip.Addr) string {
	script := []string{"set -e"}
	for _, ip := range added {
		script = append(script, fmt.Sprintf("ip route replace blackhole %s/32", ip))
	}
	for _, ip := range gone {
		script = append(script, fmt.Sprintf("ip route del blackhole %s/32 2>/dev/null || true", ip))
	}
	return strings.Join(script, "\n")
}

// probe finds out, once, whether the nodes' image has sh and ip. It needs cutMu
// to be held.
func (m *Maker) probe(ctx context.Context, all []*Container) {
	for _, c := range all {
		if m.routing != routingUnknown {
			return
		}
		if c.running() == nil || c.frozen() {
			continue // nothing can be run in it
		}
		switch err := m.exec(ctx, c.id, "command -v ip"); {
		case err == nil:
			m.routing = routingInside
		case ctx.Err() == nil && c.running() != nil:
			m.routing = routingOutside
		}
	}
}

// execIn runs a shell script in the network namespace of c: in c itself if its
// image has the means, else in a container beside it. Nothing can be run inside
// a frozen container.
func (m *Maker) execIn(ctx context.Context, c *Container, r *run, script string) error {
	if m.routing == routingInside && !c.frozen() {
		return m.exec(ctx, c.id, script)
	}
	id, err := c.ensureSidecar(ctx, r)
	if err != nil {
		return err
	}
	return m.exec(ctx, id, script)
}

// ensureSidecar returns the id of the container that shares the network
// namespace of r, and makes it the first time. It needs cutMu to be held.
func (c *Container) ensureSidecar(ctx context.Context, r *run) (string, error) {
	c.mu.Lock()
	sidecar := r.sidecar
	c.mu.Unlock()
	if sidecar != nil {
		return sidecar.GetContainerID(), nil
	}
	m := c.maker
	image := m.tools
	if m.routing == routingInside {
		image = m.image
	}
	name := fmt.Sprintf("%s-net%d", c.name, r.number)
	made, err := m.provider.CreateContainer(ctx, testcontainers.ContainerRequest{
		Image:  image,
		Name:   name,
		Labels: m.labels(),
		// A shell waits for input that never comes.
		Entrypoint: []string{"sh"},
		ConfigModifier: func(cfg *container.Config) {
			cfg.OpenStdin = true
			cfg.User = "0"
		},
		HostConfigModifier: func(host *container.HostConfig) {
			host.NetworkMode = container.NetworkMode("container:" + c.id)
			host.CapAdd = []string{"NET_ADMIN"}
		},
	})
	if err == nil {
		err = made.Start(ctx)
	}
	if err != nil {
		m.tidy(func(ctx context.Context) error { return removeContainer(ctx, m.api, name) })
		return "", fmt.Errorf("run ip from image %q, because %s has none (choose another image with %s): %w",
			image, m.image, toolsVariable, err)
	}
	c.mu.Lock()
	r.sidecar = made
	c.mu.Unlock()
	return made.GetContainerID(), nil
}

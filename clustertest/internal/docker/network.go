package docker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// subnetAttempts bounds the search for a subnet that docker accepts. Only other
// processes that choose the same one at the same moment get in the way.
const subnetAttempts = 20

// bus is the network of one maker.
type bus struct {
	id     string
	name   string
	subnet netip.Prefix
}

// createBus makes a bridge network with a subnet of its own: docker gives static
// addresses only in subnets that were asked for.
func createBus(ctx context.Context, api client.APIClient, name string, labels map[string]string) (bus, error) {
	for attempt := 1; ; attempt++ {
		taken, err := takenSubnets(ctx, api)
		if err != nil {
			return bus{}, err
		}
		subnet, err := freeSubnet(taken)
		if err != nil {
			return bus{}, err
		}
		made, err := api.NetworkCreate(ctx, name, client.NetworkCreateOptions{
			Driver: "bridge",
			Labels: labels,
			IPAM: &network.IPAM{Config: []network.IPAMConfig{
				{Subnet: subnet, Gateway: subnet.Addr().Next()},
			}},
		})
		if err == nil {
			return bus{id: made.ID, name: name, subnet: subnet}, nil
		}
		if !strings.Contains(err.Error(), "overlap") || attempt == subnetAttempts {
			return bus{}, fmt.Errorf("docker: create network %s: %w", subnet, err)
		}
	}
}

// takenSubnets returns the subnets of docker's networks and of this host's
// interfaces.
func takenSubnets(ctx context.Context, api client.APIClient) ([]netip.Prefix, error) {
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return nil, fmt.Errorf("docker: list networks: %w", err)
	}
	var taken []netip.Prefix
	for _, n := range networks.Items {
		for _, c := range n.IPAM.Config {
			taken = append(taken, c.Subnet)
		}
	}
	// Without the list of interfaces a clash is unlikely as well.
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			taken = append(taken, p.Masked())
		}
	}
	return taken, nil
}

// freeSubnet returns a random /24 of 10.192.0.0/10 that overlaps none of taken.
// Docker's own choices begin at 172.17.0.0 and are few.
func freeSubnet(taken []netip.Prefix) (netip.Prefix, error) {
	for range 1 << 14 {
		third := rand.N(1 << 14)
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(192 + third>>8), byte(third), 0}), 24)
		if !overlapsAny(subnet, taken) {
			return subnet, nil
		}
	}
	return netip.Prefix{}, errors.New("docker: no free subnet in 10.192.0.0/10: remove unused networks (docker network prune)")
}

func overlapsAny(p netip.Prefix, others []netip.Prefix) bool {
	for _, o := range others {
		if o.IsValid() && p.Overlaps(o) {
			return true
		}
	}
	return false
}

// addressPool gives out the addresses of a subnet in turn, so that one that was
// given back is not at once somebody else's.
type addressPool struct {
	subnet netip.Prefix
	last   netip.Addr // given out last; zero for none
	used   map[netip.Addr]bool
}

func newAddressPool(subnet netip.Prefix) *addressPool {
	return &addressPool{subnet: subnet, used: make(map[netip.Addr]bool)}
}

// take returns an address that nobody has. The network address and the gateway,
// which are the first two, and the broadcast address are nobody's.
func (p *addressPool) take() (netip.Addr, error) {
	const hosts = 256 - 3
	first := p.subnet.Addr().Next().Next()
	next := p.last
	for range hosts {
		if next = next.Next(); !next.IsValid() || !p.subnet.Contains(next.Next()) {
			next = first
		}
		if !p.used[next] {
			p.used[next], p.last = true, next
			return next, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("docker: all %d addresses of network %s are in use", hosts, p.subnet)
}

func (p *addressPool) giveBack(addr netip.Addr) { delete(p.used, addr) }

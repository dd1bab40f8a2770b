package clustertest

import (
	"slices"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// Link returns the default link, which [Cluster.ClientOption] uses. Its faults
// hit every client that was made of it.
func (c *Cluster) Link() *Link { return c.link }

// NewLink returns another link, for a client whose network fails apart from that
// of others.
func (c *Cluster) NewLink() *Link {
	l := newLink(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.links = append(c.links, l)
	return l
}

// Export returns what another process needs to reach the deployment: JSON
// carries it, [NewLinkFrom] makes a link of it. With Docker it is out of date
// after a node was started again; see [Link.Update].
func (c *Cluster) Export() Exported {
	e := Exported{
		Mode:     c.topology.Mode,
		Nodes:    c.export(c.Nodes()),
		Password: c.topology.Password,
	}
	if c.auth != nil {
		e.CA = string(c.auth.ca)
	}
	if s, ok := c.deployment.(*redisnode.Sentinel); ok {
		e.Master = s.MasterName
		e.Sentinels = c.export(c.Sentinels())
	}
	return e
}

func (c *Cluster) export(nodes []*Node) []ExportedNode {
	list := make([]ExportedNode, len(nodes))
	for i, n := range nodes {
		list[i] = ExportedNode{Name: n.String(), Announced: n.Announced(), Reachable: n.Addr()}
	}
	return list
}

// resolve makes a Cluster the address book of its links. Nodes that were removed
// stay in it: a client may still ask for one, and is refused by nobody being
// there.
func (c *Cluster) resolve(announced string) (reach string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.known {
		if s.Announced().String() == announced {
			return s.Addr(), true
		}
	}
	return "", false
}

func (c *Cluster) allLinks() []*Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.links)
}

func (c *Cluster) healLinks() {
	for _, l := range c.allLinks() {
		l.Heal()
	}
}

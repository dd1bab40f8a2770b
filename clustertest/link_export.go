package clustertest

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
)

// Exported is what another process needs to reach a deployment: [Cluster.Export]
// fills it in, JSON carries it, [NewLinkFrom] makes a [Link] of it. It holds the
// password. A restarted node may be reachable at another address: send a new one
// to [Link.Update] after it.
type Exported struct {
	// Mode is the kind of deployment: in JSON "cluster", "replicated" or
	// "sentinel".
	Mode Mode `json:"mode"`

	// Nodes are the data servers. In Replicated mode the primary comes first.
	Nodes []ExportedNode `json:"nodes"`

	// Username and Password are those of clients. Empty means none.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`

	// CA is the certificate authority of the nodes, in PEM. Empty means that
	// they do not use TLS.
	CA string `json:"ca,omitempty"`

	// Master is the name by which sentinels know the primary, and Sentinels are
	// where to ask them. SentinelPassword is for the sentinels themselves,
	// empty if they want none. All three are for SentinelMode only.
	Master           string         `json:"master,omitempty"`
	Sentinels        []ExportedNode `json:"sentinels,omitempty"`
	SentinelPassword string         `json:"sentinel_password,omitempty"`
}

// ExportedNode is one server of an [Exported] deployment.
type ExportedNode struct {
	// Name is what messages call it.
	Name string `json:"name"`

	// Announced is the address that the servers give to clients, "ip:port". It
	// never changes.
	Announced string `json:"announced"`

	// Reachable is the address at which a process on this machine reaches it.
	// It may change when the node is restarted.
	Reachable string `json:"reachable"`
}

// MarshalText returns "cluster", "replicated" or "sentinel".
func (m Mode) MarshalText() ([]byte, error) {
	if !m.valid() {
		return nil, fmt.Errorf("clustertest: %s is no mode", m)
	}
	return []byte(m.String()), nil
}

// UnmarshalText accepts what [Mode.MarshalText] returns.
func (m *Mode) UnmarshalText(text []byte) error {
	i := slices.Index(modeNames, string(text))
	if i < 0 {
		return fmt.Errorf("clustertest: mode is %q, want one of %q", text, modeNames)
	}
	*m = Mode(i)
	return nil
}

// servers are all that have an address: nodes and sentinels.
func (e Exported) servers() []ExportedNode { return slices.Concat(e.Nodes, e.Sentinels) }

func (e Exported) validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case !e.Mode.valid():
		complain("field Mode is %d, want ClusterMode, Replicated or SentinelMode", int(e.Mode))
	case e.Mode == SentinelMode && (e.Master == "" || len(e.Sentinels) == 0):
		complain("field Master is %q and Sentinels has %d servers, want a name and at least 1 in %s mode",
			e.Master, len(e.Sentinels), e.Mode)
	}
	if len(e.Nodes) == 0 {
		complain("field Nodes is empty, want at least 1 node")
	}
	seen := map[string]bool{}
	for _, n := range e.servers() {
		for _, addr := range []string{n.Announced, n.Reachable} {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				complain("address %q of node %q is not host:port: %w", addr, n.Name, err)
			}
		}
		if seen[n.Announced] {
			complain("address %q is announced by two nodes", n.Announced)
		}
		seen[n.Announced] = true
	}
	if e.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(e.CA)) {
		complain("field CA has no certificate in PEM")
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clustertest: bad Exported: %w", err)
	}
	return nil
}

// clone shares nothing with e.
func (e Exported) clone() Exported {
	e.Nodes, e.Sentinels = slices.Clone(e.Nodes), slices.Clone(e.Sentinels)
	return e
}

// NewLinkFrom returns a link to a deployment that another process runs. The
// error tells what is wrong with e.
func NewLinkFrom(e Exported) (*Link, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	book := &exportedBook{}
	book.set(e)
	return newLink(book), nil
}

// Update replaces what the link knows of the deployment, for example after a
// node was started again. Open connections and faults stay. Clients that were
// made of [Link.ClientOption] use the new addresses from their next dial on.
// It is an error for a link of [Cluster.Link] or [Cluster.NewLink]: those know
// by themselves.
func (l *Link) Update(e Exported) error {
	book, ok := l.book.(*exportedBook)
	if !ok {
		return errors.New("clustertest: Link.Update: this link belongs to a Cluster and follows it by itself")
	}
	if err := e.validate(); err != nil {
		return err
	}
	book.set(e)
	return nil
}

// exportedBook is the address book of a link in another process.
type exportedBook struct{ e atomic.Pointer[Exported] }

func (b *exportedBook) set(e Exported) {
	e = e.clone()
	b.e.Store(&e)
}

func (b *exportedBook) Export() Exported { return b.e.Load().clone() }

func (b *exportedBook) resolve(announced string) (string, bool) {
	for _, n := range b.e.Load().servers() {
		if n.Announced == announced {
			return n.Reachable, true
		}
	}
	return "", false
}

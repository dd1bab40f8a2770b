package redisnode

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
)

// Address is how other servers reach a server. It never changes.
type Address struct {
	// IP is the announced IP address.
	IP string
	// Port is the client port.
	Port int
	// Bus is the announced cluster bus port, 0 without cluster mode.
	Bus int
}

// String returns "ip:port", which is how servers name each other to clients.
func (a Address) String() string { return net.JoinHostPort(a.IP, strconv.Itoa(a.Port)) }

// Machine runs one server program. Announced, Addr, Exited, Pid, Log and Name
// may be called at any time, often, and from any goroutine; the other methods
// are called one at a time.
type Machine interface {
	// Announced returns how other servers reach this one.
	Announced() Address

	// Addr returns "host:port" at which this process reaches the client port.
	// It may change with Run.
	Addr() string

	// Run starts the program, or starts it again after it has ended: with the
	// same data and the same address for the others. It does not wait until the
	// server answers.
	Run(ctx context.Context) error

	// Exited reports whether the program has ended, by itself or by Kill, and
	// how. It is asked every few milliseconds.
	Exited() (exited bool, err error)

	// Kill ends the program as SIGKILL does, frozen or not, and waits until it
	// is gone.
	Kill(ctx context.Context) error

	// Freeze stops the program as SIGSTOP does. Every thread of it has stopped
	// when Freeze returns.
	Freeze(ctx context.Context) error

	// Thaw lets a frozen program continue. Thawing one that is not frozen does
	// nothing.
	Thaw(ctx context.Context) error

	// Remove kills the program and gives back everything the machine took. Log
	// keeps working. It is idempotent.
	Remove()

	// Log returns at most n bytes from the end of what the program printed over
	// all its runs, from the start of a line.
	Log(n int) string

	// Name says what this is in messages: "redis-server", "redis:8 container
	// ab12".
	Name() string

	// Pid returns the process_id that INFO of the last run has to show, 0 if that
	// is not known. In a container it is usually 1.
	Pid() int
}

// Maker makes the machines of one deployment.
type Maker interface {
	// Make prepares a machine: addresses, directory, files. It does not run it.
	Make(ctx context.Context, spec MachineSpec) (Machine, error)

	// Isolate cuts every link, of bus and replication, between the machines in
	// group and all others of this deployment, in both directions, at once and
	// for connections to come. Clients still reach both sides. It returns when
	// the cut is in effect. Another group replaces the one before. What cannot
	// be cut is an error that wraps errors.ErrUnsupported.
	Isolate(ctx context.Context, group []Machine) error

	// Heal ends what Isolate did. Without a cut it does nothing.
	Heal(ctx context.Context) error

	// Close gives back what the maker itself holds, after all its machines are
	// removed. It is idempotent.
	Close() error

	// Name says what this is in messages: "local redis-server", "docker redis:8".
	Name() string
}

// BusIsolator is a [Maker] whose Isolate may cut the cluster bus alone. For such
// a maker [Cluster.Isolate] cuts the replication links itself.
type BusIsolator interface {
	// IsolatesBusOnly reports whether Isolate leaves replication links alone.
	IsolatesBusOnly() bool
}

// Identified is a [Machine] that wants to know the cluster node id of its
// server. It is told before the server meets others, and after every reset.
type Identified interface {
	// SetNodeID names the node that runs here from now on.
	SetNodeID(id string)
}

// Role is what a server is for. Machines announce themselves in different words
// depending on it.
type Role int

// The roles.
const (
	Data         Role = iota // a server without cluster mode
	ClusterNode              // a node of a cluster, which has a bus port
	SentinelNode             // a sentinel, which rewrites its configuration file
)

// String returns the name of the role.
func (r Role) String() string {
	switch r {
	case Data:
		return "data server"
	case ClusterNode:
		return "cluster node"
	case SentinelNode:
		return "sentinel"
	}
	return "role " + strconv.Itoa(int(r))
}

// MachineSpec describes the machine of one server.
type MachineSpec struct {
	// Role is what the server is for.
	Role Role

	// TLS makes the client port a TLS port: the machine writes "port 0" and
	// "tls-port N" in place of "port N". All other lines about TLS are in Lines.
	TLS bool

	// Lines are the lines of the configuration file. Those about ports, bind
	// addresses, the directory, the log and what is announced are not among
	// them: the machine writes these itself, before the others.
	Lines []string

	// Files are put beside the configuration file, by name. Lines refer to them
	// as ${DIR}/name, which the machine replaces.
	Files map[string][]byte
}

// Access is how to talk to a server. The zero Access is a plain connection
// without a password.
type Access struct {
	// Username is the user to authenticate as. It is ignored without a Password.
	//
	// Defaults to the default user.
	Username string

	// Password is the password of the user. Servers are configured with it, and
	// replicate, migrate and are watched by sentinels with it. Empty means that
	// nobody has to authenticate.
	Password string

	// TLS is the client side of TLS. Servers then speak nothing else, and need
	// the files [CertFile], [KeyFile] and [CAFile]. Without a ServerName the host
	// that is dialled is verified.
	TLS *tls.Config
}

package clustertest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Mode is the kind of deployment.
type Mode int

const (
	// ClusterMode is a Redis Cluster. It is the zero Mode.
	ClusterMode Mode = iota
	// Replicated is one primary with replicas and nothing that fails over by
	// itself. Without replicas it is a standalone server.
	Replicated
	// SentinelMode is one primary with replicas, watched over by sentinels.
	SentinelMode
)

var modeNames = []string{"cluster", "replicated", "sentinel"}

func (m Mode) String() string {
	if !m.valid() {
		return fmt.Sprintf("Mode(%d)", int(m))
	}
	return modeNames[m]
}

func (m Mode) valid() bool { return m >= 0 && int(m) < len(modeNames) }

// Backend is what nodes run in.
type Backend int

const (
	// Auto is Docker if a daemon answers, otherwise Local, unless
	// CLUSTERTEST_BACKEND names one. It is the zero Backend.
	Auto Backend = iota
	// Docker runs each node in a container, and the cluster in a network of its
	// own.
	Docker
	// Local runs server binaries of this machine as child processes.
	Local
)

var backendNames = []string{"auto", "docker", "local"}

func (b Backend) String() string {
	if !b.valid() {
		return fmt.Sprintf("Backend(%d)", int(b))
	}
	return backendNames[b]
}

func (b Backend) valid() bool { return b >= 0 && int(b) < len(backendNames) }

// Environment variables that fill in what a [Topology] leaves open.
const (
	BackendEnv = "CLUSTERTEST_BACKEND" // auto, docker or local
	ImageEnv   = "CLUSTERTEST_IMAGE"   // default of Topology.Image
	ServerEnv  = "CLUSTERTEST_SERVER"  // default of Topology.Server
	SeedEnv    = "CLUSTERTEST_SEED"    // replaces the seed of Chaos
)

// Defaults of [Topology].
const (
	DefaultPrimaries    = 3
	DefaultSentinels    = 3
	DefaultNodeTimeout  = time.Second
	DefaultImage        = "redis:8"
	DefaultStartTimeout = 2 * time.Minute
)

const (
	slotCount = 16384
	maxNodes  = 100 // more is a typing error rather than a test
)

// Topology describes a deployment. Topology{} is a cluster of three primaries
// without replicas, on whatever this machine offers.
type Topology struct {
	// Mode is the kind of deployment.
	//
	// Defaults to ClusterMode.
	Mode Mode

	// Primaries is the number of primaries. The slots are divided evenly among
	// them, in the order of [Cluster.Nodes]. One or two are allowed, but cannot
	// fail over by themselves: a replica is elected by the majority of the
	// primaries, which one of two is not. Outside of ClusterMode there is one.
	//
	// Defaults to DefaultPrimaries, or 1 outside of ClusterMode.
	Primaries int

	// ReplicasPerPrimary is the number of replicas of each primary.
	//
	// Defaults to 0, and to 1 in SentinelMode, where 0 makes no sense.
	ReplicasPerPrimary int

	// Sentinels is the number of sentinels in SentinelMode. Their quorum is the
	// majority.
	//
	// Defaults to DefaultSentinels.
	Sentinels int

	// Backend is what nodes run in. If it is Auto, the environment variable
	// CLUSTERTEST_BACKEND is asked.
	//
	// Defaults to Auto.
	Backend Backend

	// Image is the image for the Docker backend: one that holds a redis-server
	// or valkey-server of version 7 or later. The Local backend ignores it.
	//
	// Defaults to CLUSTERTEST_IMAGE, else DefaultImage.
	Image string

	// Server is the binary for the Local backend: a name on PATH or a path. The
	// Docker backend ignores it.
	//
	// Defaults to CLUSTERTEST_SERVER, else "redis-server", else
	// "valkey-server" if only that is on PATH.
	Server string

	// NodeTimeout is the silence after which a node is suspected:
	// cluster-node-timeout, or down-after-milliseconds of sentinels. A killed
	// primary of a cluster is replaced after about twice that; much less than
	// a second raises false alarms on a busy machine. Replicated has no such
	// thing.
	//
	// Defaults to DefaultNodeTimeout.
	NodeTimeout time.Duration

	// FullCoverage makes every node of a cluster refuse commands while some
	// slot has no primary, as servers do by default. Without it only the slots
	// without a primary fail.
	FullCoverage bool

	// Password is that of the default user. Nodes use it among each other too.
	//
	// Defaults to none.
	Password string

	// Users are ACL users besides the default one, each in the words of ACL
	// SETUSER: "alice on >secret ~app:* +@read".
	Users []string

	// TLS makes clients, replication and the cluster bus use TLS, with a
	// certificate authority made for this cluster. [Cluster.TLSConfig] is what
	// clients need.
	TLS bool

	// MaxMemory is the memory limit of each data server: "10mb".
	//
	// Defaults to none.
	MaxMemory string

	// MaxMemoryPolicy says what servers do at the limit: "allkeys-lru".
	//
	// Defaults to the server's, which is to refuse writes.
	MaxMemoryPolicy string

	// Config are lines of the configuration file of each data server, "name
	// value". Lines that the harness depends on are refused.
	Config []string

	// StartTimeout limits the start of the deployment, with Docker including
	// the pull of the image.
	//
	// Defaults to DefaultStartTimeout.
	StartTimeout time.Duration

	// Log receives what servers print, as they print it, if the backend is
	// Local, and the remarks of the backend. It must not block.
	//
	// Defaults to none. [Node.Log] has the end of a server's log in any case.
	Log io.Writer `json:"-"`
}

// withDefaults fills in what does not depend on the backend or environment.
func (t Topology) withDefaults() Topology {
	if t.Mode == ClusterMode {
		t.Primaries = cmp.Or(t.Primaries, DefaultPrimaries)
	} else {
		t.Primaries = cmp.Or(t.Primaries, 1)
	}
	if t.Mode == SentinelMode {
		t.ReplicasPerPrimary = cmp.Or(t.ReplicasPerPrimary, 1)
		t.Sentinels = cmp.Or(t.Sentinels, DefaultSentinels)
	}
	if t.Mode != Replicated {
		t.NodeTimeout = cmp.Or(t.NodeTimeout, DefaultNodeTimeout)
	}
	t.StartTimeout = cmp.Or(t.StartTimeout, DefaultStartTimeout)
	t.Users, t.Config = slices.Clone(t.Users), slices.Clone(t.Config)
	return t
}

// validate wants defaults filled in. It finds what can be found before anything
// is started, all of it.
func (t Topology) validate() error {
	if !t.Mode.valid() {
		return fmt.Errorf("clustertest: Topology.Mode is %d, want ClusterMode, Replicated or SentinelMode", int(t.Mode))
	}
	err := errors.Join(t.checkNumbers(), t.checkTimes(), t.checkAccess(), t.checkConfig())
	if err != nil {
		return fmt.Errorf("clustertest: bad Topology: %w", err)
	}
	return nil
}

func (t Topology) checkNumbers() error {
	// A product could overflow; the sum of the factors cannot be too small.
	nodes := min(t.Primaries, maxNodes+1)*(1+min(max(t.ReplicasPerPrimary, 0), maxNodes)) + min(t.Sentinels, maxNodes+1)
	switch {
	case !t.Backend.valid():
		return fmt.Errorf("field Backend is %d, want Auto, Docker or Local", int(t.Backend))
	case t.Mode != ClusterMode && t.Primaries != 1:
		return fmt.Errorf("field Primaries is %d, want 0 or 1: %s mode has one primary", t.Primaries, t.Mode)
	case t.Primaries < 0:
		return fmt.Errorf("field Primaries is %d, want at least 1 (0 means %d)", t.Primaries, DefaultPrimaries)
	case t.Primaries > slotCount:
		return fmt.Errorf("field Primaries is %d, want at most %d: there are no more slots", t.Primaries, slotCount)
	case t.ReplicasPerPrimary < 0:
		return fmt.Errorf("field ReplicasPerPrimary is %d, want at least 0", t.ReplicasPerPrimary)
	case t.Sentinels < 0:
		return fmt.Errorf("field Sentinels is %d, want at least 1 (0 means %d)", t.Sentinels, DefaultSentinels)
	case t.Mode != SentinelMode && t.Sentinels != 0:
		return fmt.Errorf("field Sentinels is %d, want 0: %s mode has no sentinels", t.Sentinels, t.Mode)
	case nodes > maxNodes:
		return fmt.Errorf("fields Primaries, ReplicasPerPrimary and Sentinels ask for more than %d nodes", maxNodes)
	case t.FullCoverage && t.Mode != ClusterMode:
		return fmt.Errorf("field FullCoverage is set, but %s mode has no slots to cover", t.Mode)
	}
	return nil
}

func (t Topology) checkTimes() error {
	switch {
	case t.Mode == Replicated && t.NodeTimeout != 0:
		return fmt.Errorf("field NodeTimeout is %s, but nothing in replicated mode suspects a node", t.NodeTimeout)
	case t.Mode != Replicated && t.NodeTimeout < time.Millisecond:
		return fmt.Errorf("field NodeTimeout is %s, want at least 1ms", t.NodeTimeout)
	case t.StartTimeout < 0:
		return fmt.Errorf("field StartTimeout is %s, want more than 0", t.StartTimeout)
	}
	return nil
}

func (t Topology) nodeCount() int { return t.Primaries * (1 + t.ReplicasPerPrimary) }

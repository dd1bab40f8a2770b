package localredis

import (
	"cmp"
	"context"
	"io"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// Config describes a standalone server. Config{} is a Redis with an append-only
// file and default settings.
type Config struct {
	// Flavor is the server to run.
	//
	// Defaults to Redis.
	Flavor Flavor

	// Args are configuration directives as command line arguments, for example
	// "--maxmemory", "10mb". They come after those of this package and win over
	// them; the port, the bind address and the directory must stay.
	Args []string

	// Dir is the data directory. It must exist, must not be in use by another
	// server, and is left in place by Stop.
	//
	// Defaults to a new temporary directory, which Stop removes.
	Dir string

	// Log receives everything the server prints, one Write at a time. It must
	// not block: a server waits for its log to be read.
	//
	// Defaults to none; Server.Log has the end of it in any case.
	Log io.Writer
}

// Start runs a standalone server on a free port of 127.0.0.1 and blocks until
// it answers. The error for a server that does not come up ends with the last
// lines of its log.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	m, err := newMaker(MakerConfig{Binary: string(cfg.Flavor), Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	m.dir = cfg.Dir
	return redisnode.Start(ctx, m, redisnode.ServerConfig{Lines: configLines(cfg.Args)})
}

// ClusterConfig describes a cluster. ClusterConfig{} is three Redis primaries
// without replicas.
type ClusterConfig struct {
	// Flavor is the server to run.
	//
	// Defaults to Redis.
	Flavor Flavor

	// Primaries is the number of primaries. The slots are divided evenly among
	// them in the order of Nodes.
	//
	// Defaults to DefaultPrimaries.
	Primaries int

	// ReplicasPerPrimary is the number of replicas of each primary. Zero means
	// none.
	ReplicasPerPrimary int

	// NodeTimeout is the time after which a silent node is suspected. A killed
	// primary is replaced after about twice that.
	//
	// Defaults to DefaultNodeTimeout.
	NodeTimeout time.Duration

	// Args are configuration directives for every node; see Config.Args.
	Args []string

	// FullCoverage makes every node refuse commands while some slot has no
	// primary, as servers do by default. Without it only the slots without a
	// primary fail.
	FullCoverage bool
}

// StartCluster starts the nodes in parallel, joins them, and returns when the
// cluster is healthy. That takes a little more than 2 s, because a primary
// accepts no writes in its first 2 s.
func StartCluster(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	m, err := newMaker(MakerConfig{Binary: string(cfg.Flavor), DirectBus: true})
	if err != nil {
		return nil, err
	}
	return redisnode.StartCluster(ctx, m, redisnode.ClusterConfig{
		Primaries:          cfg.Primaries,
		ReplicasPerPrimary: cfg.ReplicasPerPrimary,
		NodeTimeout:        cfg.NodeTimeout,
		FullCoverage:       cfg.FullCoverage,
		Lines:              configLines(cfg.Args),
	})
}

// SentinelConfig describes a master with replicas that sentinels watch over.
// SentinelConfig{} is one master, one replica and three sentinels.
type SentinelConfig struct {
	// Flavor is the server to run, for data and as sentinel.
	//
	// Defaults to Redis.
	Flavor Flavor

	// Replicas is the number of replicas.
	//
	// Defaults to DefaultSentinelReplicas.
	Replicas int

	// Sentinels is the number of sentinels.
	//
	// Defaults to DefaultSentinels.
	Sentinels int

	// Quorum is the number of sentinels that have to miss the master before one
	// of them tries a failover. The failover itself takes a majority.
	//
	// Defaults to Sentinels/2 + 1.
	Quorum int

	// DownAfter is the silence after which a sentinel misses a server. The
	// quorum of the others is asked once a second, so a failover takes some
	// seconds however small this is.
	//
	// Defaults to DefaultDownAfter.
	DownAfter time.Duration

	// MasterName is the name of the master in the sentinels.
	//
	// Defaults to DefaultMasterName.
	MasterName string

	// Args are configuration directives for master and replicas; see
	// Config.Args.
	Args []string
}

// StartSentinel starts everything and returns when each replica is in sync and
// each sentinel knows the replicas and the other sentinels, after about 2 s.
func StartSentinel(ctx context.Context, cfg SentinelConfig) (*Sentinel, error) {
	m, err := newMaker(MakerConfig{Binary: string(cfg.Flavor)})
	if err != nil {
		return nil, err
	}
	return redisnode.StartSentinel(ctx, m, redisnode.SentinelConfig{
		Replicas:   cfg.Replicas,
		Sentinels:  cfg.Sentinels,
		Quorum:     cfg.Quorum,
		DownAfter:  cfg.DownAfter,
		MasterName: cmp.Or(cfg.MasterName, DefaultMasterName),
		Lines:      configLines(cfg.Args),
	})
}

// configLines turns directives of a command line into lines of a configuration
// file: an argument that begins with "--" begins a line.
func configLines(args []string) []string {
	var lines []string
	for _, arg := range args {
		name, begins := strings.CutPrefix(arg, "--")
		switch {
		case begins || len(lines) == 0:
			lines = append(lines, name)
		default:
			lines[len(lines)-1] += " " + redisnode.Quote(arg)
		}
	}
	return lines
}

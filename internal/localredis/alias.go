package localredis

import "github.com/fleetcache/fleetcache/internal/redisnode"

// What does not depend on where a server runs is package redisnode's. These
// names save most users of this package the second import.
type (
	// Server is one server.
	Server = redisnode.Server
	// Cluster is a running cluster.
	Cluster = redisnode.Cluster
	// Sentinel is a running master with replicas and sentinels.
	Sentinel = redisnode.Sentinel
	// RedisError is an error reply of a server.
	RedisError = redisnode.RedisError
)

// Defaults of [ClusterConfig] and [SentinelConfig].
const (
	DefaultNodeTimeout      = redisnode.DefaultNodeTimeout
	DefaultPrimaries        = redisnode.DefaultPrimaries
	DefaultSentinelReplicas = redisnode.DefaultSentinelReplicas
	DefaultSentinels        = redisnode.DefaultSentinels
	DefaultDownAfter        = redisnode.DefaultDownAfter
	DefaultMasterName       = redisnode.DefaultMasterName
)

// SlotCount is the number of hash slots of a cluster.
const SlotCount = redisnode.SlotCount

// ErrStopped is returned by methods of a server that Stop has ended for good.
var ErrStopped = redisnode.ErrStopped

// Slot returns the cluster slot of key.
func Slot(key string) int { return redisnode.Slot(key) }

// Package clustertest runs real Redis and Valkey clusters for tests, with the
// faults that clients and caches have to survive.
//
//	c := clustertest.Start(t, clustertest.Topology{Primaries: 3, ReplicasPerPrimary: 1})
//	client, err := rueidis.NewClient(c.ClientOption())
//
// [Start] returns when the cluster serves: all 16384 slots, every replica in
// sync, all nodes agreed. [Run] does the same without a test. Besides clusters
// there are a primary with replicas ([Replicated]) and one with sentinels
// ([SentinelMode]).
//
// # Backends
//
// Nodes run in containers ([Docker]) or as local processes ([Local]), behind the
// same methods. Without being told, the package takes Docker if a daemon answers
// and the binaries on PATH otherwise, and says on standard error which it took.
// The environment variables CLUSTERTEST_BACKEND, CLUSTERTEST_IMAGE and
// CLUSTERTEST_SERVER decide in place of fields that a [Topology] leaves open.
// What a mode or backend cannot do is an error that wraps errors.ErrUnsupported.
//
// Nodes announce addresses which a test may not be able to reach, as with
// Docker Desktop. [Cluster.ClientOption] and [Link.DialContext] dial through a
// map from announced to reachable addresses.
//
// # Faults
//
// Every fault is a method that returns when it has taken effect: of [Node] (Kill,
// Start, Restart, Freeze, Thaw), of [Cluster] (Isolate, Failover,
// CutReplication, MoveSlots, AddNode, DropClients, PauseWrites, Evict and more),
// and of [Link] for what one client sees of the network (Cut, Blackhole, Delay).
// [Cluster.Recover] ends them and keeps the data, [Cluster.Reset] brings
// everything back to the start. [Chaos] draws a schedule of faults from a seed.
//
// # When a test fails
//
// The role, the view of the cluster and the end of the log of each node are
// logged with it, and the timeline of what was done to them.
//
// # What is left behind
//
// Nothing: see [Run].
package clustertest

// Package redisnode runs Redis and Valkey servers for tests, with the faults a
// client has to survive: single servers, a primary with replicas, clusters and
// sentinel deployments. It forms them, asks every node how it is, and kills,
// freezes, fails over, partitions and repairs them.
//
// What a server runs on is not its business. A [Machine] runs one server
// program, and a [Maker] makes machines: package localredis has those that are
// local processes, and clustertest those that are containers.
//
// # Addresses
//
// A server has two addresses. [Server.Announced] is how the other servers reach
// it, and what they tell clients; it never changes and names the server
// everywhere in this package. [Server.Addr] is how this process reaches it, and
// may change whenever the server is started.
//
// # Persistence
//
// Data servers write an append-only file without fsync, so a killed server
// comes back with every write it acknowledged, as it would after a crash of
// the process but not of the machine. A line "appendonly no" turns that off.
//
// # Contexts
//
// Functions that wait return when their context ends, with the last thing they
// were waiting for in the error. A context without a deadline gets one of 30 s
// from functions that start, change or wait for servers, and one of 5 s from
// [Server.Do].
//
// # Concurrency
//
// All methods may be called from any goroutine. Calls which start, kill, freeze
// or stop the same server take turns, and so do calls which change the members
// or the links of the same cluster.
package redisnode

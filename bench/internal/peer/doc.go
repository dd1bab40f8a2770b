// Package peer puts fleetcache and what a user would pick in its place behind
// one small interface, for benchmarks and for load tests of several processes.
//
// Each peer is set up as its own README recommends; the comment of its type
// says what that is, what was changed and why, and what the peer cannot do.
// All of those that have Redis behind them expect a Redis Cluster.
package peer

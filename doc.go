// Package fleetcache is the root of the module and has no code. The library is
// package rc: get-or-set that stays consistent across every instance of a
// service and every shard of a Redis Cluster. Package rctest is an in-process
// Redis for the tests of its users.
package fleetcache

// Package fakeredis is an in-process Redis server with CLIENT TRACKING, for
// unit tests and for programs that want to run without a server.
//
// The data commands and Lua come from miniredis. This package adds what a
// client-side cache stands on and miniredis has not: invalidation pushes with
// their exact order relative to replies, keys that expire by themselves and say
// so, transactions that check WATCH per key, sharded pub/sub, and faults.
//
// # How it works
//
// Connections are in-memory byte streams without a size limit. Each has one
// goroutine that reads requests and runs them one at a time under the server's
// lock, so that a reply, and every push it causes on any connection, is written
// in one step. A pre-command hook shows every call that a script makes, so that
// keys read and written inside Lua are known in their order.
//
// Whether a command changed a key is decided by its name and its reply (SET NX
// that answered null changed nothing), see effect.go. Deadlines live in a heap
// of this package, in milliseconds, as in Redis; miniredis' own clock stands
// still and is corrected for the keys of a command before it runs. That keeps
// real time, virtual time (testing/synctest) and [Server.FastForward] alike and
// the cost of a command independent of the number of keys.
//
// # Limits
//
// Only database 0. No persistence, replication, eviction, cluster, ACL or
// CONFIG. Tracking has no REDIRECT. ZADD pushes even when it sets a score that
// was already there. ZRANGE WITHSCORES answers a flat list in RESP3, too. Lua
// has no bit, struct or cmsgpack library, and its integers lose digits beyond
// 2^53. Field expiry (HEXPIRE) is refused, as it is by Redis 7. WAIT answers 0
// at once. A script that fails ends with the right error code, but its line may
// differ. A key expires, and is announced, at its deadline: real servers may be
// seconds late, so nobody should take this promptness for a promise.
package fakeredis

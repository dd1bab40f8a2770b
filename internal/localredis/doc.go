// Package localredis starts real Redis and Valkey servers from binaries on
// PATH, for tests: standalone servers, clusters and sentinel deployments, with
// the faults a client has to survive (kill, freeze, failover, slot moves, cut
// replication).
//
// Every server listens on 127.0.0.1 only, on ports the kernel picked, and keeps
// its data in a temporary directory: in TMPDIR if that is set, otherwise, on
// Linux, in memory if there is plenty. [Start], [StartCluster] and
// [StartSentinel] return errors and suit TestMain; [Standalone], [NewCluster]
// and [NewSentinel] take the test, skip when the binary is missing, and stop
// everything when the test ends.
//
// # What is left behind
//
// Nothing. Stop kills frozen servers too and removes their directories. On
// Linux a server also dies with the process that started it, however that one
// dies; its temporary directory is then removed by the next process that uses
// this package. On other systems a killed test process leaves both behind.
//
// # Persistence
//
// Data servers write an append-only file without fsync, so a killed server
// comes back with every write it acknowledged, as it would after a crash of
// the process but not of the machine. Args of "--appendonly", "no" turn that
// off.
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
// or stop the same server take turns.
package localredis

// Package localredis runs Redis and Valkey servers from binaries on PATH, for
// tests: standalone servers, clusters and sentinel deployments. What can be done
// with them is in package redisnode, of which this is the backend that runs
// servers as processes on this machine.
//
// Every server listens on 127.0.0.1 only, on ports the kernel picked, and keeps
// its data in a temporary directory: in TMPDIR if that is set, otherwise, on
// Linux, in memory if there is plenty. [Start], [StartCluster] and
// [StartSentinel] return errors and suit TestMain; [Standalone], [NewCluster]
// and [NewSentinel] take the test, skip when the binary is missing, and stop
// everything when the test ends. [NewMaker] is for callers of package redisnode.
//
// # What is left behind
//
// Nothing. Stop kills frozen servers too and removes their directories. On
// Linux a server also dies with the process that started it, however that one
// dies; its temporary directory is then removed by the next process that uses
// this package. On other systems a killed test process leaves both behind.
//
// # Partitions
//
// The nodes of clusters made with a [NewMaker] maker talk to each other through
// proxies in this process (package busproxy), so that links can be cut without
// root. Those of [StartCluster] and [NewCluster] talk directly, and cannot be
// isolated.
package localredis

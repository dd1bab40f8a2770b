// Package compare measures fleetcache and its peers side by side, on one Redis
// Cluster of three primaries: the bodies of the benchmarks, for go test, and
// the tables that cmd/compare makes of them in interleaved rounds.
package compare

// Package subject holds what the benchmarks compare: fleetcache and its peers,
// each doing the same work on the same values. The same bodies are run by
// go test -bench and by cmd/hit.
package subject

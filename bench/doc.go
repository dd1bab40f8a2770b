// Package bench measures fleetcache against its peers, side by side in one
// run, and what its invalidations cost. cmd/hit and cmd/invalidation are the
// programs that sum it up.
package bench

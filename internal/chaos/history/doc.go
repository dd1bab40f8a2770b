// Package history has the facts that a run of the chaos suite records, and on
// which the judge decides. It decides nothing itself.
//
// # Times
//
// All times are of the machine's monotonic clock, see [Now]: every process reads
// the same one, so times taken in different processes can be compared. Neither
// setting the wall clock nor freezing a process changes it.
//
// # Versions
//
// The database counts the versions of each key from 1. A version is written by
// a commit to the database and then one call of the cache that tells it (Set,
// Delete, …). When that call returned nil the version is acknowledged: from
// then on the bound on staleness holds for what it replaced.
package history

// Package fleet has no code but tests: several operating system processes that
// share one real cluster, and are killed, frozen and cut off while a ledger
// that outlives them all knows what was written when.
//
// # How it works
//
// A worker is the test binary run again. It opens one Manager and speaks
// packets of JSON with the test over its standard input and output; a load may
// ask the test for the value, so that the test is the database and counts. It
// ends with the test process, also when that one is killed.
//
// The ledger is a file mapped into every process: per key the current version,
// the number of loads, and the time at which the write of each version was
// acknowledged. Times are of the machine's monotonic clock, which all processes
// share, so a reader can judge each of its reads as it makes it: a read that
// began at t may not come from memory with a version whose successor was
// acknowledged before t - MaxStaleness.
//
// # What is lost on purpose
//
// Replication is asynchronous: a failover can lose writes that were
// acknowledged, and a slot given away without its keys loses all of them. The
// writer looks at what Redis holds before each write. When that is older than
// what was acknowledged, the ledger forgets those acknowledgements, and they
// are counted as lost; the reads that seemed to violate the bound because of
// them are judged again at the end. Tests without a failover allow no loss.
package fleet

// Package topology knows the primaries of a deployment: which slots each
// owns, whether it answers, and how long ago it was heard from. It keeps the
// near cache's feeds alive with beats, ends what a node may no longer vouch
// for, and opens a breaker for a node that does not answer.
//
// Two goroutines per Manager and one per primary run until Close:
//
//   - a pulse per primary sends a beat every Heartbeat: a keyed read of a
//     slot the node owns, which a node that lost it refuses, and an ECHO whose
//     reply proves that everything pushed before it has been processed. The
//     same beats open and close the breaker of the node.
//   - the watch asks every primary every WatchInterval which slots it claims,
//     and ends the near entries of the slots whose claimant changed. Redis 7.0
//     pushes nothing when a slot is given away without its keys (SETSLOT
//     alone), and no version does for keys that do not exist.
package topology

// Package judge decides, from the facts that a run of the chaos suite recorded,
// whether the promises of the library were kept. It is pure: no clock, no
// network, no state. The only thing it may write is the drawing of a history
// that is not linearizable.
//
// # Rules
//
// A version is heard of when the call that announced it returned nil, or, if
// that failed, when a replay had certainly been delivered.
//
//   - Stale read: a newer version had been heard of more than the bound before
//     the read began. Equal to the bound is kept.
//   - Own write missed: the instance that read had written a newer version
//     before. No bound applies.
//   - Stale fill: Redis stored a loaded version though a newer one had been
//     heard of before the fill was sent. The lease must have been void.
//   - Old in Redis: a look at the bytes in Redis found a fresh value although a
//     newer version had been heard of before, at a time without any fault of
//     Redis.
//   - Loads per window: from the acknowledgement of one invalidation of a key
//     of [history.ClassQuiet] to the begin of the next. One without faults; see
//     [Window] for the bound with faults.
//   - Overdue wait: a call took longer than its limits and [WaitMargin], not
//     counting the time in which its process or that of the database did not
//     run.
//   - Convergence, linearizability, and facts in an impossible order.
//
// # What asynchronous replication loses
//
// A version that Redis acknowledged and then forgot is no fault of the cache,
// and neither is an old read or an old fill because of it. It is counted apart.
// A version counts as lost only if both hold:
//
//   - somebody read an older version from Redis itself after it was heard of;
//   - it was acknowledged in a window in which writes can be lost. The first
//     begins [ReplicationLag] before a fault of its shard that may lose writes
//     (earlier if another fault of Redis was going on) and ends with the
//     takeover: when the suite saw it, or at the end of the pause in the
//     acknowledgements of the shard. The second goes from the healing of that
//     fault until the cluster is whole again: the primary that was replaced
//     takes writes until it learns of it. What is acknowledged between the two
//     is known to the new primary, so old values that come from a deposed
//     primary excuse nothing.
//
// # What Redis drops
//
// The order of versions (Config.Version) is kept in Redis, beside the value. If
// a flush or an eviction drops a key while a Set of an older version is under
// way, that finds nothing newer and stores its own. Such a version counts as
// forgotten, apart, if the older one was read from Redis itself, if the Set of
// the older one did not end before the fault, and if that of the newer one began
// before the keys were gone.
package judge

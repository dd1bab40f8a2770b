// Package locks puts package lock to the proof: several processes contend for a
// few names on a real cluster, with leases and with Redlock over its shards,
// while primaries are killed, frozen, cut off, failed over and lose what they
// acknowledged, slots move, and holders are frozen and killed.
//
// # What is claimed
//
// A stay is what a holder does under one lock. It begins when Acquire has
// returned. It ends when the first of these comes: its context is cancelled, it
// calls Release, or the last Until that its lock has shown is over. No two stays
// of one kind and name overlap: contexts that are alive and within Until exclude
// each other. The end by Until counts because a process that is stopped cannot
// cancel a context; what it does when it wakes up, before its timers have run,
// is for the fence to refuse.
//
// For Redlock that is to hold through every fault. For the lease it is to hold
// but for what asynchronous replication loses: an overlap is explained if a
// fault that makes the shard of the name forget had begun before the second
// grant, and was not over before the first. One that is not explained is a
// violation, like one of Redlock.
//
// # The fence
//
// Holders of leases write to a resource that the parent keeps, which refuses a
// token below the highest it has seen for the name. They write through all of a
// stay, and those that are reckless write once more after it, when a newer holder
// has written. Which of two holders is the older is decided by the times of their
// grants, not by tokens: so a token that did not grow shows as a leak or as a
// disorder. Redlock has no tokens.
//
// # Time
//
// All times are of the machine's monotonic clock, which processes share.
package locks

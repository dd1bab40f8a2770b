// Package lock has locks that processes share through Redis: each is held by one
// of them at a time, extends itself while it is held, ends by itself when its
// holder dies, and is passed on to who waits without polling.
//
// There are two kinds. The lease of [Open] is one key of one deployment: one
// round trip, fair, with a fencing token. Redlock, of [OpenRedlock] and
// [OpenShards], is a key on each of several nodes, of which a majority decides:
// it survives the loss of a minority, and has no token. Both work with Redis and
// Valkey from version 7 (sharded pub/sub).
//
// # Overview
//
//	l, err := lock.Open(ctx, rueidis.ClientOption{InitAddress: addrs}, lock.Config{})
//	defer l.Close()
//	err = l.Do(ctx, "report", func(ctx context.Context) error {
//		return write(ctx, report, lock.FromContext(ctx).Token())
//	})
//
// Read/write locks and semaphores are out of scope.
//
// # State model
//
// A lease is the key <prefix>:lock:{name} with the random id of one grant. In
// its slot are the counter of the tokens, the same with ":n", and the queue of
// the waiters, ":q", a sorted set by time of arrival. So a lock whose name is the
// hash tag of a key lies in the slot of that key.
//
//	          acquire                 release, somebody waits
//	(free) -------------> (held) ------------------------------> (handed over)
//	  ^                     |  ^                                     |   |
//	  |  release, TTL over  |  |  the next holder confirms           |   |
//	  +---------------------+  +-------------------------------------+   |
//	  +------------------------------------------------------------------+
//	                              Grace over
//
// Of the waiters of one Locker for one name only the first asks Redis. It
// listens on a channel of its own, ":w:" and its id, and queues. A release grants
// the lock to the first in the queue who listens, for Config.Grace, and sends it
// the token: it holds the lock when the message arrives, and confirms it behind
// that. The one behind it is told to look after the grace. TryAcquire does not
// overtake the queue.
//
// In this process a lock is over when its TTL, counted from before the request
// was sent, less a hundredth and 2 ms for the clocks, is over. A tenth of the TTL
// before that its context is cancelled, with ErrLost as the cause. It is extended
// every third of the TTL. The time of a lock that was handed over counts from a
// moment that lies before the grant for certain: the waiter's last request, and
// what the server says has passed since.
//
// Redlock is the algorithm of redsync, with a vote on each node: one key on each
// of several independent deployments; or, in shards, keys whose hash tags lie in
// the middle of equal parts of the slots and are the same for every client and
// topology. So whatever the topology is, clients ask for the same votes. Nodes
// are asked in parallel, and one that does not answer delays nobody while the
// others agree. A release publishes on a channel of each node; all who are first
// in their process then try. If they keep each other from a majority, they try
// again after up to 50 ms.
//
// Two rules are added to redsync's. A node that was restarted or promoted, or got
// the slot of its vote from another, abstains until the longest lock it may have
// forgotten is over: it finds another replication id in its memory of its past,
// <prefix>:redlock:{tag}, than it has. And a holder that extends a majority of
// votes asks the other nodes for theirs again.
//
// # Guarantees
//
//   - While servers keep what they acknowledged, and clocks run evenly to a
//     hundredth, no two contexts of one name are alive at a time. With Redlock
//     also when servers lose what they acknowledged in a crash or a failover, any
//     number of them.
//   - Every later grant of a lease has a larger token, unless both the counter is
//     lost and the clock of the server that answers is behind that of the one
//     before: the token is one more than the last, or the server's time in
//     microseconds if that is more. The counter lives a day longer than the TTL.
//   - Whoever leaves Acquire or TryAcquire, by the end of its context too, gives
//     back what was granted meanwhile. The release follows the request on the
//     same connection.
//   - Waiters of a lease are served in the order in which they reached Redis, but
//     those that were not listening when called, and those behind the first in
//     their process, go to the end.
//
// # What is not guaranteed
//
//   - Exclusion by a lease across a failover. Replication is asynchronous: the
//     successor may not know of the lock, and grant it again. WAIT would not
//     prevent it, only make it rarer.
//   - Exclusion by Redlock if a majority is lost without a trace: if somebody
//     deletes votes on so many nodes that, with those the holder does not have,
//     they are a majority (FLUSHALL, an eviction), within a third of a TTL; or if
//     nodes lose a vote together with the memory of ever having voted while they
//     have been running for longer than a TTL. The first vote of a deployment can
//     be lost so in a failover, no later one.
//   - A lock while nodes abstain. If a majority of nodes was restarted within one
//     TTL, nobody gets one until they vote again; holders keep theirs.
//   - That a holder notices in time. Exclusion ends with the TTL, but a process
//     that is paused between a look at its context and a write goes on with the
//     write. That is the critique of Redlock by M. Kleppmann (How to do
//     distributed locking, 2016), and it is true of every lock that expires. Where
//     it matters, what is written to has to refuse a token below the highest it
//     has seen. Redlock has no such token: use a lease for the fence.
//   - Anything when clocks jump. Expiry is by the clock of the servers: a step
//     ahead ends locks early. In this process only the monotonic clock counts,
//     which on Linux stands still while the machine is suspended.
//   - That locks of different kinds, prefixes or numbers of shards know of each
//     other. They do not.
//
// # Failure handling
//
// Each command is limited by Config.OpTimeout and is not sent again: a failed one
// is a [*NodeError], from Acquire too. [SafeToRetry] tells whether the call may be
// repeated. If an answer to a request was not received, a release follows it; if
// that fails as well, others wait until the TTL is over. An extension that fails
// is tried again every twentieth of the TTL until the context is cancelled.
//
// A waiter whose subscription was lost makes it again after 20 ms, and asks
// anew. A message that was lost costs at most the rest of the holder's TTL, or of
// the waiter's if that is shorter: then it asks unbidden.
//
// A lost script cache, flushed keys or a lost queue are not errors: a holder whose
// key is gone loses the lock, waiters queue again.
//
// # Concurrency
//
// All methods are safe for concurrent use. A Locker has one goroutine per held
// lock and per listening waiter, and one for each request in flight. Close
// releases what is held and waits for all of them.
//
// # Cost
//
// A lease is one round trip to acquire, extend or release. Waiting takes four
// more commands: SSUBSCRIBE, the script that queues, the extension that confirms
// what was handed over, SUNSUBSCRIBE; from release to grant it is one message, and
// the one behind looks once more if the grace passes. Redlock sends each command
// to all nodes; a failed attempt is as many again to give back what it got.
// OpenShards needs at least three shards: with three names one of
// three may be lost, and five names allow two of five.
//
// # Commands and ACL
//
// A user needs the keys and channels of the prefix, and these commands:
//
//	~cache:lock:* &cache:lock:* +evalsha +eval +get +set +del +exists +pexpire +pttl
//	+time +zadd +zrange +zrem +pubsub|shardnumsub +spublish +ssubscribe +sunsubscribe
//	+hello +client +ping +role +cluster|slots +cluster|shards +asking
//
// and for Redlock ~cache:redlock:* &cache:redlock:* +hmget +hset +info in place of
// those of the queue.
package lock

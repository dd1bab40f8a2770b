// Package invalidation tells all instances of a service what has changed: a
// broadcast bus over Redis pub/sub on which nothing is lost unnoticed.
//
// Redis delivers a published message at most once, and says nothing when it
// does not: a lost connection, a failover or a slot that moves takes messages
// with it. A [Bus] numbers and links the messages, notices when one is missing,
// and then delivers a [Gap] to every subscription: drop what you derived. So a
// lost message costs a refill, never a stale value that stays.
//
// It works with standalone servers, Sentinel and Cluster, on Redis and Valkey.
//
// # State model
//
// Events are divided among a fixed number of partitions by a hash of namespace
// and name. A partition is one channel, <prefix>:bus:{tag}, and one key in the
// same slot, <prefix>:bus:{tag}:state, with the id and number of its last
// message. The tags are chosen so that the partitions spread evenly over the
// slots of a cluster. Publishing is one script on the primary of the slot: it
// links the message to the one before by its id, publishes it, and keeps its
// id. Ids are random, so that a chain which was set back by a failover and went
// on differently is not mistaken for the same one.
//
//	                   the slot is elsewhere now: compare the state there
//	        +------------------------------------------------------------+
//	        v                                                            |
//	(not heard) --subscribe--> (synced with the state) --heartbeats--> (heard)
//	        ^                    Gap unless the same                     |
//	        +------------------------------------------------------------+
//	          the connection ended, a heartbeat was not answered, or it
//	          found messages missing: Gap, whatever the state says
//
// A Bus has one connection to each primary that owns partitions, for all of
// them, and one for publishing. Every Config.Heartbeat it reads the states of
// the partitions on the connection on which it hears them.
//
// # Guarantees
//
//   - Every event whose publication was acknowledged is delivered to every
//     subscription that existed at the time, or a Gap of its partition is
//     delivered after it was published.
//   - Events with the same namespace and name are delivered in the order in
//     which they were published.
//   - [Subscription.Heard] is never later than what the handler has seen: all
//     that was published on the partition before that time has been handled, or
//     a Gap in its place. While the feed is interrupted it stands still. Who
//     serves what was derived only while now - Heard is within a bound serves
//     nothing older than that bound, apart from the exception below.
//   - A handler that is slow, blocks or panics affects no other subscription and
//     no publisher.
//
// # What is not guaranteed
//
//   - That an event is delivered at all. After a Gap it is not: what it was about
//     must be read again.
//   - That an event is delivered once. A publisher that publishes again what was
//     published already delivers it twice, unless nothing else was published on
//     the partition in between: then it is recognized and dropped.
//   - That a Gap comes in order. It can overtake events that arrived before it.
//   - Currency while a deposed primary believes that it is one, and answers: a
//     Bus that hears it takes its word, and Heard moves on, though others
//     publish on its successor already. In a cluster that primary stops
//     answering once it has missed the majority for the node timeout, which is
//     about when its successor is elected. With Sentinel it lasts until the
//     client has been told of the successor, and one heartbeat. A server that
//     did not answer is believed only from its second heartbeat on, so that one
//     which was frozen has time to learn what happened.
//   - Any protection against somebody who may publish on the channels.
//   - Events of other kinds of channels: all that want to hear each other need
//     the same Prefix, Partitions and Mode. Open compares them with what the key
//     <prefix>:bus:config says.
//
// # Failure handling
//
// A heartbeat that is not answered within Config.OpTimeout ends the connection;
// its partitions are looked for elsewhere, at once and then in intervals from 20
// to 200 milliseconds, until they are heard again. Until then nothing is proven,
// and [Bus.Age] grows. An ended subscription, which is what a server does to a
// slot that it gives away, makes the Bus follow the slot within milliseconds.
//
// [Bus.Publish] sends a message again once if the connection was lost, and
// returns an error that says which partition was not published, and whether that
// is certain. It keeps no queue.
//
// A state that was lost (a flush, an eviction, a server without persistence that
// was restarted) is a Gap. A message that cannot be read is dropped and counted;
// if it has a place in the chain, because a newer version of this package sent
// it, it is a Gap.
//
// # Concurrency
//
// All methods are safe for concurrent use. Each subscription has one goroutine,
// each connection those of rueidis and one that waits for its end, and the Bus
// one that sends the heartbeats. Events go from the goroutine that reads the
// connection to bounded queues without blocking. Close waits for all of them.
//
// # Commands and ACL
//
// A user needs the keys and channels of the prefix, and these commands:
//
//	~cache:bus:* &cache:bus:* +evalsha +eval +get +set +publish +spublish +subscribe +ssubscribe
//	+hello +client +ping +role +cluster|slots +cluster|shards
//
// SPUBLISH and SSUBSCRIBE are not needed in mode Classic, PUBLISH and SUBSCRIBE
// not in mode Sharded, ROLE not in a cluster, CLUSTER only there. On servers that
// do not know it, ROLE is not used.
//
// # Cost
//
// A message is one round trip of one script, plus one push to each subscribed
// Bus; several events in one Publish share it. Heartbeats are one round trip per
// primary and Config.Heartbeat. In a cluster, Sharded sends a message to the
// replicas of one primary, Classic to all nodes: with Redis 7 that is about 2.3
// KB per node for the smallest message, with Valkey 8 about 100 bytes.
package invalidation

// Package rc caches values in Redis for services that run as many instances:
// get-or-set that loads once in the whole fleet, never stores a value that was
// changed while it was being loaded, and answers from memory without serving
// what another instance has replaced.
//
// A [Manager] holds the connection to one Redis deployment, one per process. A
// [CacheService] is a typed namespace on it:
//
//	m, err := rc.Open(ctx, "redis://127.0.0.1:7000", rc.Options{})
//	defer m.Close()
//	users, err := rc.New(m, "users", rc.Config[User]{TTL: 10 * time.Minute})
//	u, err := users.GetOrSet(ctx, id, func(ctx context.Context) (User, error) {
//		return db.User(ctx, id)
//	})
//
// # The tiers
//
// L1 is the memory of the process. It holds decoded values and is told of
// every change, by the Redis server itself (client tracking) unless
// [Options].Coherence says otherwise; it is used only while what tells it is
// known to be heard from, at most [Options].MaxStaleness ago. L2 is Redis. Behind both is the loader.
//
// # Invalidation
//
// After a change of the source, [CacheService.Delete] removes a value, and
// [CacheService.Expire] leaves it as a fallback; [Manager.InvalidateTag] and
// [Manager.ExpireTag] do so for all values that have a tag, in all services,
// [CacheService.Clear] and [CacheService.ExpireAll] for a namespace,
// [CacheService.InvalidatePattern] for what a pattern finds. When a verb has
// returned nil, no later read through this Manager finds what it covers, others
// find nothing of it after [Options].MaxStaleness at most, and no load that
// began before is stored. [CacheService.DeleteBefore] also keeps older versions
// out. What Redis could not be told is queued; see [InvalidationError],
// [Manager.Flush] and [WaitReplicas].
//
// [On] says what an event of the application invalidates. Events come from this
// process ([Emit]), from the bus, at most once ([Announce], [Manager.Listen]), or
// from a Redis stream, at least once ([AppendEvent], [Manager.Consume]).
//
// # Coherence
//
// By default the servers announce changes to those who have read the key
// ([Tracking]). In mode [Broadcast] the processes do, on the bus of package
// invalidation, for one more round trip per write. All processes that share keys
// need the same mode, see [Options].Coherence.
//
// # Races with writes
//
// A loader may be called more than once for what looks like one miss: when the
// key is invalidated while it runs, when its process is frozen for longer than
// the lease, or when Redis cannot be reached and instances help themselves.
// Every loader of a key must compute the same value from the same state of its
// source, because callers share results.
//
// A value whose load began before its key was set, deleted or expired, or its
// namespace or one of its tags invalidated, is given to those who were waiting
// for it, and nobody is served it afterwards.
//
// # Errors
//
// Errors of loaders are returned as they are. Errors of Redis are hidden by
// the loader, within [Config].FallbackLoads; see [ErrUnavailable] for what is
// left. Writes report them: a value that could not be deleted is still there.
package rc

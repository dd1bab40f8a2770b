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
// every change by the Redis server itself (client tracking); it is used only
// while the connection is known to be heard from, at most
// [Options].MaxStaleness ago. L2 is Redis. Behind both is the loader.
//
// # Races with writes
//
// A loader may be called more than once for what looks like one miss: when the
// key is invalidated while it runs, when its process is frozen for longer than
// the lease, or when Redis cannot be reached and instances help themselves.
// Every loader of a key must compute the same value from the same state of its
// source, because callers share results.
//
// A value whose load began before its key was set, deleted or expired is
// given to those who were waiting for it and stored nowhere.
//
// # Errors
//
// Errors of loaders are returned as they are. Errors of Redis are hidden by
// the loader, within [Config].FallbackLoads; see [ErrUnavailable] for what is
// left. Writes report them: a value that could not be deleted is still there.
package rc

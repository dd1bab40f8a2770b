// Package near is the in-process tier (L1) of the cache: values read from
// Redis, kept in memory and trusted only as long as Redis can be shown to
// announce their changes.
//
// # How an entry is trusted
//
// Redis remembers, per connection, which keys a client has read
// (CLIENT TRACKING, mode OPTIN) and pushes the names of those that change.
// Replies and pushes travel on one ordered stream, and rueidis hands both to
// the [Store] of that connection from one goroutine, so a store sees them in
// the order in which the server executed them.
//
// Each connection has a [Feed]. A feed is trusted while beats come back: a
// beat is an ECHO that carries its own send time, so when its reply has been
// processed, every change the server made before that time has been seen.
// [Table.Fresh] accepts an entry when its own deadline has not passed and its
// feed was heard from at most MaxStaleness ago. A process that was frozen
// finds an old beat and goes to Redis; so does one whose server or network
// froze.
//
// # How an entry is born
//
// A reader calls [Table.Ask] and sends CLIENT CACHING YES, GET key in one
// pipeline, both marked so that rueidis passes their replies to the store.
// The store makes an [Entry] from a reply that a CLIENT CACHING YES of the
// same connection came right before (the entry is then tracked), and the
// reader claims it with [Ask.Take], by the identity of the reply's bytes.
// Between the two a push can already kill it. A reply on another way than
// that (after a redirection, late, of somebody else's read) makes no entry
// that anybody can claim.
//
// # How an entry dies
//
//   - a push names its key, or this process wrote the key ([Table.Evict]);
//   - its slot moved to another node ([Table.KillSlots]);
//   - its feed ended: connection closed, FLUSHALL, a deposed primary, beats
//     that stayed away. A feed that ended once never lives again; the
//     connection, if it is still there, gets a new one;
//   - its deadline, counted on this process' monotonic clock, passed.
//
// # Locks
//
// Each shard of the table has one mutex, which guards its two maps. A store
// has one mutex, which guards its DoCache flights. Neither is held while the
// other is taken, and no callback runs under either.
package near

package history

import "time"

// Time is a moment in nanoseconds of the clock of [Now]. Zero is never.
type Time int64

// Sub returns the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Add returns the moment d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Class says how a key is written and read, and so how it is judged.
type Class string

// The classes.
const (
	// ClassSet has one instance that writes: commit, then Set.
	ClassSet Class = "set"
	// ClassDelete is written by every instance: commit, then Delete.
	ClassDelete Class = "delete"
	// ClassExpire is written by every instance: commit, then Expire. Nothing
	// stale may be served: its StaleFor is 0.
	ClassExpire Class = "expire"
	// ClassVersioned is written by every instance with Set, under
	// Config.Version: the newest version wins whatever the order.
	ClassVersioned Class = "versioned"
	// ClassMany is read by GetOrSetMany and written by DeleteMany (every
	// instance) or SetMany (one instance).
	ClassMany Class = "many"
	// ClassQuiet is invalidated rarely and never expires in a phase: loads
	// per window are counted on it.
	ClassQuiet Class = "quiet"
	// ClassNegative does not exist at the source in its odd versions.
	ClassNegative Class = "negative"
	// ClassRegister is read and written by the operations of a porcupine
	// phase only.
	ClassRegister Class = "register"

	// The classes of phases with groups. Whoever writes a group writes all its
	// keys, then tells the cache with one call.

	// ClassTagFast has tags, is written all the time, by InvalidateTag,
	// ExpireTag and Delete of every instance, and expires soon.
	ClassTagFast Class = "tag-fast"
	// ClassTagSlow has tags and does not expire in a phase.
	ClassTagSlow Class = "tag-slow"
	// ClassTagSet has one writer per key, which sets it and invalidates its tag
	// in turns.
	ClassTagSet Class = "tag-set"
	// ClassSpace has a namespace of its own: Clear and ExpireAll.
	ClassSpace Class = "space"
	// ClassPattern is written by InvalidatePattern.
	ClassPattern Class = "pattern"
	// ClassBefore is written by DeleteBefore of every instance.
	ClassBefore Class = "before"
)

// Key is one key of a phase. Keys are named by their number everywhere else.
type Key struct {
	ID    string
	Class Class
	// Slot is the hash slot, Shard the number of the primary that owned it
	// when the phase began.
	Slot, Shard int
	// Tags are those that Config.Tags gives its values, Added those that its
	// loader adds.
	Tags, Added []string `json:",omitempty"`
}

// Sources of a value, as rc.Source names them.
const (
	FromL1     = "L1"
	FromL2     = "L2"
	FromLoader = "loader"
)

// Sample is one read that is kept: one that looked too old by what was known
// when it was made, or evidence of what Redis held.
type Sample struct {
	Instance, Key int
	Verb          string
	// Version is what the read returned. For an answer that there is no value
	// (ClassNegative) it is the newest version that did not exist.
	Version      uint64
	Began, Ended Time
	// Source is the tier: FromL1, FromL2, FromLoader. A caller that shared the
	// answer of another says FromLoader.
	Source string
	// Own reports that a version newer than Version had been written by this
	// very instance before Began: read your own writes, to which no bound
	// applies. OwnVersion is that version, and OwnQueued reports that the
	// write had failed and was kept.
	Own        bool
	OwnVersion uint64
	OwnQueued  bool
}

// Write is one version of a key.
type Write struct {
	Key     int
	Version uint64
	By      int    // the instance
	Verb    string // Set, Delete, Expire, SetMany, DeleteMany, or one of a group
	// Group is the number of the group that was invalidated, counted from 1; 0
	// if the key itself was.
	Group int `json:",omitempty"`
	// Committed is when the database had it; Began and Ended are the call of
	// the cache. Ended is 0 if the instance was killed in the call.
	Committed, Began, Ended Time
	// Acked is when the call returned nil; 0 if it did not.
	Acked Time
	// Err is what the call returned, Queued whether the library said that it
	// keeps the invalidation. Replayed is when it had certainly been delivered
	// later, see [Limits.Delivered]; 0 if never.
	Err      string
	Queued   bool
	Replayed Time
}

// Load is one key of one load, as the database saw it.
type Load struct {
	Key     int
	Version uint64
	By      int
	// Began is when the version was looked up, Ended when the answer left.
	Began, Ended Time
}

// Fill is one loaded value that was offered to Redis.
type Fill struct {
	Key       int
	Version   uint64
	By        int
	LoadBegan Time
	// Began is not after the fill was sent, Ended not before its answer came.
	Began, Ended Time
	// Stored reports that Redis took it; otherwise Reason says why not.
	Stored bool
	Reason string
}

// Wait is one call that took longer than its limits; the margin is the judge's.
type Wait struct {
	Instance, Key int
	Verb          string
	Began, Ended  Time
	Limit         time.Duration
	Err           string
}

// Stall is a time in which a process did not run: frozen, or starved by the
// others on a busy machine. Processes notice by themselves.
type Stall struct {
	Instance     int // Parent for the process of the database
	Began, Ended Time
}

// Parent is the instance number of the process that owns the database.
const Parent = -1

// Peek is a look at the bytes that Redis holds, past every cache.
type Peek struct {
	Key          int
	By           int
	Began, Ended Time
	// Version is 0 if there is no value, or one that is marked stale.
	Version uint64
}

// Span is one fault.
type Span struct {
	Name   string // "freeze primary"
	Detail string // "shard 1, 127.0.0.1:7001, 3s"
	// Shards are the numbers of the shards that it may harm; nil is all.
	Shards []int
	// Began is before the fault took effect, Ended after it was healed, and
	// Recovered when the cluster was whole again after that.
	Began, Ended, Recovered Time
	// Held is when it had taken full effect: a node that was to take over had,
	// and keys that were to go were gone. 0 if that is not known.
	Held Time
	// Healing is before the healing began, 0 if there was nothing to heal: from
	// then until Recovered a primary that was replaced meanwhile may be back,
	// not know it yet, and acknowledge writes that nobody will hear of.
	Healing Time
	// MayLose reports that Redis may forget acknowledged writes because of
	// it: another node may take over without having heard all.
	MayLose bool
	// Commanded reports that another node takes over because it is told to, so
	// at any time from Began. Otherwise it does so when the shard has not
	// answered for a while.
	Commanded bool
	// Forgets reports that Redis drops keys because of it: a flush, an
	// eviction. Nothing old comes back by that alone, but a Set of
	// ClassVersioned that is under way then no longer finds the newer version
	// that would have refused it.
	Forgets bool
	// Feeds is how many ways on which an instance hears of changes it
	// interrupts for certain: what is said there meanwhile is not heard.
	Feeds int
	// Redis reports that commands may fail or be late because of it.
	// Otherwise it is a fault of a process or of a client's way to Redis.
	Redis bool
}

// Op is one operation of a history for porcupine.
type Op struct {
	Key    int
	Client int
	Kind   OpKind
	// Version is what was set, or what Get returned: 0 is a miss.
	Version      uint64
	Call, Return Time
	// Unknown reports that the operation failed: it may take effect at any
	// later time, or never.
	Unknown bool
}

// OpKind is what an operation does.
type OpKind string

// The operations.
const (
	OpSet    OpKind = "set"
	OpDelete OpKind = "delete"
	OpGet    OpKind = "get"
)

// Bucket is a tenth of a second of reads, for the plot.
type Bucket struct {
	// At is its number: the time divided by [BucketWidth].
	At            int64
	Reads, Errors uint64
	// Stalest is the greatest staleness of a read in it.
	Stalest time.Duration
}

// BucketWidth is the length of a Bucket.
const BucketWidth = 100 * time.Millisecond

// Start returns when the bucket begins.
func (b Bucket) Start() Time { return Time(b.At * int64(BucketWidth)) }

// Stats are sums of counters of rc.Stats over the instances, and over the lives
// of those that were killed, as far as they were heard of.
type Stats struct {
	L1Hits, L2Hits, Misses, Loads, DegradedLoads    uint64
	Fills, FillsVoided, FillsSuperseded             uint64
	Queued, Replayed, QueueDropped, QueueExpired    uint64
	Invalidations, InvalidationErrors, WaitTimeouts uint64
	// Marks are invalidations of tags and namespaces, Resent those that were
	// delivered and are sent again because a failover may have lost them.
	Marks, MarkErrors, Resent uint64
}

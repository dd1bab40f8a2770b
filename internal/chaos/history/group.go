package history

// Group is keys of a phase that one call invalidates: those of a tag, of a
// combination of tags, of a namespace, or those whose identifiers match a
// pattern.
type Group struct {
	// Name is the tag, the namespace or the pattern.
	Name string
	Kind GroupKind
	// Shard is the number of the primary that owned the token of the group when
	// the phase began: what is acknowledged there can be lost there, wherever the
	// keys are. A pattern has none: -1.
	Shard int
	// Slot is the slot of the token, -1 if there is none.
	Slot int
	Keys []int
	// Slow groups are invalidated seldom, but several times in quick
	// succession: what is missed then stays for longer than the bound.
	Slow bool
	// Rare groups are invalidated only when a fault wants it: what becomes of
	// that is not covered by the next time.
	Rare bool
}

// GroupKind is what makes keys a group.
type GroupKind string

// The kinds of groups.
const (
	GroupTag       GroupKind = "tag"
	GroupNamespace GroupKind = "namespace"
	GroupPattern   GroupKind = "pattern"
)

// Call identifies a call of an instance that told the cache of writes: all that
// it told of share it.
type Call struct {
	By    int
	Verb  string
	Began Time
}

// Call returns the call that told the cache of w. One whose instance was killed
// in it is only known by its commit.
func (w Write) Call() Call {
	if w.Began == 0 {
		return Call{w.By, w.Verb, w.Committed}
	}
	return Call{w.By, w.Verb, w.Began}
}

// Feed says how instances hear of changes made elsewhere.
type Feed struct {
	// Broadcast reports that it is by the bus, otherwise it is by tracking.
	Broadcast bool
	// Published counts events published on the bus, Gaps the gaps that the buses
	// noticed.
	Published, Gaps uint64
	// Redialed counts connections to Redis that were made anew in place of one
	// that was lost, Resets feeds that were given up on a live connection, and
	// Flushes announcements that everything is gone: what a gap is to tracking.
	Redialed, Resets, Flushes uint64
}

func (f *Feed) add(o Feed) {
	f.Broadcast = f.Broadcast || o.Broadcast
	f.Published += o.Published
	f.Gaps += o.Gaps
	f.Redialed += o.Redialed
	f.Resets += o.Resets
	f.Flushes += o.Flushes
}

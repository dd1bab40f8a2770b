package near

import "sync/atomic"

// A Feed stands for the trustworthiness of one connection during one stretch
// of its life. Entries point to the feed they were read under, so ending a
// feed ends all of them at once, whatever their number.
type Feed struct {
	// heard is the send time of the newest beat whose reply has been
	// processed, [Dead] before the first and after the end. Written by the
	// connection's reader goroutine and by end, read by every hit.
	heard atomic.Int64
	// born is when the feed began. Beats and reads sent before it do not
	// count for it.
	born int64
	// detached reports that no connection stands behind the feed, see
	// [Table.Detached].
	detached bool
	// flushed reports that the feed ended because the server dropped all its
	// keys: its entries are not merely unproven, they are gone.
	flushed atomic.Bool
	// gone is closed when the feed ends.
	gone  chan struct{}
	ended atomic.Bool
	// node is the address that the beats of the feed name; nil before the first.
	node atomic.Pointer[string]
}

// Node returns the address of the node the feed is of, "" if that is not known
// yet, or there is none.
func (f *Feed) Node() string {
	if p := f.node.Load(); p != nil {
		return *p
	}
	return ""
}

func newFeed(now int64) *Feed {
	f := &Feed{born: now, gone: make(chan struct{})}
	f.heard.Store(Dead)
	return f
}

// end makes all entries of the feed unfit for fresh hits and wakes those who
// wait for a push of it. It may be called more than once.
func (f *Feed) end(flushed bool) {
	if flushed {
		f.flushed.Store(true)
	}
	if f.ended.CompareAndSwap(false, true) {
		// A beat that is being processed at this moment must not overwrite
		// Dead, so hear uses compare-and-swap from a live value.
		f.heard.Store(Dead)
		close(f.gone)
	}
}

// hear records that the beat sent at the given time came back.
func (f *Feed) hear(sent int64) {
	for {
		old := f.heard.Load()
		if sent <= old || f.ended.Load() {
			return
		}
		if f.heard.CompareAndSwap(old, sent) {
			if f.ended.Load() {
				f.heard.Store(Dead) // end ran between the two loads
			}
			return
		}
	}
}

// Gone returns a channel that is closed when the feed ends.
func (f *Feed) Gone() <-chan struct{} { return f.gone }

package judge

import (
	"cmp"
	"slices"
	"sort"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// heard returns when the bound on staleness began to hold for what a write
// replaced, 0 if never: when the cache had certainly been told.
func heard(w history.Write) history.Time { return cmp.Or(w.Acked, w.Replayed) }

// ledger has the writes of a phase by key.
type ledger map[int]*keyLog

// keyLog is the writes of one key in the order of their versions.
type keyLog struct {
	writes []history.Write
	// heard is heard of each.
	heard []history.Time
	// lost and forgotten versions are those that Redis has not any more though
	// no newer one replaced them: because of asynchronous replication, and
	// because their key was dropped.
	lost, forgotten []bool
	// all and kept are the earliest time at which this version or a newer one
	// was heard of, 0 for never: of all versions, and of those that are neither
	// lost nor forgotten.
	all, kept []history.Time
}

func newLedger(writes []history.Write) ledger {
	l := ledger{}
	for _, w := range writes {
		k := l[w.Key]
		if k == nil {
			k = &keyLog{}
			l[w.Key] = k
		}
		k.writes = append(k.writes, w)
	}
	for _, k := range l {
		slices.SortFunc(k.writes, func(a, b history.Write) int { return cmp.Compare(a.Version, b.Version) })
		k.lost, k.forgotten = make([]bool, len(k.writes)), make([]bool, len(k.writes))
		for _, w := range k.writes {
			k.heard = append(k.heard, heard(w))
		}
		k.all = k.earliest()
		k.kept = k.all
	}
	return l
}

// of returns the writes of a key, never nil.
func (l ledger) of(key int) *keyLog {
	if k := l[key]; k != nil {
		return k
	}
	return &keyLog{}
}

// earliest computes, for each version, when it or a newer one was first heard
// of, leaving out those that are lost or forgotten.
func (k *keyLog) earliest() []history.Time {
	first := make([]history.Time, len(k.writes))
	var soonest history.Time
	for i := len(k.writes) - 1; i >= 0; i-- {
		if at := k.heard[i]; at != 0 && !k.gone(i) && (soonest == 0 || at < soonest) {
			soonest = at
		}
		first[i] = soonest
	}
	return first
}

// settle computes anew what follows from lost and forgotten.
func (l ledger) settle() {
	for _, k := range l {
		k.kept = k.earliest()
	}
}

// gone reports whether the i-th version is lost or forgotten.
func (k *keyLog) gone(i int) bool { return k.lost[i] || k.forgotten[i] }

// newer returns the index of the first version above v.
func (k *keyLog) newer(v uint64) int {
	return sort.Search(len(k.writes), func(i int) bool { return k.writes[i].Version > v })
}

// supersededAll returns when a version above v was first heard of, 0 if never;
// superseded the same of the versions that are neither lost nor forgotten.
func (k *keyLog) supersededAll(v uint64) history.Time { return at(k.all, k.newer(v)) }
func (k *keyLog) superseded(v uint64) history.Time    { return at(k.kept, k.newer(v)) }

func at(times []history.Time, i int) history.Time {
	if i >= len(times) {
		return 0
	}
	return times[i]
}

// find returns the write of a version, and whether it is lost or forgotten.
func (k *keyLog) find(v uint64) (w history.Write, gone, ok bool) {
	i := k.newer(v) - 1
	if i < 0 || k.writes[i].Version != v {
		return w, false, false
	}
	return k.writes[i], k.gone(i), true
}

// forgot reports whether a version above v that had been heard of by a time is
// forgotten.
func (k *keyLog) forgot(v uint64, by history.Time) bool {
	for i := k.newer(v); i < len(k.writes); i++ {
		if t := k.heard[i]; k.forgotten[i] && t != 0 && t < by {
			return true
		}
	}
	return false
}

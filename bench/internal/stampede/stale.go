//go:build unix

package stampede

import "sort"

// An ack says when the invalidation of a version had returned: readers that
// begin later must not get an older one.
type ack struct {
	Version uint64
	At      int64
}

// staleness judges what a reader has got that began at a time: whether a newer
// version had been announced by then, and for how long. acks are those of the
// key, in the order of both their fields.
func staleness(acks []ack, began int64, version uint64) (age int64, stale bool) {
	i := sort.Search(len(acks), func(i int) bool { return acks[i].Version > version })
	if i == len(acks) || acks[i].At >= began {
		return 0, false
	}
	return began - acks[i].At, true
}

package key

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"

	"github.com/fleetcache/fleetcache/internal/hashslot"
)

const (
	// TagGroups is how many groups the tags of a prefix are divided into. A
	// group is one hash slot, with a guard that changes with each of its tags.
	TagGroups = 64
	// MaxTag is the largest length of a tag, in bytes.
	MaxTag = 512
)

// groupNames are hash tags whose slots lie evenly over all slots, so that the
// groups do over the shards, whatever their number. They are found by trying
// numbers, the same in every process.
var groupNames = sync.OnceValue(func() [TagGroups]string {
	var names [TagGroups]string
	const width = 16384 / TagGroups
	for left, n := TagGroups, 0; left > 0; n++ {
		name := "t" + strconv.Itoa(n)
		if g := hashslot.Of(name) / width; names[g] == "" {
			names[g] = name
			left--
		}
	}
	return names
})

// TagGroup returns the group of a tag.
func TagGroup(tag string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tag)) // never fails
	return int(h.Sum32() % TagGroups)
}

// GuardKey returns the key of the guard of a group.
func GuardKey(prefix string, group int) string {
	return cmp.Or(prefix, DefaultPrefix) + ":#guard:{" + groupNames()[group] + "}"
}

// TagKey returns the key of a tag's token. No key of a value looks like it,
// because no part of one may contain '#'.
func TagKey(prefix, tag string) string {
	return cmp.Or(prefix, DefaultPrefix) + ":#tag:{" + groupNames()[TagGroup(tag)] + "}:" + tag
}

// CheckTag reports what is wrong with a tag: it is any bytes, from 1 to
// [MaxTag] of them. The error wraps [ErrInvalid].
func CheckTag(tag string) error {
	switch {
	case tag == "":
		return fmt.Errorf("%w: the tag is empty", ErrInvalid)
	case len(tag) > MaxTag:
		return fmt.Errorf("%w: the tag %s has %d bytes, at most %d", ErrInvalid, quote(tag), len(tag), MaxTag)
	}
	return nil
}

package envelope

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Parse reads the envelope b, which was found under key. The payload it returns
// is a part of b, with no capacity beyond its length; the header holds copies.
// Parse never panics, whatever b is. It does not allocate if there are no tags,
// and its work and memory are bounded by the length of b.
//
// The error wraps [ErrForeign], [ErrNewer], [ErrCorrupt] or [ErrWrongKey], and
// header and payload are then empty. A nil b, which is no value at all, is
// foreign.
func Parse(b []byte, key string) (Header, []byte, error) {
	if err := checkStart(b); err != nil {
		return Header{}, nil, err
	}
	be := binary.BigEndian
	if got, want := be.Uint64(b[offKeyHash:]), keyHash(key); got != want {
		return Header{}, nil, fmt.Errorf("%w: key hash %016x, want %016x", ErrWrongKey, got, want)
	}
	end, err := tagsEnd(b)
	if err != nil {
		return Header{}, nil, err
	}
	payload := b[end:len(b):len(b)]
	if want := be.Uint32(b[offPayloadLen:]); uint64(len(payload)) != uint64(want) {
		return Header{}, nil, fmt.Errorf("%w: payload of %d bytes, header says %d",
			ErrCorrupt, len(payload), want)
	}
	soft, hard := be.Uint64(b[offSoftTTL:]), be.Uint64(b[offHardTTL:])
	if soft > maxMillis || hard > maxMillis {
		return Header{}, nil, fmt.Errorf("%w: soft TTL %d ms, hard TTL %d ms, at most %d ms",
			ErrCorrupt, soft, hard, maxMillis)
	}
	return Header{
		Negative:       b[offFlags]&flagNegative != 0,
		Stale:          b[OffStale] == 1,
		Codec:          b[offCodec],
		WriteID:        be.Uint64(b[OffWriteID:]),
		Version:        be.Uint64(b[OffVersion:]),
		SoftTTL:        millis(soft),
		HardTTL:        millis(hard),
		LoadTime:       time.Duration(be.Uint32(b[offLoadTime:])) * time.Microsecond,
		NamespaceToken: be.Uint64(b[offNamespace:]),
		Tags:           parseTags(b[HeaderSize:end], int(be.Uint16(b[offTagCount:]))),
	}, payload, nil
}

// maxMillis is the longest time to live an envelope may hold: math.MaxInt64
// nanoseconds, rounded up as ceilMillis does. What is above was not written
// here.
const maxMillis = uint64(math.MaxInt64/time.Millisecond) + 1

// millis converts up to maxMillis milliseconds to a duration. The last of them
// is a rounded-up one, and does not fit.
func millis(ms uint64) time.Duration {
	if ms == maxMillis {
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}

// checkStart checks the fixed part of b, all but its lengths. The version is
// looked at before the size: a newer format may have a shorter header.
func checkStart(b []byte) error {
	switch {
	case len(b) < 2 || b[0] != magic0 || b[1] != magic1:
		return fmt.Errorf("%w: no magic in %d bytes", ErrForeign, len(b))
	case len(b) > offFormat && b[offFormat] > FormatVersion:
		return fmt.Errorf("%w: version %d, known is %d", ErrNewer, b[offFormat], FormatVersion)
	case len(b) < HeaderSize:
		return fmt.Errorf("%w: %d bytes, the header has %d", ErrCorrupt, len(b), HeaderSize)
	case b[offFormat] != FormatVersion:
		return fmt.Errorf("%w: version %d", ErrCorrupt, b[offFormat])
	case b[offFlags]&^knownFlags != 0:
		return fmt.Errorf("%w: flags %08b, known are %08b", ErrNewer, b[offFlags], knownFlags)
	case b[OffStale] > 1:
		return fmt.Errorf("%w: stale mark %d", ErrCorrupt, b[OffStale])
	}
	return nil
}

// tagsEnd returns the offset behind the last tag record of b, which must have
// HeaderSize bytes at least. It only walks: memory for the tags is not asked
// for before their number is known to be true.
func tagsEnd(b []byte) (int, error) {
	count := int(binary.BigEndian.Uint16(b[offTagCount:]))
	end := HeaderSize
	for i := range count {
		if len(b)-end < tagOverhead {
			return 0, fmt.Errorf("%w: %d tags announced, tag %d has no room", ErrCorrupt, count, i)
		}
		name := int(binary.BigEndian.Uint16(b[end:]))
		if len(b)-end-tagOverhead < name {
			return 0, fmt.Errorf("%w: tag %d announces a name of %d bytes, %d are left",
				ErrCorrupt, i, name, len(b)-end-tagOverhead)
		}
		end += tagOverhead + name
	}
	return end, nil
}

// parseTags reads count records that tagsEnd has walked. All names share one
// string, so that tags cost two allocations whatever their number.
func parseTags(records []byte, count int) []Tag {
	if count == 0 {
		return nil
	}
	text := string(records)
	tags := make([]Tag, count)
	off := 0
	for i := range tags {
		name := int(binary.BigEndian.Uint16(records[off:]))
		off += 2
		tags[i].Name = text[off : off+name]
		off += name
		tags[i].Token = binary.BigEndian.Uint64(records[off:])
		off += 8
	}
	return tags
}

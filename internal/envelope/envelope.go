package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Offsets and sizes that code outside this package relies on. The Lua scripts
// address these fields with GETRANGE and SETRANGE, so a change is a new format
// version.
const (
	// OffStale is the offset of the stale mark, one byte, 0 or 1.
	OffStale = 5
	// OffWriteID is the offset of the write id, eight bytes.
	OffWriteID = 8
	// OffVersion is the offset of the user version, eight bytes.
	OffVersion = 16
	// HeaderSize is the size of the fixed header; tag records follow it.
	HeaderSize = 64

	// FormatVersion is the format this package writes, and the only one it
	// reads.
	FormatVersion = 1
)

// Limits of the format. [Finish] reports a header or payload beyond them.
const (
	// MaxTags is the largest number of tags of one value.
	MaxTags = math.MaxUint16
	// MaxTagName is the largest length of a tag name, in bytes.
	MaxTagName = math.MaxUint16
	// MaxPayload is the largest payload, in bytes. Redis itself refuses values
	// above proto-max-bulk-len, 512 MiB unless configured.
	MaxPayload = math.MaxUint32
)

const (
	offFormat     = 2
	offFlags      = 3
	offCodec      = 4
	offTagCount   = 6
	offKeyHash    = 24
	offSoftTTL    = 32
	offHardTTL    = 40
	offLoadTime   = 48
	offPayloadLen = 52
	offNamespace  = 56

	magic0 = 'F'
	magic1 = 'C'

	flagNegative = 1 << 0
	knownFlags   = flagNegative

	// tagOverhead is the size of a tag record without its name.
	tagOverhead = 2 + 8
)

// Errors of [Parse]. The errors it returns wrap one of these and add what was
// found.
var (
	// ErrForeign means that the bytes do not begin like an envelope: somebody
	// else wrote them.
	ErrForeign = errors.New("envelope: foreign value")
	// ErrNewer means that the bytes come from a newer release: a higher format
	// version or a flag this release does not know.
	ErrNewer = errors.New("envelope: newer format")
	// ErrCorrupt means that the bytes began as an envelope but contradict
	// themselves.
	ErrCorrupt = errors.New("envelope: corrupt value")
	// ErrWrongKey means that the envelope was written for another key.
	ErrWrongKey = errors.New("envelope: value of another key")
)

// ErrLimit means that a header or payload does not fit the format. The errors
// that [Finish] returns wrap it and name the limit.
var ErrLimit = errors.New("envelope: over the limit")

// Header is everything an envelope says about its payload. The zero value is a
// valid header: a positive entry without tags, version, or time to live.
type Header struct {
	// Negative reports whether the entry stands for "there is no such thing".
	// The format does not forbid a payload beside it.
	Negative bool
	// Stale reports whether the entry was expired softly: it counts as stale
	// whatever its age.
	Stale bool
	// Codec identifies the codec that wrote the payload.
	Codec uint8
	// WriteID is random and different for every write of a value.
	WriteID uint64
	// Version is the version the user's data carries, 0 for none.
	Version uint64
	// SoftTTL is how long the value is fresh, HardTTL how long it is kept. Both
	// are stored in milliseconds, rounded up so that a positive duration never
	// becomes zero; negative durations are stored as zero.
	SoftTTL, HardTTL time.Duration
	// LoadTime is how long the loader took. It is stored in microseconds,
	// rounded down; what is longer than about 71 minutes is stored as that, a
	// negative duration as zero.
	LoadTime time.Duration
	// NamespaceToken is the token of the namespace, seen before the load.
	NamespaceToken uint64
	// Tags are the tags of the value with their tokens, in the order in which
	// they were given. Nil if there are none.
	Tags []Tag
}

// Tag is a tag name and the token the tag had before the value was loaded.
type Tag struct {
	Name  string
	Token uint64
}

// keyHash is 64-bit FNV-1a. The standard library's version wants a heap object
// and a byte slice; this one is on the path of every read.
func keyHash(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h ^= uint64(key[i])
		h *= 1099511628211
	}
	return h
}

// ParseWriteID reads the write id from the beginning of an envelope, of which
// the first 16 bytes are enough. It reports false for anything shorter, and for
// bytes that are not an envelope of this format version. It looks at nothing
// else: the rest may be missing or corrupt. It does not allocate.
func ParseWriteID(prefix []byte) (id uint64, ok bool) {
	if len(prefix) < OffWriteID+8 || prefix[0] != magic0 || prefix[1] != magic1 ||
		prefix[offFormat] != FormatVersion {
		return 0, false
	}
	return binary.BigEndian.Uint64(prefix[OffWriteID:]), true
}

// ceilMillis converts a duration to whole milliseconds, rounding up.
func ceilMillis(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	ms := uint64(d / time.Millisecond)
	if d%time.Millisecond != 0 {
		ms++
	}
	return ms
}

// satMicros converts a duration to whole microseconds, clamped to an uint32.
func satMicros(d time.Duration) uint32 {
	return uint32(min(max(d/time.Microsecond, 0), math.MaxUint32))
}

// A header that does not fit is marked by Begin with magic bytes that no
// reader accepts, the second of which says to Finish what was wrong. So Begin
// needs no error of its own, and the broken envelope stays unreadable even if
// nobody calls Finish.
const (
	refused         = 0
	refusedTagCount = 1
	refusedTagName  = 2
)

// Begin appends the header and the tag records of an envelope for key to dst
// and returns the extended slice. The caller appends the payload and then calls
// [Finish] with the length that dst had before Begin. Begin allocates only if
// dst is too small. A header beyond the limits of the format is reported by
// Finish.
func Begin(dst []byte, h Header, key string) []byte {
	if code := checkTags(h.Tags); code != 0 {
		var b [HeaderSize]byte
		b[0], b[1] = refused, code
		return append(dst, b[:]...)
	}
	size := HeaderSize
	for _, t := range h.Tags {
		size += tagOverhead + len(t.Name)
	}
	dst = slices.Grow(dst, size)
	start := len(dst)
	dst = dst[:start+HeaderSize]
	putHeader(dst[start:], h, key)
	for _, t := range h.Tags {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Name)))
		dst = append(dst, t.Name...)
		dst = binary.BigEndian.AppendUint64(dst, t.Token)
	}
	return dst
}

// putHeader writes every byte of the fixed header: b may hold old bytes.
func putHeader(b []byte, h Header, key string) {
	b[0], b[1], b[offFormat] = magic0, magic1, FormatVersion
	b[offFlags], b[offCodec], b[OffStale] = 0, h.Codec, 0
	if h.Negative {
		b[offFlags] |= flagNegative
	}
	if h.Stale {
		b[OffStale] = 1
	}
	be := binary.BigEndian
	be.PutUint16(b[offTagCount:], uint16(len(h.Tags)))
	be.PutUint64(b[OffWriteID:], h.WriteID)
	be.PutUint64(b[OffVersion:], h.Version)
	be.PutUint64(b[offKeyHash:], keyHash(key))
	be.PutUint64(b[offSoftTTL:], ceilMillis(h.SoftTTL))
	be.PutUint64(b[offHardTTL:], ceilMillis(h.HardTTL))
	be.PutUint32(b[offLoadTime:], satMicros(h.LoadTime))
	be.PutUint32(b[offPayloadLen:], 0)
	be.PutUint64(b[offNamespace:], h.NamespaceToken)
}

// checkTags returns 0, or the code of the limit that the tags exceed.
func checkTags(tags []Tag) byte {
	if len(tags) > MaxTags {
		return refusedTagCount
	}
	for _, t := range tags {
		if len(t.Name) > MaxTagName {
			return refusedTagName
		}
	}
	return 0
}

// Finish completes the envelope that began at b[start] and extends to the end
// of b: it writes the payload length. It returns b. The error wraps [ErrLimit]
// if the header given to [Begin] or the payload is beyond the limits of the
// format, and [ErrCorrupt] if b[start] is not the beginning of an envelope; b
// is then of no use.
func Finish(b []byte, start int) ([]byte, error) {
	if start < 0 || start > len(b) || len(b)-start < HeaderSize {
		return nil, fmt.Errorf("%w: Finish at %d of %d bytes, no header", ErrCorrupt, start, len(b))
	}
	e := b[start:]
	if e[0] == refused {
		switch e[1] {
		case refusedTagCount:
			return nil, fmt.Errorf("%w: more than %d tags", ErrLimit, MaxTags)
		case refusedTagName:
			return nil, fmt.Errorf("%w: a tag name of more than %d bytes", ErrLimit, MaxTagName)
		}
	}
	if e[0] != magic0 || e[1] != magic1 {
		return nil, fmt.Errorf("%w: Finish at %d, no magic", ErrCorrupt, start)
	}
	end, err := tagsEnd(e)
	if err != nil {
		return nil, err
	}
	payload := uint64(len(e) - end)
	if payload > MaxPayload {
		return nil, fmt.Errorf("%w: payload of %d bytes, at most %d",
			ErrLimit, payload, uint64(MaxPayload))
	}
	binary.BigEndian.PutUint32(e[offPayloadLen:], uint32(payload))
	return b, nil
}

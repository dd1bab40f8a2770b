package key

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unsafe"
)

const (
	// DefaultPrefix is the prefix that an empty one stands for.
	DefaultPrefix = "cache"
	// DefaultVersion is the version that an empty one stands for.
	DefaultVersion = "v1"
	// MaxID is the largest length of an identifier that is stored as it is, in
	// bytes before escaping. Longer ones are stored as their hash.
	MaxID = 512
	// MaxName is the largest length of a prefix, version or namespace, in bytes.
	MaxName = 128
	// LeaseSuffix is what makes the key of a value the key of its lease. It is
	// outside the braces, so both are in one slot, and no key of a value ends
	// in it.
	LeaseSuffix = ":l"
)

// ErrInvalid means that no key can be built from the arguments. The errors of
// this package wrap it and name the argument, the bound and the value.
var ErrInvalid = errors.New("key: invalid")

// Key is the parts of a key. Namespace and ID are required.
type Key struct {
	// Prefix sets the keys of one application apart: 1 to 128 bytes of letters,
	// digits and ". _ / -", and colons between them. Defaults to DefaultPrefix.
	Prefix string
	// Version sets the keys of one data layout apart: as Prefix, but without
	// colons. Defaults to DefaultVersion.
	Version string
	// Namespace is 1 to 128 bytes of letters, digits and ". _ / -".
	Namespace string
	// ID is the identifier: any bytes, one at least.
	ID string
	// Params are names and values in turn, see [HashParams]. None by default.
	Params []any
}

// Build returns the Redis key of k. The error wraps [ErrInvalid].
func Build(k Key) (string, error) {
	s, err := NewSpace(k.Prefix, k.Version, k.Namespace)
	if err != nil {
		return "", err
	}
	if err := CheckID(k.ID); err != nil {
		return "", err
	}
	h, err := HashParams(k.Params)
	if err != nil {
		return "", err
	}
	return s.KeyParams(k.ID, h), nil
}

// CheckID returns an error that wraps [ErrInvalid] if id is not an identifier,
// which only the empty string is not.
func CheckID(id string) error {
	if id == "" {
		return fmt.Errorf("%w identifier %q: want at least 1 byte", ErrInvalid, id)
	}
	return nil
}

// Space builds the keys of one namespace, whose names are checked once. It is
// immutable and may be used concurrently. The zero Space is of no use: its keys
// have no namespace and no hash tag.
type Space struct {
	head string // "<prefix>:<version>:<namespace>:{"
}

// NewSpace returns the Space of a namespace. An empty prefix or version means
// the default. The error wraps [ErrInvalid].
func NewSpace(prefix, version, namespace string) (Space, error) {
	prefix = cmp.Or(prefix, DefaultPrefix)
	version = cmp.Or(version, DefaultVersion)
	if err := cmp.Or(
		checkName("prefix", prefix, true),
		checkName("version", version, false),
		checkName("namespace", namespace, false),
	); err != nil {
		return Space{}, err
	}
	return Space{head: prefix + ":" + version + ":" + namespace + ":{"}, nil
}

// Prefix returns the bytes that all keys of the namespace begin with, and that
// no key of another namespace begins with.
func (s Space) Prefix() string { return s.head }

// Key returns the key of id without parameters, with one allocation if id has
// at most [MaxID] bytes. It returns "" for the empty id, which is not an
// identifier: callers use [CheckID].
func (s Space) Key(id string) string { return s.KeyParams(id, ParamHash{}) }

// KeyParams is like [Space.Key] with the hash of parameters. The zero hash
// stands for no parameters.
func (s Space) KeyParams(id string, h ParamHash) string {
	if id == "" {
		return ""
	}
	size := len(s.head) + storedLen(id) + len("}")
	if !h.IsZero() {
		size += len(paramMark) + hex.EncodedLen(len(h))
	}
	b := make([]byte, 0, size)
	b = append(b, s.head...)
	b = appendID(b, id)
	if !h.IsZero() {
		b = append(b, paramMark...)
		b = hex.AppendEncode(b, h[:])
	}
	b = append(b, '}')
	// Nobody else knows b, so it never changes again: no need for a copy.
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// No identifier can forge a mark: its own percent signs are stored as "%25".
const (
	longMark  = "%L" // in front of the hash of a long identifier
	paramMark = "%P" // in front of the hash of parameters
)

// appendID appends the stored form of a non-empty identifier.
func appendID(b []byte, id string) []byte {
	if len(id) > MaxID {
		h := sha256.New()
		io.WriteString(h, id)
		var sum [sha256.Size]byte
		return hex.AppendEncode(append(b, longMark...), h.Sum(sum[:0]))
	}
	return appendEscaped(b, id)
}

// storedLen returns how many bytes appendID appends.
func storedLen(id string) int {
	if len(id) > MaxID {
		return len(longMark) + hex.EncodedLen(sha256.Size)
	}
	n := len(id)
	for i := range len(id) {
		if c := id[i]; c == '{' || c == '}' || c == '%' {
			n += len("%25") - 1
		}
	}
	return n
}

// escapes are the bytes that appendEscaped replaces: the braces would end or
// begin a hash tag, the percent sign is what begins a replacement.
const escapes = "{}%"

func appendEscaped(b []byte, s string) []byte {
	for {
		i := strings.IndexAny(s, escapes)
		if i < 0 {
			return append(b, s...)
		}
		b = append(b, s[:i]...)
		b = append(b, escapeOf(s[i])...)
		s = s[i+1:]
	}
}

// escapeOf returns the stored form of a byte of escapes.
func escapeOf(c byte) string {
	switch c {
	case '{':
		return "%7B"
	case '}':
		return "%7D"
	}
	return "%25"
}

// checkName checks a prefix, version or namespace. None of the bytes it allows
// is special in a glob pattern or a hash tag.
func checkName(what, name string, colons bool) error {
	allowed := "A-Z a-z 0-9 . _ / -"
	if colons {
		allowed += " and : inside"
	}
	if len(name) < 1 || len(name) > MaxName {
		return fmt.Errorf("%w %s %s: %d bytes, want 1 to %d", ErrInvalid, what, quote(name), len(name), MaxName)
	}
	for i := range len(name) {
		c := name[i]
		colon := colons && c == ':' && i > 0 && i < len(name)-1
		if !colon && !isNameByte(c) {
			return fmt.Errorf("%w %s %s: %q at %d, want 1 to %d bytes of %s",
				ErrInvalid, what, quote(name), name[i:i+1], i, MaxName, allowed)
		}
	}
	return nil
}

func isNameByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
		c == '.' || c == '_' || c == '/' || c == '-'
}

// quote quotes s for an error text and shortens what is long.
func quote(s string) string {
	const most = 40
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q…", s[:most])
}

// SpaceGroups is how many tokens a namespace has in a cluster: one for each range
// of 512 slots, in a slot of that range. So a value and the token it depends on
// are on the same primary, but for ranges that are divided between two, and a
// primary that is down takes no values of others with it.
const SpaceGroups = 32

// SpaceGroup returns the group of a slot.
func SpaceGroup(slot uint16) int { return int(slot) * SpaceGroups / 16384 }

// TokenKey returns the key of a token of the namespace: that of a group in a
// cluster, the only one elsewhere if the group is negative. It is no key of a
// value, and no pattern of values matches it.
func (s Space) TokenKey(group int) string {
	k := strings.TrimSuffix(s.head, "{") + "#token"
	if group < 0 {
		return k
	}
	return k + ":{" + groupNames()[group*TagGroups/SpaceGroups] + "}"
}

package rc

import "github.com/fleetcache/fleetcache/internal/key"

// Key names a value. The zero Prefix and Version mean the defaults, "cache"
// and "v1".
type Key struct {
	// Prefix begins every key of an application: 1 to 128 characters of
	// A-Z, a-z, 0-9, '.', '_', '/', '-' and ':'.
	Prefix string
	// Version separates generations of what is stored; changing it leaves
	// the old values to expire. The same characters without ':'.
	Version string
	// Namespace is the kind of value. The same characters as Version.
	Namespace string
	// ID is the identifier: any bytes but none at all. More than 512 bytes
	// are replaced by their hash.
	ID string
	// Params are further arguments the value depends on, as alternating
	// names and values. Their order does not matter.
	Params []any
}

// BuildKey returns the Redis key under which a [CacheService] keeps a value,
// for those who use the client directly. Different keys never build the same
// string. It fails for arguments out of range, and says which.
func BuildKey(k Key) (string, error) { return key.Build(key.Key(k)) }

// BuildPattern returns a glob pattern, as SCAN takes it, for keys. ID is the
// pattern of the identifier ('*', '?' and '[…]' match; escape a literal with
// [EscapeGlob]); empty or "*" is the whole namespace. All else is literal.
// With Params, only keys with exactly these match. Without, an ID that ends in
// '*' finds identifiers with any parameters and with none ("user:*"), and other
// IDs are for keys without parameters ("user:?"), though a '*' before their end
// may reach into the hash of parameters: "*b" finds those that end in b, too.
// IDs of more than 512 bytes are found by "*" and in full only, and '?' and
// '[…]' do not stand for '{', '}' or '%', which a key holds as three bytes.
func BuildPattern(k Key) (string, error) { return key.Pattern(key.Key(k)) }

// EscapeGlob returns the pattern that matches exactly s.
func EscapeGlob(s string) string { return key.EscapeGlob(s) }

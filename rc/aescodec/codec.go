// Package aescodec encrypts cached values with AES-GCM, under keys that can be
// rotated.
//
// A [Codec] wraps another codec, which encodes first. To compress as well, give
// it a zstdcodec: encrypted bytes do not compress.
//
// # Rotation
//
// New values are encrypted with the primary key; values are decrypted with
// whichever key of the ring they name. To rotate without misses: first give
// every instance a ring that has the new key too, then one whose primary it is,
// and drop the old key when the last value under it has expired. A value under
// a key that is not in the ring is an error, so a miss for the cache.
//
// # What it protects
//
// Who reads Redis learns lengths, keys, tags and times, but not values, and who
// writes to it cannot make up a value. Whoever can write may put one value in
// the place of another one, or an old one in the place of a new one: a codec
// does not know under which Redis key its bytes are.
//
// Each value has a random nonce of 96 bits. A key must not encrypt more than
// 2^32 values.
package aescodec

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/fleetcache/fleetcache/rc"
)

// ErrCorrupt means that bytes were not written by this codec with the key they
// name, or were changed since.
var ErrCorrupt = errors.New("aescodec: corrupt value")

// ErrUnknownKey means that a value names a key that is not in the ring. The
// errors that wrap it name the id.
var ErrUnknownKey = errors.New("aescodec: unknown key")

// Keyring is the keys of a [Codec].
type Keyring struct {
	// Primary is the id of the key that encrypts. It must be in Keys.
	Primary uint32
	// Keys are the keys by their ids, of 16 bytes for AES-128 or 32 for AES-256,
	// all random. The ids are stored with the values and are no secret. An id
	// must never be given to another key.
	Keys map[uint32][]byte
}

// String returns the ids of the keys. It keeps the keys out of logs.
func (r Keyring) String() string {
	return fmt.Sprintf("aescodec.Keyring{Primary: %d, Keys: %d}", r.Primary, slices.Sorted(maps.Keys(r.Keys)))
}

// GoString is the same as String, for %#v.
func (r Keyring) GoString() string { return r.String() }

// A value is the version byte, the id of the key as big-endian uint32, a nonce
// of 12 bytes, the ciphertext and a tag of 16 bytes. Version and id are
// authenticated. No other wrapper of this module begins with the version byte,
// so that wrappers taken off in the wrong order are an error.
const (
	version    = 0xa1
	headerSize = 1 + 4
	overhead   = 12 + 16
)

// A Codec is an [rc.Codec] that encrypts what another codec encodes. Use [New];
// the zero value is not valid. It is immutable and may be used concurrently.
type Codec[T any] struct {
	inner   rc.Codec[T]
	primary cipher.AEAD
	header  []byte // of values encrypted with primary
	keys    map[uint32]cipher.AEAD
}

// New returns a Codec around inner, or around [rc.JSON] if inner is nil. It
// keeps no reference to keys. The error names each key of the wrong size by its
// id, and a primary key that is missing.
func New[T any](inner rc.Codec[T], keys Keyring) (*Codec[T], error) {
	if inner == nil {
		inner = rc.JSON[T]{}
	}
	c := &Codec[T]{inner: inner, keys: make(map[uint32]cipher.AEAD, len(keys.Keys))}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(keys.Keys)) {
		aead, err := newAEAD(keys.Keys[id])
		if err != nil {
			errs = append(errs, fmt.Errorf("aescodec: key %d: %w", id, err))
		}
		c.keys[id] = aead
	}
	primary, ok := c.keys[keys.Primary]
	if !ok {
		errs = append(errs, fmt.Errorf("aescodec: primary key %d is not among the %d keys",
			keys.Primary, len(keys.Keys)))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.primary = primary
	c.header = binary.BigEndian.AppendUint32([]byte{version}, keys.Primary)
	return c, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	// AES-192 is left out: nothing asks for it, and a key of 24 bytes is more
	// likely one that was cut or not decoded.
	if len(key) != 16 && len(key) != 32 {
		return nil, fmt.Errorf("%d bytes, want 16 or 32", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Append implements [rc.Codec]. The error is that of the inner codec.
func (c *Codec[T]) Append(dst []byte, v T) ([]byte, error) {
	p := scratch.Get().(*[]byte)
	plain, err := c.inner.Append((*p)[:0], v)
	if err == nil {
		dst = append(dst, c.header...)
		dst = c.primary.Seal(dst, nil, plain, c.header)
	}
	if cap(plain) <= maxScratch {
		clear(plain[:cap(plain)])
		*p = plain
		scratch.Put(p)
	}
	return dst, err
}

// Decode implements [rc.Codec]. The error is that of the inner codec, or wraps
// [ErrUnknownKey] or [ErrCorrupt].
func (c *Codec[T]) Decode(src []byte) (T, error) {
	var zero T
	if len(src) < headerSize+overhead {
		return zero, fmt.Errorf("%w: %d bytes, want %d at least", ErrCorrupt, len(src), headerSize+overhead)
	}
	if src[0] != version {
		return zero, fmt.Errorf("%w: first byte %#02x, want %#02x", ErrCorrupt, src[0], version)
	}
	header := src[:headerSize]
	id := binary.BigEndian.Uint32(header[1:])
	aead, ok := c.keys[id]
	if !ok {
		return zero, fmt.Errorf("%w %d", ErrUnknownKey, id)
	}
	// Fresh memory: src must not change, and the value may refer to the plain
	// bytes for ever.
	plain, err := aead.Open(nil, nil, src[headerSize:], header)
	if err != nil {
		return zero, fmt.Errorf("%w: key %d: %w", ErrCorrupt, id, err)
	}
	return c.inner.Decode(plain)
}

// CodecID returns the id of the inner codec with [rc.CodecIDEncrypted] set.
func (c *Codec[T]) CodecID() uint8 { return rc.CodecID(c.inner) | rc.CodecIDEncrypted }

// scratch holds *[]byte for plain bytes on their way to dst, cleared. Larger
// ones are left to the collector.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

const maxScratch = 1 << 20

package rc

import (
	"encoding/json"
	"unsafe"
)

// A Codec turns values into bytes and back. It must be safe for concurrent use.
//
// A codec may have a third method, CodecID() uint8, see [CodecID]. It names the
// encoding; a value that was stored by a codec with another id is a miss.
// Without the method the id is 0, and the cache cannot tell two such codecs
// apart: whoever replaces one by another also changes the version in the keys.
type Codec[T any] interface {
	// Append appends the encoding of v to dst and returns the extended slice.
	// It neither reads nor changes the bytes that dst has, and keeps neither
	// dst nor v.
	Append(dst []byte, v T) ([]byte, error)
	// Decode returns the value that src encodes. It must not change src, and
	// nobody else ever will: the value may refer to src, which then stays in
	// memory as long as the value does. Decode must return an error, and not
	// panic, for bytes that Append did not write.
	Decode(src []byte) (T, error)
}

// Ids of codecs. Those from 16 to 63 are free for codecs outside this module;
// the ones below are reserved.
const (
	CodecIDJSON   = 1
	CodecIDBytes  = 2
	CodecIDString = 3
	// CodecIDCompressed is set in the id of a codec that compresses what another
	// one encoded, in addition to the id of that one.
	CodecIDCompressed = 0x40
	// CodecIDEncrypted is the same for encryption.
	CodecIDEncrypted = 0x80
)

// CodecID returns the id that c states by a method CodecID() uint8, or 0 if it
// has none.
func CodecID[T any](c Codec[T]) uint8 {
	if c, ok := c.(interface{ CodecID() uint8 }); ok {
		return c.CodecID()
	}
	return 0
}

// JSON is a [Codec] that uses encoding/json, the default. The zero value is
// ready for use. It does not escape HTML.
type JSON[T any] struct{}

// Append implements [Codec]. The error is that of encoding/json.
func (JSON[T]) Append(dst []byte, v T) ([]byte, error) {
	w := appendWriter{dst}
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return dst, err
	}
	return w.b[:len(w.b)-1], nil // without the newline of the encoder
}

// Decode implements [Codec]. The error is that of encoding/json.
func (JSON[T]) Decode(src []byte) (T, error) {
	var v T
	if err := json.Unmarshal(src, &v); err != nil {
		var zero T // v may be half filled
		return zero, err
	}
	return v, nil
}

// CodecID returns [CodecIDJSON].
func (JSON[T]) CodecID() uint8 { return CodecIDJSON }

// appendWriter lets an encoder write behind other bytes. json.Marshal would make
// a slice of its own, to be copied and thrown away.
type appendWriter struct{ b []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// Bytes is a [Codec] that stores bytes as they are. The zero value is ready for
// use. It does not tell a nil slice from an empty one.
type Bytes struct{}

// Append implements [Codec]. The error is always nil.
func (Bytes) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

// Decode returns src itself, without room to append: the caller must not change
// its bytes. The error is always nil.
func (Bytes) Decode(src []byte) ([]byte, error) { return src[:len(src):len(src)], nil }

// CodecID returns [CodecIDBytes].
func (Bytes) CodecID() uint8 { return CodecIDBytes }

// String is a [Codec] that stores the bytes of strings as they are. The zero
// value is ready for use.
type String struct{}

// Append implements [Codec]. The error is always nil.
func (String) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

// Decode returns a string that shares the memory of src. The error is always
// nil.
func (String) Decode(src []byte) (string, error) {
	// A string must never change, and src does not: see Codec.Decode.
	return unsafe.String(unsafe.SliceData(src), len(src)), nil
}

// CodecID returns [CodecIDString].
func (String) CodecID() uint8 { return CodecIDString }

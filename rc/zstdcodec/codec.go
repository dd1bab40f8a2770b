// Package zstdcodec compresses cached values with Zstandard.
//
// A [Codec] wraps another codec: what that one encodes is compressed if it is
// large enough and gets smaller, else stored as it is, with one byte in front
// that tells which. Values of both forms can always be read, so threshold and
// level may differ between the instances of a service.
//
// Encrypted bytes do not compress: with aescodec, this codec is the inner one.
// Compression and encryption together show the size of what was compressed: do
// not put a secret and text of an attacker's choice in one value.
package zstdcodec

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/fleetcache/fleetcache/rc"
)

const (
	// DefaultThreshold is the Threshold that 0 stands for, in bytes.
	DefaultThreshold = 1 << 10
	// DefaultMaxDecodedBytes is the MaxDecodedBytes that 0 stands for.
	DefaultMaxDecodedBytes = 64 << 20
	// Never as Threshold switches compression off. Compressed values are still
	// read.
	Never = -1
)

// Level is how much time is spent to make values smaller.
type Level int

// Levels, from the fastest to the smallest. They are classes of speed: what is
// written at one level may change with the version of the compressor, what was
// written is always read.
const (
	Default Level = iota // about zstd level 3
	Fastest              // about zstd level 1
	Better               // about zstd level 8, two to three times the time of Default
	Best                 // about zstd level 11, far slower still
)

// ErrCorrupt means that bytes were not written by this codec, or were damaged.
var ErrCorrupt = errors.New("zstdcodec: corrupt value")

// ErrTooLarge means that a value has more than MaxDecodedBytes bytes.
var ErrTooLarge = errors.New("zstdcodec: value too large")

// Options configure [New]. The zero value means the defaults.
type Options struct {
	// Threshold is the least size in bytes, as the inner codec encodes it, of a
	// value that is compressed. A larger one saves time, a smaller one memory
	// and network; below some hundred bytes there is nothing to gain. A negative
	// one, such as Never, switches compression off. Defaults to
	// DefaultThreshold.
	Threshold int
	// Level is how hard the codec tries. Any other number than that of a Level
	// means the default. Defaults to Default.
	Level Level
	// MaxDecodedBytes bounds the size of a value in bytes, as the inner codec
	// encodes it, and so the memory that damaged or hostile bytes can make
	// Decode ask for. Values above are an error, in both directions. A bound
	// below zero means the default. Defaults to DefaultMaxDecodedBytes.
	MaxDecodedBytes int
}

// A Codec is an [rc.Codec] that compresses what another codec encodes. Use
// [New]; the zero value is not valid. It may be used concurrently, and never
// starts a goroutine.
type Codec[T any] struct {
	inner     rc.Codec[T]
	threshold int
	max       int
	encoder   func() *zstd.Encoder
	decoder   *zstd.Decoder
}

// New returns a Codec around inner, or around [rc.JSON] if inner is nil.
func New[T any](inner rc.Codec[T], opts Options) *Codec[T] {
	if inner == nil {
		inner = rc.JSON[T]{}
	}
	if opts.Threshold == 0 {
		opts.Threshold = DefaultThreshold
	}
	if opts.MaxDecodedBytes <= 0 {
		opts.MaxDecodedBytes = DefaultMaxDecodedBytes
	}
	if opts.Level < 0 || int(opts.Level) >= len(encoders) {
		opts.Level = Default
	}
	return &Codec[T]{
		inner:     inner,
		threshold: opts.Threshold,
		max:       opts.MaxDecodedBytes,
		encoder:   encoders[opts.Level],
		decoder:   newDecoder(opts.MaxDecodedBytes),
	}
}

// The first byte of a value. No other wrapper of this module begins with one of
// these, so that wrappers taken off in the wrong order are an error.
const (
	markRaw  = 0x51
	markZstd = 0x52
)

// Append implements [rc.Codec]. The error is that of the inner codec, or wraps
// [ErrTooLarge].
func (c *Codec[T]) Append(dst []byte, v T) ([]byte, error) {
	start := len(dst)
	b, err := c.inner.Append(append(dst, markRaw), v)
	if err != nil {
		return dst, err
	}
	body := b[start+1:]
	if len(body) > c.max {
		return dst, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(body), c.max)
	}
	if c.threshold < 0 || len(body) < c.threshold {
		return b, nil
	}
	p := scratch.Get().(*[]byte)
	small := c.encoder().EncodeAll(body, (*p)[:0])
	if len(small) < len(body) {
		b[start] = markZstd
		b = b[:start+1+copy(body, small)]
	}
	if cap(small) <= maxScratch {
		*p = small
		scratch.Put(p)
	}
	return b, nil
}

// Decode implements [rc.Codec]. The error is that of the inner codec, or wraps
// [ErrCorrupt] or [ErrTooLarge]. It asks for little more memory than
// MaxDecodedBytes, whatever src is.
func (c *Codec[T]) Decode(src []byte) (T, error) {
	var zero T
	if len(src) == 0 {
		return zero, fmt.Errorf("%w: no bytes", ErrCorrupt)
	}
	body := src[1:]
	switch src[0] {
	case markRaw:
	case markZstd:
		// Fresh memory: the value may refer to it for ever.
		b, err := c.decoder.DecodeAll(body, nil)
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
			return zero, fmt.Errorf("%w: more than %d bytes: %w", ErrTooLarge, c.max, err)
		case err != nil:
			return zero, fmt.Errorf("%w: %w", ErrCorrupt, err)
		case len(b) == 0:
			return zero, fmt.Errorf("%w: compressed nothing", ErrCorrupt)
		}
		body = b
	default:
		return zero, fmt.Errorf("%w: first byte %#02x", ErrCorrupt, src[0])
	}
	if len(body) > c.max {
		return zero, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(body), c.max)
	}
	return c.inner.Decode(body)
}

// CodecID returns the id of the inner codec with [rc.CodecIDCompressed] set.
func (c *Codec[T]) CodecID() uint8 { return rc.CodecID(c.inner) | rc.CodecIDCompressed }

// encoders has an encoder for each level, made at its first use. They have no
// state but buffers, some megabytes for each processor, so all codecs share
// them.
var encoders = [...]func() *zstd.Encoder{
	Default: newEncoder(zstd.SpeedDefault),
	Fastest: newEncoder(zstd.SpeedFastest),
	Better:  newEncoder(zstd.SpeedBetterCompression),
	Best:    newEncoder(zstd.SpeedBestCompression),
}

func newEncoder(level zstd.EncoderLevel) func() *zstd.Encoder {
	return sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level))
		if err != nil {
			panic(err) // only for options that do not exist
		}
		return e
	})
}

// newDecoder returns a decoder that stops at limit bytes, or a little above:
// the decoder also refuses frames with a window above its limit, and the encoder
// announces one of up to two kilobytes for values smaller than that.
func newDecoder(limit int) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderMaxMemory(uint64(max(limit, 2*zstd.MinWindowSize))))
	if err != nil {
		panic(err) // only for options that do not exist
	}
	return d
}

// scratch holds *[]byte for compressed bytes on their way to dst. Larger ones
// are left to the collector: one large value must not be paid for ever.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

const maxScratch = 1 << 20

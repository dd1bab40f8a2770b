package compare

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rc/aescodec"
	"github.com/fleetcache/fleetcache/rc/zstdcodec"
)

// Bytes is the unit of the length of an encoded value.
const Bytes = "bytes"

// A NamedCodec is a codec of fleetcache.
type NamedCodec struct {
	Name  string
	Codec rc.Codec[subject.Product]
}

// Codecs returns the codecs for structs that the library has.
func Codecs() ([]NamedCodec, error) {
	json := rc.JSON[subject.Product]{}
	zstd := zstdcodec.New[subject.Product](json, zstdcodec.Options{})
	ring := aescodec.Keyring{Primary: 1, Keys: map[uint32][]byte{1: []byte("a key of thirty-two bytes, no op")}}
	aes, err := aescodec.New[subject.Product](json, ring)
	if err != nil {
		return nil, err
	}
	both, err := aescodec.New[subject.Product](zstd, ring)
	if err != nil {
		return nil, err
	}
	return []NamedCodec{{"JSON", json}, {"zstdcodec, JSON", zstd}, {"aescodec, JSON", aes}, {"aescodec, zstdcodec, JSON", both}}, nil
}

// Encode is an encoding, into memory that is there already, and a decoding of a
// value.
func Encode(c rc.Codec[subject.Product], v subject.Product) subject.Bench {
	return func(b *testing.B) (err error) {
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			if buf, err = c.Append(buf[:0], v); err != nil {
				return err
			}
			got, err := c.Decode(buf)
			if err != nil {
				return err
			}
			if got.ID != v.ID || len(got.Name) != len(v.Name) {
				return fmt.Errorf("decoded product %d with a name of %d bytes, want %d and %d", got.ID, len(got.Name), v.ID, len(v.Name))
			}
		}
		b.ReportMetric(float64(len(buf)), Bytes)
		return nil
	}
}

// codecs compares the codecs that the library has.
func codecs(ctx context.Context, l *lab, _ *rounds.Closers) error {
	all, err := Codecs()
	if err != nil {
		return err
	}
	for _, size := range []struct {
		id, title string
		bytes     int
	}{{"codec", "a small value", 0}, {"codec-4k", "4 KiB", 4 << 10}, {"codec-64k", "64 KiB", 64 << 10}} {
		s := spec{
			id: size.id, title: "Encoding and decoding, " + size.title, turn: 50 * time.Millisecond, plain: true,
			extra: []metric{{Bytes, "bytes", "%.0f"}},
			text:  "What a codec costs a store and a load from Redis together. zstdcodec leaves alone what is smaller than 1 KiB. The text is of some fifty words in random order.",
		}
		t, v := l.start(s), subject.NewLargeProduct(7, size.bytes)
		for i, c := range all {
			base := all[0].Name
			if i == 0 {
				base = ""
			}
			t.Add(c.Name, base, Encode(c.Codec, v))
		}
		if err := l.finish(ctx, t, s); err != nil {
			return err
		}
	}
	return nil
}

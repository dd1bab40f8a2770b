package envelope

import (
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// Whatever Parse accepts, Begin and Finish write again byte for byte: no two
// byte strings mean the same.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.hex"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	f.Add([]byte(nil))
	f.Add([]byte("FC\x02"))
	for _, file := range files {
		f.Add(readHex(f, file))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		ParseWriteID(b)
		Parse(b, "k")
		if !bytes.Equal(before, b) {
			t.Errorf("Parse changed its input %x to %x", before, b)
		}
		if len(b) < HeaderSize {
			return
		}
		// With the right hash in place the input gets past the key check.
		b = bytes.Clone(b)
		binary.BigEndian.PutUint64(b[offKeyHash:], keyHash("k"))
		h, p, err := Parse(b, "k")
		if err != nil {
			return
		}
		again, err := Finish(append(Begin(nil, h, "k"), p...), 0)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("written again: %x, %v, want %x", again, err, b)
		}
		if id, ok := ParseWriteID(b); !ok || id != h.WriteID {
			t.Errorf("ParseWriteID = %x, %v, want %x", id, ok, h.WriteID)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(true, false, byte(1), uint64(2), uint64(3), int64(4e6), int64(5e6), int64(6e3), uint64(7),
		"tag", "", uint64(8), "key", []byte("payload"), 3)
	f.Fuzz(func(t *testing.T, negative, stale bool, codec byte, id, version uint64,
		soft, hard, load int64, ns uint64, tag1, tag2 string, token uint64,
		key string, payload []byte, prefix int,
	) {
		h := Header{
			Negative: negative, Stale: stale, Codec: codec, WriteID: id, Version: version,
			SoftTTL: time.Duration(soft), HardTTL: time.Duration(hard), LoadTime: time.Duration(load),
			NamespaceToken: ns,
		}
		for _, name := range []string{tag1, tag2}[:version%3] {
			h.Tags = append(h.Tags, Tag{name[:min(len(name), MaxTagName)], token})
		}
		start := prefix & 0xff
		b, err := Finish(append(Begin(make([]byte, start), h, key), payload...), start)
		if err != nil {
			t.Fatalf("Finish = %v", err)
		}
		got, p, err := Parse(b[start:], key)
		if err != nil {
			t.Fatalf("Parse = %v", err)
		}
		want := h
		want.SoftTTL, want.HardTTL = roundTTL(h.SoftTTL), roundTTL(h.HardTTL)
		want.LoadTime = min(max(h.LoadTime, 0).Truncate(time.Microsecond), math.MaxUint32*time.Microsecond)
		if !reflect.DeepEqual(got, want) || !bytes.Equal(p, payload) {
			t.Errorf("Parse = %+v, %q, want %+v, %q", got, p, want, payload)
		}
	})
}

// roundTTL is the documented rounding, written another way than the code.
func roundTTL(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	down := d.Truncate(time.Millisecond)
	switch {
	case down == d:
		return d
	case down > math.MaxInt64-time.Millisecond:
		return math.MaxInt64
	}
	return down + time.Millisecond
}

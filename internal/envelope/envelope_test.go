package envelope

import (
	"bytes"
	"errors"
	"hash/fnv"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

const testKey = "cache:v1:users:{42}"

// fullHeader sets every field to something a default could not be.
func fullHeader() Header {
	return Header{
		Negative:       true,
		Stale:          true,
		Codec:          0x41,
		WriteID:        0x0123456789abcdef,
		Version:        0x1122334455667788,
		SoftTTL:        10 * time.Minute,
		HardTTL:        70 * time.Minute,
		LoadTime:       1234567 * time.Microsecond,
		NamespaceToken: 0xfedcba9876543210,
		Tags:           []Tag{{"users", 1}, {"", 2}, {"team:\x00\xff", math.MaxUint64}},
	}
}

func build(t testing.TB, h Header, key, payload string) []byte {
	t.Helper()
	b, err := Finish(append(Begin(nil, h, key), payload...), 0)
	if err != nil {
		t.Fatalf("Finish(%+v) = %v", h, err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	headers := map[string]Header{
		"zero":       {},
		"full":       fullHeader(),
		"negative":   {Negative: true},
		"stale":      {Stale: true},
		"saturated":  {LoadTime: math.MaxUint32 * time.Microsecond},
		"longestTTL": {SoftTTL: math.MaxInt64, HardTTL: math.MaxInt64},
	}
	for name, h := range headers {
		for _, payload := range []string{"", "x", strings.Repeat("payload", 1000)} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := build(t, h, testKey, payload)
				got, p, err := Parse(b, testKey)
				if err != nil || !reflect.DeepEqual(got, h) || string(p) != payload {
					t.Errorf("Parse = %+v, %d bytes, %v, want %+v, %d bytes", got, len(p), err, h, len(payload))
				}
			})
		}
	}
}

func TestFinishWorksBehindOtherBytes(t *testing.T) {
	t.Parallel()
	// Spare capacity full of old bytes must not shine through.
	dst := append(make([]byte, 0, 500), "before"...)
	for i := range dst[:500][6:] {
		dst[:500][6+i] = 0xee
	}
	b := append(Begin(dst, fullHeader(), testKey), "payload"...)
	b, err := Finish(b, 6)
	if err != nil {
		t.Fatalf("Finish = %v", err)
	}
	if want := append([]byte("before"), build(t, fullHeader(), testKey, "payload")...); !bytes.Equal(b, want) {
		t.Errorf("envelope behind other bytes = %x, want %x", b, want)
	}
}

func TestDurationsAreRounded(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, ttl, load time.Duration }{
		"one nanosecond": {1, time.Millisecond, 0},
		"exact":          {time.Second, time.Second, time.Second},
		"above":          {time.Second + 1, 1001 * time.Millisecond, time.Second},
		"negative":       {-time.Second, 0, 0},
		"two hours":      {2 * time.Hour, 2 * time.Hour, math.MaxUint32 * time.Microsecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _, err := Parse(build(t, Header{SoftTTL: tt.in, HardTTL: tt.in, LoadTime: tt.in}, "k", ""), "k")
			if err != nil || h.SoftTTL != tt.ttl || h.HardTTL != tt.ttl || h.LoadTime != tt.load {
				t.Errorf("%v is read as soft %v, hard %v, load %v, %v, want %v, %v, %v",
					tt.in, h.SoftTTL, h.HardTTL, h.LoadTime, err, tt.ttl, tt.ttl, tt.load)
			}
		})
	}
}

func TestKeyHashIsFNV1a(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "a", testKey, "\x00\xff"} {
		h := fnv.New64a()
		h.Write([]byte(key))
		if got := keyHash(key); got != h.Sum64() {
			t.Errorf("keyHash(%q) = %x, want %x", key, got, h.Sum64())
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	many := make([]Tag, MaxTags+1)
	long := strings.Repeat("n", MaxTagName+1)
	tests := map[string]struct {
		tags []Tag
		ok   bool
		text string
	}{
		"most tags":      {many[:MaxTags], true, ""},
		"too many tags":  {many, false, "65535 tags"},
		"longest name":   {[]Tag{{Name: long[:MaxTagName]}}, true, ""},
		"name too long":  {[]Tag{{Name: "a"}, {Name: long}}, false, "65535 bytes"},
		"both too large": {append(many, Tag{Name: long}), false, "65535 tags"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := append(Begin([]byte("x"), Header{Tags: tt.tags}, "k"), "payload"...)
			_, err := Finish(b, 1)
			if !tt.ok {
				if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("Finish = %v, want ErrLimit naming %q", err, tt.text)
				}
				if _, _, err := Parse(b[1:], "k"); !errors.Is(err, ErrForeign) {
					t.Errorf("Parse of a refused envelope = %v, want ErrForeign", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Finish = %v", err)
			}
			h, p, err := Parse(b[1:], "k")
			if err != nil || len(h.Tags) != len(tt.tags) || string(p) != "payload" {
				t.Errorf("Parse = %d tags, %q, %v, want %d tags", len(h.Tags), p, err, len(tt.tags))
			}
		})
	}
}

func TestFinishRefusesWhatBeginDidNotWrite(t *testing.T) {
	t.Parallel()
	good := Begin(nil, fullHeader(), testKey)
	for name, tt := range map[string]struct {
		b     []byte
		start int
	}{
		"negative start": {good, -1},
		"start behind":   {good, len(good) + 1},
		"short":          {good[:HeaderSize-1], 0},
		"no magic":       {make([]byte, 100), 0},
		"wrong start":    {good, 1},
		"cut tags":       {good[:HeaderSize+3], 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Finish(tt.b, tt.start); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Finish = %v, want ErrCorrupt", err)
			}
		})
	}
}

func TestParseWriteID(t *testing.T) {
	t.Parallel()
	b := build(t, fullHeader(), testKey, "payload")
	for n := range len(b) + 1 {
		id, ok := ParseWriteID(b[:n])
		if want := n >= 16; ok != want || (ok && id != fullHeader().WriteID) || (!ok && id != 0) {
			t.Errorf("ParseWriteID of %d bytes = %x, %v, want ok %v", n, id, ok, want)
		}
	}
	for off := range 3 {
		c := bytes.Clone(b)
		c[off]++
		if id, ok := ParseWriteID(c); ok {
			t.Errorf("ParseWriteID with byte %d changed = %x, true, want false", off, id)
		}
	}
}

// Not parallel: testing.AllocsPerRun counts the whole process.
func TestAllocations(t *testing.T) {
	h := fullHeader()
	tagged := build(t, h, testKey, "payload")
	h.Tags = nil
	plain := build(t, h, testKey, "payload")
	buf := make([]byte, 0, 256)
	for name, tt := range map[string]struct {
		want float64
		run  func()
	}{
		"Parse without tags": {0, func() { Parse(plain, testKey) }},
		"Parse with tags":    {2, func() { Parse(tagged, testKey) }},
		"ParseWriteID":       {0, func() { ParseWriteID(plain) }},
		"Begin and Finish":   {0, func() { Finish(append(Begin(buf, h, testKey), "payload"...), 0) }},
	} {
		if got := testing.AllocsPerRun(100, tt.run); got != tt.want {
			t.Errorf("%s: %v allocations, want %v", name, got, tt.want)
		}
	}
}

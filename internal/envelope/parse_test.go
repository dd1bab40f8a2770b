package envelope

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
)

func TestParseErrors(t *testing.T) {
	t.Parallel()
	good := build(t, fullHeader(), testKey, "payload")
	// set returns good with some bytes replaced.
	set := func(off int, to ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[off:], to)
		return b
	}
	tests := map[string]struct {
		b    []byte
		want error
	}{
		"nil":                     {nil, ErrForeign},
		"one byte":                {good[:1], ErrForeign},
		"JSON":                    {[]byte(`{"name":"x"}`), ErrForeign},
		"first magic":             {set(0, 'f'), ErrForeign},
		"second magic":            {set(1, 'D'), ErrForeign},
		"magic only":              {good[:2], ErrCorrupt},
		"short header":            {good[:HeaderSize-1], ErrCorrupt},
		"header only":             {good[:HeaderSize], ErrCorrupt},
		"version 0":               {set(2, 0), ErrCorrupt},
		"version 2":               {set(2, 2), ErrNewer},
		"version 2, short header": {set(2, 2)[:3], ErrNewer},
		"unknown flag":            {set(3, 0x02), ErrNewer},
		"highest flag":            {set(3, 0x80), ErrNewer},
		"stale 2":                 {set(OffStale, 2), ErrCorrupt},
		"one tag too many":        {set(6, 0, 4), ErrCorrupt},
		"one tag too few":         {set(6, 0, 2), ErrCorrupt},
		"most tags":               {set(6, 0xff, 0xff), ErrCorrupt},
		"tag name too long":       {set(HeaderSize, 0xff, 0xff), ErrCorrupt},
		"other key hash":          {set(24, 0), ErrWrongKey},
		"payload longer":          {set(52, 0, 0, 0, 8), ErrCorrupt},
		"payload shorter":         {set(52, 0, 0, 0, 6), ErrCorrupt},
		"payload longest":         {set(52, 0xff, 0xff, 0xff, 0xff), ErrCorrupt},
		"byte appended":           {append(bytes.Clone(good), 0), ErrCorrupt},
		"twice":                   {append(bytes.Clone(good), good...), ErrCorrupt},
		"endless soft TTL":        {set(32, 0x7f), ErrCorrupt},
		"endless hard TTL":        {set(40, 0xff), ErrCorrupt},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, p, err := Parse(tt.b, testKey)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Parse = %v, want %v", err, tt.want)
			}
			if !reflect.DeepEqual(h, Header{}) || p != nil {
				t.Errorf("Parse = %+v, %q beside an error, want nothing", h, p)
			}
			for _, other := range []error{ErrForeign, ErrNewer, ErrCorrupt, ErrWrongKey} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("Parse = %v, which is %v too", err, other)
				}
			}
		})
	}
	if _, _, err := Parse(good, testKey+"x"); !errors.Is(err, ErrWrongKey) {
		t.Errorf("Parse under another key = %v, want ErrWrongKey", err)
	}
}

func TestParseLongestTTL(t *testing.T) {
	t.Parallel()
	b := build(t, Header{}, "k", "")
	most := uint64(math.MaxInt64)/1e6 + 1
	for ms, ok := range map[uint64]bool{most - 1: true, most: true, most + 1: false} {
		for off := range 8 {
			b[32+off] = byte(ms >> (8 * (7 - off)))
		}
		h, _, err := Parse(b, "k")
		if (err == nil) != ok || (ok && h.SoftTTL < math.MaxInt64-time.Millisecond) {
			t.Errorf("Parse with a soft TTL of %d ms = %v, %v, want ok %v", ms, h.SoftTTL, err, ok)
		}
	}
}

func TestParseTruncated(t *testing.T) {
	t.Parallel()
	b := build(t, fullHeader(), testKey, "payload")
	for n := range len(b) {
		want := ErrCorrupt
		if n < 2 {
			want = ErrForeign
		}
		if _, _, err := Parse(b[:n], testKey); !errors.Is(err, want) {
			t.Errorf("Parse of the first %d bytes = %v, want %v", n, err, want)
		}
	}
}

func TestPayloadIsPartOfInput(t *testing.T) {
	t.Parallel()
	b := build(t, fullHeader(), testKey, "payload")
	h, p, err := Parse(append(make([]byte, 0, 500), b...), testKey)
	if err != nil {
		t.Fatalf("Parse = %v", err)
	}
	if cap(p) != len(p) {
		t.Errorf("payload has capacity %d, want its length %d", cap(p), len(p))
	}
	_, p, _ = Parse(b, testKey)
	if &p[0] != &b[len(b)-len(p)] {
		t.Error("payload is a copy, want a part of the input")
	}
	clear(b)
	if h.Tags[0].Name != "users" {
		t.Errorf("tag name = %q after the input changed, want a copy", h.Tags[0].Name)
	}
}

// Every flip of a single bit is either an error or changes just the field it is
// in; a flip of a length that counts all the rest is always an error.
func TestSingleBitFlips(t *testing.T) {
	t.Parallel()
	good := build(t, fullHeader(), testKey, "payload")
	for bit := range len(good) * 8 {
		off := bit / 8
		b := bytes.Clone(good)
		b[off] ^= 1 << (bit % 8)
		h, p, err := Parse(b, testKey)
		mustFail := off < 3 || off == 6 || off == 7 || (off >= 24 && off < 32) || (off >= 52 && off < 56)
		if mustFail && err == nil {
			t.Errorf("Parse with bit %d of byte %d flipped = %+v, %q, want an error", bit%8, off, h, p)
		}
		if err == nil && string(p) == "payload" && reflect.DeepEqual(h, fullHeader()) {
			t.Errorf("Parse with bit %d of byte %d flipped returns the original", bit%8, off)
		}
	}
}

// The Lua script that expires a value softly writes one byte.
func TestStaleMarkInPlace(t *testing.T) {
	t.Parallel()
	h := fullHeader()
	h.Stale = false
	b := build(t, h, testKey, "payload")
	b[OffStale] = 1
	got, _, err := Parse(b, testKey)
	if err != nil || !reflect.DeepEqual(got, fullHeader()) {
		t.Errorf("Parse after the mark = %+v, %v, want %+v", got, err, fullHeader())
	}
}

package envelope

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

var update = flag.Bool("update", false,
	"rewrite the golden files; the bytes of a released format must never change")

// TestGolden pins the bytes of format 1: what was written by a released version
// is read for ever.
func TestGolden(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file    string
		key     string
		header  Header
		payload string
	}{
		{"v1-zero", "k", Header{}, ""},
		{"v1-full", testKey, fullHeader(), `{"name":"Ada"}`},
		{"v1-plain", testKey, Header{
			Codec: 1, WriteID: 7, SoftTTL: time.Minute, HardTTL: time.Hour,
			LoadTime: 3 * time.Millisecond, NamespaceToken: 9,
		}, `{"name":"Ada"}`},
		{"v1-negative", testKey, Header{Negative: true, WriteID: 8, HardTTL: time.Second}, ""},
		{"v1-stale", testKey, Header{Stale: true, Version: 3}, "raw"},
		{"v1-tag", "cache:v1:pages:{a:00112233445566778899aabbccddeeff}", Header{
			Codec: 2, Tags: []Tag{{"users", 0x0102030405060708}},
		}, "\x00\x01"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			got := build(t, tt.header, tt.key, tt.payload)
			path := filepath.Join("testdata", tt.file+".hex")
			if *update {
				writeHex(t, path, got)
			}
			want := readHex(t, path)
			if !bytes.Equal(got, want) {
				t.Errorf("envelope changed:\n got %x\nwant %x", got, want)
			}
			h, p, err := Parse(want, tt.key)
			if err != nil || !reflect.DeepEqual(h, tt.header) || string(p) != tt.payload {
				t.Errorf("Parse(golden) = %+v, %q, %v, want %+v, %q", h, p, err, tt.header, tt.payload)
			}
		})
	}
}

// TestOffsets pins what the Lua scripts have as literals.
func TestOffsets(t *testing.T) {
	t.Parallel()
	if OffStale != 5 || OffWriteID != 8 || OffVersion != 16 || HeaderSize != 64 {
		t.Errorf("offsets = %d, %d, %d, header %d, want 5, 8, 16, 64",
			OffStale, OffWriteID, OffVersion, HeaderSize)
	}
	b := readHex(t, filepath.Join("testdata", "v1-full.hex"))
	h := fullHeader()
	if b[5] != 1 {
		t.Errorf("stale mark = %d, want 1", b[5])
	}
	if got := binary.BigEndian.Uint64(b[8:]); got != h.WriteID {
		t.Errorf("write id = %x, want %x", got, h.WriteID)
	}
	if got := binary.BigEndian.Uint64(b[16:]); got != h.Version {
		t.Errorf("version = %x, want %x", got, h.Version)
	}
}

// Golden files hold 16 bytes a line, in hex, so that a change can be read.
func writeHex(t *testing.T, path string, b []byte) {
	t.Helper()
	var text []byte
	for len(b) > 0 {
		n := min(16, len(b))
		text = append(hex.AppendEncode(text, b[:n]), '\n')
		b = b[n:]
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readHex(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(string(bytes.ReplaceAll(text, []byte("\n"), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

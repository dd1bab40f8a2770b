package aescodec

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rc/zstdcodec"
)

var (
	key128 = bytes.Repeat([]byte{1}, 16)
	key256 = bytes.Repeat([]byte{2}, 32)
)

func ring(primary uint32) Keyring {
	return Keyring{Primary: primary, Keys: map[uint32][]byte{7: key128, 0x01020304: key256}}
}

func mustNew[T any](t testing.TB, inner rc.Codec[T], keys Keyring) *Codec[T] {
	t.Helper()
	c, err := New(inner, keys)
	if err != nil {
		t.Fatalf("New = %v", err)
	}
	return c
}

func mustAppend[T any](t testing.TB, c rc.Codec[T], v T) []byte {
	t.Helper()
	b, err := c.Append(nil, v)
	if err != nil {
		t.Fatalf("Append = %v", err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, primary := range []uint32{7, 0x01020304} {
		c := mustNew(t, rc.Bytes{}, ring(primary))
		for _, v := range []string{"", "x", strings.Repeat("secret", 1000)} {
			b, err := c.Append([]byte("before"), []byte(v))
			if err != nil || !bytes.HasPrefix(b, []byte("before")) {
				t.Fatalf("Append = %x, %v, want it behind \"before\"", b, err)
			}
			b = b[len("before"):]
			if len(b) != 1+4+12+len(v)+16 || b[0] != 0xa1 || binary.BigEndian.Uint32(b[1:]) != primary {
				t.Errorf("Append of %d bytes = %d bytes, %x…", len(v), len(b), b[:5])
			}
			if len(v) > 1 && bytes.Contains(b, []byte("secret")) {
				t.Error("the value can be read")
			}
			src := bytes.Clone(b)
			if got, err := c.Decode(src); err != nil || string(got) != v {
				t.Errorf("Decode(Append(%q)) = %q, %v", v, got, err)
			}
			if !bytes.Equal(src, b) {
				t.Error("Decode changed its input")
			}
		}
		if bytes.Equal(mustAppend(t, c, nil), mustAppend(t, c, nil)) {
			t.Error("two values have one nonce")
		}
	}
}

// The layout is in stored values. The test does by hand what the codec does.
func TestLayout(t *testing.T) {
	t.Parallel()
	block, err := aes.NewCipher(key256)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	c := mustNew(t, rc.String{}, ring(7))
	header, nonce := []byte{0xa1, 1, 2, 3, 4}, []byte("twelve bytes")
	b := gcm.Seal(bytes.Join([][]byte{header, nonce}, nil), nonce, []byte("secret"), header)
	if got, err := c.Decode(b); got != "secret" || err != nil {
		t.Errorf("Decode = %q, %v, want \"secret\"", got, err)
	}
	b = mustAppend(t, mustNew(t, rc.String{}, ring(0x01020304)), "secret")
	if got, err := gcm.Open(nil, b[5:17], b[17:], b[:5]); string(got) != "secret" || err != nil {
		t.Errorf("Open(%x) = %q, %v, want \"secret\"", b, got, err)
	}
	// Written by version 1.
	old, err := hex.DecodeString("a100000007000102030405060708090a0b6b3faecc13971eedb9c4b317f5c02ce29c68df07bfa5")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Decode(old); got != "secret" || err != nil {
		t.Errorf("Decode of an old value = %q, %v, want \"secret\"", got, err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	only := func(id uint32, key []byte) Keyring {
		return Keyring{Primary: id, Keys: map[uint32][]byte{id: key}}
	}
	before := mustNew(t, rc.String{}, only(7, key128))
	both := mustNew(t, rc.String{}, ring(0x01020304))
	after := mustNew(t, rc.String{}, only(0x01020304, key256))
	old, fresh := mustAppend(t, before, "old"), mustAppend(t, both, "new")
	if got, err := both.Decode(old); got != "old" || err != nil {
		t.Errorf("Decode of an old value = %q, %v", got, err)
	}
	if got, err := after.Decode(fresh); got != "new" || err != nil {
		t.Errorf("Decode of a new value = %q, %v", got, err)
	}
	if got, err := after.Decode(old); !errors.Is(err, ErrUnknownKey) || !strings.HasSuffix(err.Error(), "unknown key 7") || got != "" {
		t.Errorf("Decode without the key = %q, %v, want ErrUnknownKey naming 7", got, err)
	}
	if _, err := before.Decode(fresh); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("Decode of a value from the future = %v, want ErrUnknownKey", err)
	}
	// The id was given to another key.
	if _, err := mustNew(t, rc.String{}, only(7, key256)).Decode(old); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Decode with another key = %v, want ErrCorrupt", err)
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		keys Keyring
		want []string
	}{
		"zero":       {Keyring{}, []string{"primary key 0 is not among the 0 keys"}},
		"no primary": {ring(8), []string{"primary key 8 is not among the 2 keys"}},
		"AES-192":    {Keyring{1, map[uint32][]byte{1: make([]byte, 24)}}, []string{"key 1: 24 bytes, want 16 or 32"}},
		"all": {
			Keyring{3, map[uint32][]byte{1: nil, 2: make([]byte, 33), 4: key128}},
			[]string{"key 1: 0 bytes", "key 2: 33 bytes", "primary key 3 is not"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := New(rc.Bytes{}, tt.keys)
			if c != nil || err == nil {
				t.Fatalf("New = %v, %v, want an error", c, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), "aescodec: "+want) {
					t.Errorf("New = %v, want an error with %q", err, want)
				}
			}
		})
	}
}

// Any change is noticed: AES-GCM authenticates the value, the codec adds the
// version and the id.
func TestDecodeOfChangedBytes(t *testing.T) {
	t.Parallel()
	keys := ring(7)
	keys.Keys[6] = key128 // so that a changed id can name the same key
	c := mustNew(t, rc.String{}, keys)
	b := mustAppend(t, c, "secret")
	for bit := range len(b) * 8 {
		changed := bytes.Clone(b)
		changed[bit/8] ^= 1 << (bit % 8)
		v, err := c.Decode(changed)
		if v != "" || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknownKey) {
			t.Errorf("Decode with bit %d of byte %d flipped = %q, %v, want an error", bit%8, bit/8, v, err)
		}
	}
	for n := range len(b) {
		if v, err := c.Decode(b[:n]); v != "" || !errors.Is(err, ErrCorrupt) {
			t.Errorf("Decode of the first %d bytes = %q, %v, want ErrCorrupt", n, v, err)
		}
	}
}

func TestCompressThenEncrypt(t *testing.T) {
	t.Parallel()
	zstd := zstdcodec.New(rc.String{}, zstdcodec.Options{})
	c := mustNew(t, rc.Codec[string](zstd), ring(7))
	v := strings.Repeat("secret", 1000)
	b := mustAppend(t, c, v)
	if len(b) > len(v)/10 {
		t.Errorf("%d bytes became %d, want them compressed", len(v), len(b))
	}
	if got, err := c.Decode(b); err != nil || got != v {
		t.Errorf("Decode = %d bytes, %v, want %d", len(got), err, len(v))
	}
	if got := c.CodecID(); got != rc.CodecIDString|rc.CodecIDCompressed|rc.CodecIDEncrypted {
		t.Errorf("CodecID = %#x, want 0xc3", got)
	}
	// The other way round the id is the same, so the bytes must tell.
	wrong := zstdcodec.New(rc.Codec[string](mustNew(t, rc.String{}, ring(7))), zstdcodec.Options{})
	if wrong.CodecID() != c.CodecID() {
		t.Errorf("CodecID of the other order = %#x", wrong.CodecID())
	}
	if _, err := wrong.Decode(b); !errors.Is(err, zstdcodec.ErrCorrupt) {
		t.Errorf("Decode in the other order = %v, want zstdcodec.ErrCorrupt", err)
	}
	if _, err := c.Decode(mustAppend(t, wrong, v)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Decode in the other order = %v, want ErrCorrupt", err)
	}
}

func TestNilInnerIsJSON(t *testing.T) {
	t.Parallel()
	c := mustNew[any](t, nil, ring(7))
	if got := c.CodecID(); got != 0x81 {
		t.Errorf("CodecID = %#x, want 0x81", got)
	}
	if got, err := c.Decode(mustAppend(t, c, any("x"))); got != "x" || err != nil {
		t.Errorf("Decode(Append) = %v, %v", got, err)
	}
	if b, err := c.Append([]byte("x"), func() {}); err == nil || string(b) != "x" {
		t.Errorf("Append of a func = %q, %v, want the error of JSON", b, err)
	}
}

func TestKeysStayOutOfLogs(t *testing.T) {
	t.Parallel()
	r := Keyring{Primary: 1, Keys: map[uint32][]byte{1: []byte("0123456789abcdef"), 9: key128}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		got := fmt.Sprintf(format, r)
		if want := "aescodec.Keyring{Primary: 1, Keys: [1 9]}"; got != want {
			t.Errorf("%s = %s, want %s", format, got, want)
		}
	}
}

// The ring may change after New, and goroutines must not get each other's bytes.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	keys := Keyring{Primary: 1, Keys: map[uint32][]byte{1: bytes.Clone(key128)}}
	c := mustNew(t, rc.Bytes{}, keys)
	clear(keys.Keys[1])
	clear(keys.Keys)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var kept [][]byte
			for i := range 50 {
				b, err := c.Append(nil, bytes.Repeat([]byte{byte(g), byte(i)}, 500))
				if err != nil {
					t.Errorf("Append = %v", err)
					return
				}
				v, err := c.Decode(b)
				if err != nil {
					t.Errorf("Decode = %v", err)
					return
				}
				kept = append(kept, v)
			}
			for i, v := range kept {
				if !bytes.Equal(v, bytes.Repeat([]byte{byte(g), byte(i)}, 500)) {
					t.Errorf("value %d of goroutine %d changed", i, g)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzDecode(f *testing.F) {
	zstd := zstdcodec.New(rc.Bytes{}, zstdcodec.Options{Threshold: 1, MaxDecodedBytes: 1 << 16})
	c := mustNew(f, rc.Codec[[]byte](zstd), ring(7))
	for _, v := range []string{"", "x", strings.Repeat("secret", 100)} {
		f.Add(mustAppend(f, c, []byte(v)), false)
		f.Add([]byte(v), true)
	}
	block, err := aes.NewCipher(key128)
	if err != nil {
		f.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		f.Fatal(err)
	}
	// No fuzzer finds a valid tag: seal some of its inputs, so that what is
	// behind the decryption sees them too.
	f.Fuzz(func(t *testing.T, src []byte, seal bool) {
		if seal {
			header, nonce := []byte{0xa1, 0, 0, 0, 7}, make([]byte, 12)
			src = gcm.Seal(append(bytes.Clone(header), nonce...), nonce, src, header)
		}
		v, err := c.Decode(src)
		if err != nil {
			return
		}
		if again, err := c.Decode(mustAppend(t, c, v)); err != nil || !bytes.Equal(again, v) {
			t.Errorf("Decode(Append(Decode)) = %q, %v, want %q", again, err, v)
		}
	})
}

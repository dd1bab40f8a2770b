package zstdcodec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fleetcache/fleetcache/rc"
)

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b)
	return b
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	values := map[string]struct {
		v    []byte
		opts Options
		mark byte
	}{
		"empty":            {nil, Options{Threshold: 1}, markRaw},
		"below default":    {bytes.Repeat([]byte("a"), DefaultThreshold-1), Options{}, markRaw},
		"at default":       {bytes.Repeat([]byte("a"), DefaultThreshold), Options{}, markZstd},
		"below threshold":  {bytes.Repeat([]byte("a"), 99), Options{Threshold: 100}, markRaw},
		"at threshold":     {bytes.Repeat([]byte("a"), 100), Options{Threshold: 100}, markZstd},
		"incompressible":   {noise(5000), Options{}, markRaw},
		"one byte":         {[]byte("a"), Options{Threshold: 1}, markRaw},
		"never":            {bytes.Repeat([]byte("a"), 5000), Options{Threshold: Never}, markRaw},
		"unknown level":    {bytes.Repeat([]byte("a"), 5000), Options{Level: 99}, markZstd},
		"negative level":   {bytes.Repeat([]byte("a"), 5000), Options{Level: -1}, markZstd},
		"negative bound":   {bytes.Repeat([]byte("a"), 5000), Options{MaxDecodedBytes: -1}, markZstd},
		"many blocks":      {bytes.Repeat(noise(1000), 1000), Options{}, markZstd},
		"beyond a window":  {bytes.Repeat([]byte("0123456789abcdef"), 9<<16), Options{Level: Fastest}, markZstd},
		"bound 1024":       {bytes.Repeat([]byte("a"), 1024), Options{MaxDecodedBytes: 1024}, markZstd},
		"bound 1500":       {bytes.Repeat([]byte("a"), 1500), Options{MaxDecodedBytes: 1500}, markZstd},
		"bound 90":         {bytes.Repeat([]byte("a"), 90), Options{Threshold: 1, MaxDecodedBytes: 90}, markZstd},
		"bound and window": {bytes.Repeat([]byte("a"), 9<<20), Options{MaxDecodedBytes: 9 << 20}, markZstd},
	}
	for name, tt := range values {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(rc.Bytes{}, tt.opts)
			b, err := c.Append([]byte("before"), tt.v)
			if err != nil || !bytes.HasPrefix(b, []byte("before")) {
				t.Fatalf("Append = %d bytes, %v, want them behind \"before\"", len(b), err)
			}
			b = b[len("before"):]
			if b[0] != tt.mark {
				t.Errorf("first byte = %#x, want %#x", b[0], tt.mark)
			}
			if len(b) > len(tt.v)+1 || tt.mark == markZstd && len(b) > len(tt.v) {
				t.Errorf("%d bytes became %d", len(tt.v), len(b))
			}
			src := bytes.Clone(b)
			if got, err := c.Decode(src); err != nil || !bytes.Equal(got, tt.v) {
				t.Errorf("Decode(Append) = %d bytes, %v, want %d", len(got), err, len(tt.v))
			}
			if !bytes.Equal(src, b) {
				t.Error("Decode changed its input")
			}
			// Whatever wrote it, default options read it.
			if got, err := New(rc.Bytes{}, Options{}).Decode(b); err != nil || !bytes.Equal(got, tt.v) {
				t.Errorf("Decode with other options = %d bytes, %v, want %d", len(got), err, len(tt.v))
			}
		})
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat(`{"name":"Ada","age":36},`, 10) + string(noise(200)))
	for _, level := range []Level{Default, Fastest, Better, Best} {
		c := New(rc.Bytes{}, Options{Threshold: 1, Level: level})
		b, err := c.Append(nil, text)
		if err != nil || len(b) >= len(text) {
			t.Fatalf("level %d: Append = %d bytes, %v, want less than %d", level, len(b), err, len(text))
		}
		if got, err := c.Decode(b); err != nil || !bytes.Equal(got, text) {
			t.Errorf("level %d: Decode = %q, %v", level, got, err)
		}
	}
	seen := map[*zstd.Encoder]bool{}
	for _, e := range encoders {
		seen[e()] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d encoders, want one for each of 4 levels", len(seen))
	}
}

// bomb returns the compressed form of n equal bytes. With a stream, the frame
// does not say how large it is.
func bomb(t testing.TB, n int, stream bool) []byte {
	t.Helper()
	b := bytes.NewBuffer([]byte{markZstd})
	w, err := zstd.NewWriter(b, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<16))
	if err != nil {
		t.Fatal(err)
	}
	if !stream {
		return w.EncodeAll(make([]byte, n), b.Bytes())
	}
	for range n >> 10 {
		w.Write(make([]byte, 1<<10))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	const limit = 1 << 17
	good := bomb(t, limit, false)
	frame := good[1:]
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1 // in the checksum
	claim := binary.LittleEndian.AppendUint64([]byte{markZstd, 0x28, 0xb5, 0x2f, 0xfd, 0xe0}, 1<<40)
	// A window of 8 MiB in front of one raw block of one byte.
	window := []byte{markZstd, 0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 1 | 1<<3, 0, 0, 'x'}
	if v, err := New(rc.Bytes{}, Options{}).Decode(window); err != nil || string(v) != "x" {
		t.Errorf("Decode of a large window without a bound = %q, %v, want \"x\"", v, err)
	}
	tests := map[string]struct {
		src  []byte
		want error
	}{
		"nil":                {nil, ErrCorrupt},
		"foreign":            {[]byte("{}"), ErrCorrupt},
		"zstd, no mark":      {frame, ErrCorrupt},
		"mark only":          {[]byte{markZstd}, ErrCorrupt},
		"noise":              {append([]byte{markZstd}, noise(100)...), ErrCorrupt},
		"truncated":          {good[:len(good)-1], ErrCorrupt},
		"checksum":           {flipped, ErrCorrupt},
		"garbage behind":     {append(bytes.Clone(good), "garbage"...), ErrCorrupt},
		"bomb":               {bomb(t, limit+1, false), ErrTooLarge},
		"large bomb":         {bomb(t, 32<<20, false), ErrTooLarge},
		"stream":             {bomb(t, limit+1024, true), ErrTooLarge},
		"large stream":       {bomb(t, 16<<20, true), ErrTooLarge},
		"bomb in two frames": {append(bytes.Clone(good), frame...), ErrTooLarge},
		"large claim":        {claim, ErrTooLarge},
		"large window":       {window, ErrTooLarge},
		"raw too large":      {append([]byte{markRaw}, make([]byte, limit+1)...), ErrTooLarge},
	}
	c := New(rc.Bytes{}, Options{MaxDecodedBytes: limit})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if v, err := c.Decode(tt.src); !errors.Is(err, tt.want) || v != nil {
				t.Errorf("Decode = %d bytes, %v, want %v", len(v), err, tt.want)
			}
		})
	}
	for name, src := range map[string][]byte{"frame": good, "stream": bomb(t, limit, true)} {
		if v, err := c.Decode(src); err != nil || len(v) != limit {
			t.Errorf("Decode of a %s at the limit = %d bytes, %v", name, len(v), err)
		}
	}
	// Below the smallest limit of the decoder the codec looks itself.
	tiny := New(rc.Bytes{}, Options{MaxDecodedBytes: 10})
	if _, err := tiny.Decode(bomb(t, 11, false)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Decode of 11 bytes = %v, want ErrTooLarge", err)
	}
}

// A value that is refused must not cost the memory it asks for. Not parallel:
// the numbers are those of the process.
func TestDecodeMemory(t *testing.T) {
	const limit = 1 << 17
	c := New(rc.Bytes{}, Options{MaxDecodedBytes: limit})
	claim := binary.LittleEndian.AppendUint32([]byte{markZstd, 0x28, 0xb5, 0x2f, 0xfd, 0xa0}, 256<<20)
	for name, src := range map[string][]byte{
		"claim": append(claim, 1, 0, 0), "frame": bomb(t, 32<<20, false), "stream": bomb(t, 32<<20, true),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := c.Decode(src); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Decode of a %s = %v, want ErrTooLarge", name, err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 16*limit {
			t.Errorf("Decode of a %s of %d bytes allocates %d bytes, want at most %d", name, len(src), got, 16*limit)
		}
	}
}

func TestAppendErrors(t *testing.T) {
	t.Parallel()
	c := New(rc.Bytes{}, Options{MaxDecodedBytes: 1000})
	if b, err := c.Append([]byte("x"), make([]byte, 1001)); !errors.Is(err, ErrTooLarge) || string(b) != "x" {
		t.Errorf("Append = %q, %v, want ErrTooLarge", b, err)
	}
	j := New(rc.Codec[any](nil), Options{})
	if b, err := j.Append([]byte("x"), func() {}); err == nil || string(b) != "x" {
		t.Errorf("Append = %q, %v, want the error of JSON", b, err)
	}
	if _, err := j.Decode([]byte{markRaw, '{'}); err == nil {
		t.Error("Decode of half an object succeeds")
	}
}

func TestNilInnerIsJSON(t *testing.T) {
	t.Parallel()
	c := New[map[string]int](nil, Options{})
	b, err := c.Append(nil, map[string]int{"a": 1})
	if err != nil || string(b) != "\x51{\"a\":1}" {
		t.Errorf("Append = %q, %v", b, err)
	}
	if got := c.CodecID(); got != rc.CodecIDJSON|rc.CodecIDCompressed {
		t.Errorf("CodecID = %#x, want 0x41", got)
	}
	if got := rc.CodecID[string](New(rc.String{}, Options{})); got != 0x43 {
		t.Errorf("CodecID = %#x, want 0x43", got)
	}
}

// Decoded values must not share memory with one another or with a buffer that
// the next call uses. Run with -race.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c := New(rc.Bytes{}, Options{Threshold: 1})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var kept [][]byte
			for i := range 50 {
				b, err := c.Append(nil, bytes.Repeat([]byte{byte(g), byte(i)}, 1000))
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
				if !bytes.Equal(v, bytes.Repeat([]byte{byte(g), byte(i)}, 1000)) {
					t.Errorf("value %d of goroutine %d changed", i, g)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzDecode(f *testing.F) {
	const limit = 1 << 16
	c := New(rc.Bytes{}, Options{Threshold: 1, MaxDecodedBytes: limit})
	for _, v := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("ab"), 1000), noise(100)} {
		b, err := c.Append(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(bomb(f, limit+1, false))
	f.Add(bomb(f, 2*limit, true))
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := c.Decode(src)
		if err != nil {
			return
		}
		if len(v) > limit {
			t.Fatalf("Decode = %d bytes, want at most %d", len(v), limit)
		}
		b, err := c.Append(nil, v)
		if err != nil {
			t.Fatalf("Append(Decode) = %v", err)
		}
		if again, err := c.Decode(b); err != nil || !bytes.Equal(again, v) {
			t.Errorf("Decode(Append(Decode)) = %q, %v, want %q", again, err, v)
		}
	})
}

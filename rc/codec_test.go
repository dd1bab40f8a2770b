package rc

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

type codecUser struct {
	Name string            `json:"name"`
	Age  int               `json:"age,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
}

// testCodec checks that values come back and that Append only appends.
func testCodec[T any](t *testing.T, c Codec[T], values ...T) {
	t.Helper()
	for _, v := range values {
		dst := append(make([]byte, 0, 64), "before"...)
		b, err := c.Append(dst, v)
		if err != nil || !strings.HasPrefix(string(b), "before") {
			t.Fatalf("Append(%v) = %q, %v, want it behind \"before\"", v, b, err)
		}
		src := bytes.Clone(b[len("before"):])
		got, err := c.Decode(src)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("Decode(Append(%v)) = %v, %v", v, got, err)
		}
		if !bytes.Equal(src, b[len("before"):]) {
			t.Errorf("Decode changed its input to %q", src)
		}
	}
}

func TestCodecs(t *testing.T) {
	t.Parallel()
	testCodec(t, JSON[codecUser]{}, codecUser{}, codecUser{"Ada <&> \u2028", 36, map[string]string{"a": "b"}})
	testCodec(t, JSON[*codecUser]{}, nil, &codecUser{Name: "Ada"})
	testCodec(t, JSON[[]int]{}, nil, []int{}, []int{1, 2})
	testCodec[any](t, JSON[any]{}, nil, "x", 1.5, map[string]any{"a": []any{true}})
	testCodec(t, Bytes{}, []byte{}, []byte("x\x00\xff"), bytes.Repeat([]byte("x"), 1000))
	testCodec(t, String{}, "", "x\x00\xff", strings.Repeat("x", 1000))
}

func TestJSONBytes(t *testing.T) {
	t.Parallel()
	b, err := JSON[codecUser]{}.Append([]byte("x"), codecUser{Name: "<Ada>"})
	if want := `x{"name":"<Ada>"}`; string(b) != want || err != nil {
		t.Errorf("Append = %q, %v, want %q", b, err, want)
	}
}

func TestJSONErrors(t *testing.T) {
	t.Parallel()
	if b, err := (JSON[any]{}).Append([]byte("before"), func() {}); err == nil || string(b) != "before" {
		t.Errorf("Append of a func = %q, %v, want an error", b, err)
	}
	for _, src := range []string{"", "{", `{"name":1}`, `{"name":"x","age":"y"}`, `{} {}`, "\xff"} {
		if v, err := (JSON[codecUser]{}).Decode([]byte(src)); err == nil || !reflect.DeepEqual(v, codecUser{}) {
			t.Errorf("Decode(%q) = %+v, %v, want the zero value and an error", src, v, err)
		}
	}
}

func TestRawCodecsDoNotCopy(t *testing.T) {
	t.Parallel()
	src := append(make([]byte, 0, 64), "value"...)
	b, err := Bytes{}.Decode(src)
	if err != nil || &b[0] != &src[0] || cap(b) != len(src) {
		t.Errorf("Bytes.Decode = %q with capacity %d, %v, want its input without spare room", b, cap(b), err)
	}
	s, err := String{}.Decode(src)
	if err != nil || unsafe.StringData(s) != &src[0] {
		t.Errorf("String.Decode = %q, %v, want the memory of its input", s, err)
	}
	for _, src := range [][]byte{nil, {}} {
		if b, err := (Bytes{}).Decode(src); err != nil || len(b) != 0 {
			t.Errorf("Bytes.Decode of nothing = %q, %v", b, err)
		}
		if s, err := (String{}).Decode(src); err != nil || s != "" {
			t.Errorf("String.Decode of nothing = %q, %v", s, err)
		}
	}
}

// noID is a codec of a user: no third method.
type noID struct{}

func (noID) Append(dst []byte, v int) ([]byte, error) { return append(dst, byte(v)), nil }
func (noID) Decode(src []byte) (int, error)           { return len(src), nil }

// The ids are in stored values: they must never change.
func TestCodecID(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ got, want uint8 }{
		"JSON":   {CodecID[codecUser](JSON[codecUser]{}), 1},
		"Bytes":  {CodecID[[]byte](Bytes{}), 2},
		"String": {CodecID[string](String{}), 3},
		"user's": {CodecID[int](noID{}), 0},
	} {
		if tt.got != tt.want {
			t.Errorf("CodecID of %s = %d, want %d", name, tt.got, tt.want)
		}
	}
	if CodecIDCompressed != 0x40 || CodecIDEncrypted != 0x80 {
		t.Errorf("wrapper ids = %#x, %#x, want 0x40, 0x80", CodecIDCompressed, CodecIDEncrypted)
	}
}

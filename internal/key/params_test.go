package key

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

type (
	named     int64
	namedText string
	enum      uint8
)

// String must not be called: two enums may have one text.
func (enum) String() string { panic("called") }

func ptr[T any](v T) *T { return &v }

// equalValues are groups of values: those of one group have one hash, which no
// value of another group has.
var equalValues = map[string][]any{
	"nil":       {nil, (*int)(nil), (**string)(nil), ptr((*int)(nil))},
	"true":      {true, ptr(true)},
	"false":     {false},
	"one":       {1, int8(1), int16(1), int32(1), int64(1), uint(1), uint8(1), uint16(1), uint32(1), uint64(1), uintptr(1), named(1), enum(1), ptr(1), ptr(ptr(1))},
	"zero":      {0, uint8(0), named(0)},
	"minus one": {-1, int8(-1), int64(-1)},
	"least":     {int64(math.MinInt64), named(math.MinInt64)},
	"2^63":      {uint64(1) << 63},
	"most":      {uint64(math.MaxUint64)},
	"1.0":       {1.0, float32(1), ptr(1.0)},
	"0.0":       {0.0, math.Copysign(0, -1), float32(0)},
	"0.1":       {0.1},
	"0.1f":      {float32(0.1), float64(float32(0.1))},
	"+Inf":      {math.Inf(1), float32(math.Inf(1))},
	"-Inf":      {math.Inf(-1)},
	`"1"`:       {"1", namedText("1"), ptr("1")},
	`""`:        {"", namedText("")},
	`"nil"`:     {"nil"},
	"byte 1":    {[]byte("1"), [1]byte{'1'}, json.RawMessage("1"), []enum{'1'}},
	"no bytes":  {[]byte{}, []byte(nil), [0]byte{}},
	"second":    {time.Second, ptr(time.Second)},
	"10^9":      {1000000000},
	"time":      {time.Unix(1, 2), time.Unix(1, 2).UTC(), time.Unix(1, 2).In(time.FixedZone("x", 3600)), ptr(time.Unix(1, 2))},
	"time 0":    {time.Time{}},
	"no list":   {[]int{}, []int(nil), []string{}, [0]int{}, []any{}},
	"[1]":       {[]int{1}, [1]int{1}, []any{1}, []any{uint16(1)}, []*int{ptr(1)}},
	"[[1]]":     {[][]int{{1}}, []any{[]any{1}}},
	"[1 2]":     {[]int{1, 2}},
	"[2 1]":     {[]int{2, 1}},
	`["1"]`:     {[]string{"1"}, []any{"1"}},
	`["a" "b"]`: {[]string{"a", "b"}},
	`["ab"]`:    {[]string{"ab"}},
	"[[] [1]]":  {[][]int{{}, {1}}},
	"[[1] []]":  {[][]int{{1}, {}}},
	"[second]":  {[]time.Duration{time.Second}, []any{time.Second}},
	"[time]":    {[]time.Time{time.Unix(1, 2)}, []any{time.Unix(1, 2).UTC()}},
	"no map":    {map[string]int{}, map[string]int(nil), map[int]bool{}},
	"{a:1 b:2}": {map[string]int{"a": 1, "b": 2}, map[any]any{"b": uint8(2), "a": 1}},
	"{a:2 b:1}": {map[string]int{"a": 2, "b": 1}},
	"{1:a}":     {map[int]string{1: "a"}, map[uint8]namedText{1: "a"}},
	`{"1":a}`:   {map[string]string{"1": "a"}},
}

func mustHash(t testing.TB, params ...any) ParamHash {
	t.Helper()
	h, err := HashParams(params)
	if err != nil {
		t.Fatalf("HashParams(%v) = %v", params, err)
	}
	return h
}

func TestHashParamsEquality(t *testing.T) {
	t.Parallel()
	seen := map[ParamHash]string{}
	for _, name := range slices.Sorted(maps.Keys(equalValues)) {
		want := mustHash(t, "p", equalValues[name][0])
		if other, ok := seen[want]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[want] = name
		for _, v := range equalValues[name][1:] {
			if got := mustHash(t, "p", v); got != want {
				t.Errorf("%s: %T %v has another hash than %T", name, v, v, equalValues[name][0])
			}
		}
	}
}

func TestHashParamsLists(t *testing.T) {
	t.Parallel()
	if h := mustHash(t); !h.IsZero() {
		t.Errorf("HashParams() = %x, want the zero hash", h)
	}
	if mustHash(t, "a", 1, "b", 2, "c", 3) != mustHash(t, "c", 3, "a", 1, "b", 2) {
		t.Error("the order of the pairs matters")
	}
	lists := [][]any{
		{},
		{"a", 1},
		{"b", 1},
		{"a", 2},
		{"a", 1, "b", 1},
		{"a", 1, "b", 2},
		{"a", 2, "b", 1},
		{"a", "b"},
		{"a", "b", "c", "d"},
		{"a", []string{"b", "c", "d"}},
		{"ab", "c"},
		{"a", "bc"},
		{"a", nil},
		{"a", nil, "b", nil},
	}
	seen := map[ParamHash][]any{}
	for _, l := range lists {
		h := mustHash(t, l...)
		if other, ok := seen[h]; ok {
			t.Errorf("%v and %v have one hash", l, other)
		}
		seen[h] = l
	}
	// More pairs than the buffers hold.
	var many []any
	for i := range 100 {
		many = append(many, fmt.Sprint("name", i), strings.Repeat("v", i))
	}
	h := mustHash(t, many...)
	slices.Reverse(many)
	for i := 0; i < len(many); i += 2 {
		many[i], many[i+1] = many[i+1], many[i]
	}
	if mustHash(t, many...) != h {
		t.Error("the order of many pairs matters")
	}
}

// The hash is in keys that other releases read.
func TestHashParamsGolden(t *testing.T) {
	t.Parallel()
	params := []any{
		"a", nil, "b", true, "c", false, "d", 10, "e", -10, "f", 1.5, "g", "text", "h", []byte("bytes"),
		"i", time.Unix(1, 2), "j", time.Minute, "k", []int{1, 2}, "l", map[string]int{"x": 1, "y": 2},
	}
	const want = "b4b42cc3142782d39dff8a33e77f425e"
	if got := fmt.Sprintf("%x", mustHash(t, params...)); got != want {
		t.Errorf("HashParams = %s, want %s", got, want)
	}
}

func TestHashParamsErrors(t *testing.T) {
	t.Parallel()
	slice := []any{nil}
	slice[0] = slice
	cycle := map[string]any{}
	cycle["a"] = cycle
	type self *self
	var p self
	p = &p
	wide := any([]any{1, 2, 3, 4})
	for range 20 {
		wide = []any{wide, wide, wide, wide}
	}
	big := strings.Repeat("x", 2<<20)
	deep := any(1)
	for range maxParamDepth + 1 {
		deep = []any{deep}
	}
	tests := map[string]struct {
		params []any
		want   string
	}{
		"no value":         {[]any{"a", 1, "b"}, `param "b": no value`},
		"no name":          {[]any{1, 2}, "element 0 is a int, want the name of a param"},
		"named string":     {[]any{"a", 1, namedText("b"), 2}, "element 2 is a key.namedText"},
		"nil name":         {[]any{nil, 2}, "element 0 is a <nil>"},
		"empty name":       {[]any{"", 2}, "element 0 is an empty name"},
		"twice":            {[]any{"a", 1, "b", 2, "a", 1}, `param "a": given twice`},
		"NaN":              {[]any{"a", 1, "b", math.NaN()}, `param "b": value is NaN`},
		"float32 NaN":      {[]any{"b", float32(math.NaN())}, `param "b": value is NaN`},
		"NaN inside":       {[]any{"b", map[string][]float64{"x": {1, math.NaN()}}}, `param "b": value is NaN`},
		"NaN as key":       {[]any{"b", map[float64]int{math.NaN(): 1}}, `param "b": value is NaN`},
		"func":             {[]any{"f", func() {}}, `param "f": value has type func()`},
		"nil func":         {[]any{"f", (func())(nil)}, `param "f": value has type func()`},
		"chan":             {[]any{"c", make(chan int)}, "value has type chan int"},
		"complex":          {[]any{"c", 1i}, "value has type complex128"},
		"struct":           {[]any{"s", struct{ A int }{1}}, "value has type struct { A int }"},
		"pointer":          {[]any{"s", &Key{}}, "value has type key.Key"},
		"struct inside":    {[]any{"s", []any{1, Key{}}}, "value has type key.Key"},
		"slice in itself":  {[]any{"s", slice}, "contains itself"},
		"map in itself":    {[]any{"s", cycle}, "contains itself"},
		"pointer circle":   {[]any{"s", p}, "contains itself"},
		"too deep":         {[]any{"s", deep}, "more than 32 levels"},
		"too wide":         {[]any{"s", wide}, "more than 1048576 bytes"},
		"large string":     {[]any{"s", big}, "more than 1048576 bytes"},
		"large name":       {[]any{big, 1}, "more than 1048576 bytes"},
		"large bytes":      {[]any{"s", []byte(big)}, "more than 1048576 bytes"},
		"large enums":      {[]any{"s", make([]enum, 2<<20)}, "more than 1048576 bytes"},
		"large list":       {[]any{"s", make([]int, 1<<18)}, "more than 1048576 bytes"},
		"large map":        {[]any{"s", map[string]string{big[:1<<19]: big[:1<<19]}}, "more than 1048576 bytes"},
		"large keys":       {[]any{"s", map[string]int{big[:1<<19]: 1, big[:1<<19+1]: 1}}, "more than 1048576 bytes"},
		"large sum":        {[]any{"s", big[:1<<19], "t", big[:1<<19]}, "more than 1048576 bytes"},
		"equal keys":       {[]any{"s", map[any]int{1: 1, int8(1): 2}}, "two equal keys"},
		"equal keys, ptrs": {[]any{"s", map[*int]int{ptr(1): 1, ptr(1): 2}}, "two equal keys"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := HashParams(tt.params)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("HashParams = %v, want an error with %q", err, tt.want)
			}
			if !h.IsZero() || len(err.Error()) > 300 {
				t.Errorf("HashParams = %x and an error of %d bytes", h, len(err.Error()))
			}
		})
	}
	deep = deep.([]any)[0]
	if _, err := HashParams([]any{"s", deep}); err != nil {
		t.Errorf("HashParams at the largest depth = %v", err)
	}
}

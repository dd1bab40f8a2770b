package key

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"
)

// ParamHash is a 128-bit hash of a list of parameters. The zero ParamHash stands
// for no parameters.
type ParamHash [16]byte

// IsZero reports whether h stands for no parameters.
func (h ParamHash) IsZero() bool { return h == ParamHash{} }

const (
	// maxParamDepth bounds how deep a value may be nested. It also ends the walk
	// through a value that contains itself.
	maxParamDepth = 32
	// maxParamBytes bounds the encoding. A value that contains another one many
	// times, at many levels, would else take for ever.
	maxParamBytes = 1 << 20
)

// HashParams returns the hash of params, which are names and values in turn.
// The order of the pairs does not matter. No params have the zero hash.
//
// Two lists have the same hash if, and but for a chance of 2^-128 only if, they
// have the same names with equal values. What counts as equal:
//
//   - Integers of all types with the same value are equal: 1, uint8(1), and a
//     named type with the value 1, but not [time.Duration].
//   - Floats of both types with the same value are equal; 1.0 is not 1, and
//     float32(0.1) is not 0.1, since their values differ. Zero has no sign.
//   - Strings, byte slices, bools, and durations are equal to their own kind
//     only: "1" is not 1.
//   - Times are equal if they are the same instant, whatever their zone.
//   - Slices and arrays are equal if their elements are; those of bytes are
//     equal to each other, but not to other lists of small numbers. Maps are
//     equal if their keys and values are. A nil slice or map is an empty one.
//   - A pointer is equal to what it points to; a nil pointer is equal to nil.
//
// Named types count as the type they are made of; methods such as String are
// not called. The error wraps [ErrInvalid] and names the parameter, for a name
// that is not a string, empty, without a value or there twice, and for a value
// that is a NaN, of another kind (struct, func, chan, complex number),
// nested more than 32 levels deep, or above 1 MiB in all. HashParams reads
// values for the duration of the call, and does not allocate for up to eight
// short parameters of basic types.
func HashParams(params []any) (ParamHash, error) {
	if len(params) == 0 {
		return ParamHash{}, nil
	}
	var pairsBuf [8]pair
	pairs, err := sortPairs(pairsBuf[:0], params)
	if err != nil {
		return ParamHash{}, err
	}
	var buf [512]byte
	b := append(buf[:0], paramsFormat)
	b = binary.AppendUvarint(b, uint64(len(pairs)))
	for _, p := range pairs {
		if b, err = appendText(b, tagString, p.name); err == nil {
			b, err = appendParam(b, p.value)
		}
		if err != nil {
			return ParamHash{}, fmt.Errorf("%w param %s: %w", ErrInvalid, quote(p.name), err)
		}
	}
	sum := sha256.Sum256(b)
	return ParamHash(sum[:16]), nil
}

// paramsFormat is the first byte of every encoding. A change of the encoding
// needs another one: it changes all keys with parameters.
const paramsFormat = 1

type pair struct {
	name  string
	value any
}

// sortPairs appends the pairs in params to pairs, sorted by name.
func sortPairs(pairs []pair, params []any) ([]pair, error) {
	for i := 0; i < len(params); i += 2 {
		name, ok := params[i].(string)
		switch {
		case !ok:
			return nil, fmt.Errorf("%w params: element %d is a %T, want the name of a param", ErrInvalid, i, params[i])
		case name == "":
			return nil, fmt.Errorf("%w params: element %d is an empty name, want at least 1 byte", ErrInvalid, i)
		case i+1 == len(params):
			return nil, fmt.Errorf("%w param %s: no value, want names and values in turn", ErrInvalid, quote(name))
		}
		pairs = append(pairs, pair{name, params[i+1]})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(pairs); i++ {
		if pairs[i].name == pairs[i-1].name {
			return nil, fmt.Errorf("%w param %s: given twice", ErrInvalid, quote(pairs[i].name))
		}
	}
	return pairs, nil
}

// Each encoded value begins with a tag and shows its own length, by its tag or
// by a length in front. So no encoding is the beginning of another one, and
// lists of encodings are different if the lists of values are.
const (
	tagNil      = 'n'
	tagFalse    = 'f'
	tagTrue     = 't'
	tagInt      = 'i' // zero and positive, uint64
	tagNegative = 'j' // negative, int64
	tagFloat    = 'd'
	tagString   = 's'
	tagBytes    = 'b'
	tagTime     = 'T'
	tagDuration = 'D'
	tagList     = 'l'
	tagMap      = 'm'
)

var (
	errNaN      = errors.New("value is NaN, which equals nothing")
	errTooDeep  = fmt.Errorf("value is nested more than %d levels deep, or contains itself", maxParamDepth)
	errTooLarge = fmt.Errorf("params have more than %d bytes", maxParamBytes)
	errMapKeys  = errors.New("map has two equal keys of different types")
)

// appendParam appends the encoding of the value of a parameter. What is not
// basic goes through memory of its own: to hand b to the recursive functions
// would move the buffer of HashParams to the heap.
func appendParam(b []byte, v any) ([]byte, error) {
	if b, ok, err := appendBasic(b, v); ok {
		return b, err
	}
	enc, err := appendReflect(nil, reflect.ValueOf(v), 0)
	if err != nil {
		return nil, err
	}
	return checkSize(append(b, enc...))
}

// appendBasic appends the encoding of a value of a common type, without
// reflection. It reports false if it does not know the type.
func appendBasic(b []byte, v any) (_ []byte, ok bool, err error) {
	switch v := v.(type) {
	case nil:
		b = append(b, tagNil)
	case string:
		b, err = appendText(b, tagString, v)
	case int:
		b = appendInt(b, int64(v))
	case int64:
		b = appendInt(b, v)
	case bool:
		b = appendBool(b, v)
	case float64:
		b, err = appendFloat(b, v)
	case []byte:
		b, err = appendText(b, tagBytes, v)
	case time.Time:
		b = append(b, tagTime)
		b = binary.BigEndian.AppendUint64(b, uint64(v.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(v.Nanosecond()))
	case time.Duration:
		b = binary.BigEndian.AppendUint64(append(b, tagDuration), uint64(v))
	default:
		return b, false, nil
	}
	return b, true, err
}

// appendReflect appends the encoding of a value of any other type.
func appendReflect(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxParamDepth {
		return nil, errTooDeep
	}
	switch v.Kind() {
	case reflect.Bool:
		return appendBool(b, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(b, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return binary.BigEndian.AppendUint64(append(b, tagInt), v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return appendFloat(b, v.Float())
	case reflect.String:
		return appendText(b, tagString, v.String())
	case reflect.Slice, reflect.Array:
		return appendList(b, v, depth)
	case reflect.Map:
		return appendMap(b, v, depth)
	case reflect.Interface:
		// Not a level: what it holds is never an interface itself.
		if v.IsNil() {
			return append(b, tagNil), nil
		}
		return appendElem(b, v.Elem(), depth)
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, tagNil), nil
		}
		return appendElem(b, v.Elem(), depth+1)
	}
	return nil, fmt.Errorf("value has type %s, want a number, string, bool, time, "+
		"or a slice, map or pointer of those", v.Type())
}

// appendElem appends an element of something else. It is where times and
// durations inside of slices, maps and pointers are recognised.
func appendElem(b []byte, v reflect.Value, depth int) ([]byte, error) {
	switch v.Type() {
	case timeType, durationType:
		b, _, err := appendBasic(b, v.Interface())
		return b, err
	}
	return appendReflect(b, v, depth)
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
)

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, tagTrue)
	}
	return append(b, tagFalse)
}

func appendInt(b []byte, v int64) []byte {
	tag := byte(tagInt)
	if v < 0 {
		tag = tagNegative
	}
	return binary.BigEndian.AppendUint64(append(b, tag), uint64(v))
}

func appendFloat(b []byte, v float64) ([]byte, error) {
	if math.IsNaN(v) {
		return nil, errNaN
	}
	if v == 0 {
		v = 0 // drop the sign
	}
	return binary.BigEndian.AppendUint64(append(b, tagFloat), math.Float64bits(v)), nil
}

func appendText[T string | []byte](b []byte, tag byte, s T) ([]byte, error) {
	// Before the copy: s may be of any size.
	if len(s) > maxParamBytes {
		return nil, errTooLarge
	}
	b = binary.AppendUvarint(append(b, tag), uint64(len(s)))
	return checkSize(append(b, s...))
}

func checkSize(b []byte) ([]byte, error) {
	if len(b) > maxParamBytes {
		return nil, errTooLarge
	}
	return b, nil
}

func appendList(b []byte, v reflect.Value, depth int) ([]byte, error) {
	n := v.Len()
	if n > maxParamBytes {
		return nil, errTooLarge
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b = binary.AppendUvarint(append(b, tagBytes), uint64(n))
		for i := range n {
			b = append(b, byte(v.Index(i).Uint()))
		}
		return checkSize(b)
	}
	b = binary.AppendUvarint(append(b, tagList), uint64(n))
	var err error
	for i := range n {
		if b, err = appendElem(b, v.Index(i), depth+1); err != nil {
			return nil, err
		}
		if b, err = checkSize(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// appendMap appends the entries in the order of their encoded keys.
func appendMap(b []byte, v reflect.Value, depth int) ([]byte, error) {
	type entry struct {
		key   string // encoded
		value reflect.Value
	}
	if v.Len() > maxParamBytes {
		return nil, errTooLarge
	}
	entries := make([]entry, 0, v.Len())
	size := len(b)
	for it := v.MapRange(); it.Next(); {
		k, err := appendElem(nil, it.Key(), depth+1)
		if err != nil {
			return nil, err
		}
		// All keys are encoded before one is appended: count them now.
		if size += len(k); size > maxParamBytes {
			return nil, errTooLarge
		}
		entries = append(entries, entry{string(k), it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	b = binary.AppendUvarint(append(b, tagMap), uint64(len(entries)))
	var err error
	for i, e := range entries {
		if i > 0 && e.key == entries[i-1].key {
			return nil, errMapKeys
		}
		if b, err = appendElem(append(b, e.key...), e.value, depth+1); err != nil {
			return nil, err
		}
		if b, err = checkSize(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

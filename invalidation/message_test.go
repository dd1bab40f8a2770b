package invalidation

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

const testOrigin = "0123456789abcdef"

// encode makes the message that the script would make.
func encode(h header, version byte, body string) string {
	return magic + string(version) + formatID(h.prev) + formatID(h.id) + strconv.FormatUint(h.seq, 10) + "\n" + body
}

func encodeEvents(h header, events ...Event) string {
	ptrs := make([]*Event, len(events))
	for i := range events {
		ptrs[i] = &events[i]
	}
	return encode(h, version, string(appendBody(nil, testOrigin, ptrs)))
}

func TestMessageRoundTrip(t *testing.T) {
	t.Parallel()
	h := header{position: position{id: 1 << 63, seq: 42}, prev: 7}
	events := []Event{
		{Kind: Key, Namespace: "ns", Name: "k", Partition: 3, Seq: 42, Origin: testOrigin},
		{Kind: User, Name: strings.Repeat("n", 300), Payload: []byte("\x00\nFCB"), Partition: 3, Seq: 42, Origin: testOrigin},
		{Kind: Namespace, Namespace: "ns", Partition: 3, Seq: 42, Origin: testOrigin},
	}
	got, decoded, err := decode(encodeEvents(h, events...), 3)
	if err != nil || got != h || !reflect.DeepEqual(decoded, events) {
		t.Errorf("decode = %+v, %+v, %v, want %+v, %+v", got, decoded, err, h, events)
	}
}

// The bytes of version 1, as they go between instances of different releases.
func TestMessageGoldenBytes(t *testing.T) {
	t.Parallel()
	const golden = "FCB\x01" + "\x00\x00\x00\x00\x00\x00\x00\x07" + "\x00\x00\x00\x00\x00\x00\x01\x00" + "12\n" +
		testOrigin + "\x01" + "\x02" + "\x02ns" + "\x03tag" + "\x02hi"
	h := header{position: position{id: 256, seq: 12}, prev: 7}
	want := Event{Kind: Tag, Namespace: "ns", Name: "tag", Payload: []byte("hi")}
	if got := encodeEvents(h, want); got != golden {
		t.Errorf("encoded %q, want %q", got, golden)
	}
	want.Seq, want.Origin = 12, testOrigin
	got, events, err := decode(golden, 0)
	if err != nil || got != h || !reflect.DeepEqual(events, []Event{want}) {
		t.Errorf("decode = %+v, %+v, %v", got, events, err)
	}
	for name, got := range map[string]int{"shop": partitionOf("shop", "order-1", 8), "": partitionOf("", "x", 8)} {
		if want := map[string]int{"shop": 7, "": 5}[name]; got != want {
			t.Errorf("partition of namespace %q = %d, want %d: instances of other releases would not agree", name, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	h := header{position: position{id: 5, seq: 1}}
	good := encodeEvents(h, Event{Kind: Key, Name: "k"})
	for _, c := range []struct {
		name, msg string
		want      error
		id        uint64
	}{
		{"nothing", "", errMagic, 0},
		{"text", "hello, is anybody there?", errMagic, 0},
		{"no number", encode(header{}, version, "")[:20] + "x\n", errMagic, 0},
		{"no newline", good[:21], errMagic, 0},
		{"number too long", magic + "\x01" + formatID(0) + formatID(5) + strings.Repeat("1", 30) + "\n", errMagic, 0},
		{"number not decimal", magic + "\x01" + formatID(0) + formatID(5) + "-1\n", errMagic, 0},
		{"id of no message", encode(header{position: position{seq: 1}}, version, ""), errMagic, 0},
		{"number of no message", encode(header{position: position{id: 5}}, version, ""), errMagic, 0},
		{"newer version", encode(h, 2, "what do I know"), errVersion, 5},
		{"no body", encode(h, version, ""), errBody, 5},
		{"cut", good[:len(good)-1], errBody, 5},
		{"more", good + "x", errBody, 5},
		{"many events", encode(h, version, testOrigin+"\xff\xff\xff\xff\x0f"), errBody, 5},
		{"number of events without end", encode(h, version, testOrigin+strings.Repeat("\xff", 20)), errBody, 5},
		{"unknown kind", encode(h, version, testOrigin+"\x01\x09\x00\x01k\x00"), errBody, 5},
		{"gap", encode(h, version, testOrigin+"\x01\xff\x00\x01k\x00"), errBody, 5},
		{"long name", encode(h, version, testOrigin+"\x01\x01\x00\xff\x01k\x00"), errBody, 5},
	} {
		got, events, err := decode(c.msg, 0)
		if !errors.Is(err, c.want) || got.id != c.id || events != nil {
			t.Errorf("%s: decode = %+v, %v, %v, want id %d and %v", c.name, got, events, err, c.id, c.want)
		}
	}
}

func TestParseState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state string
		want  position
	}{
		{formatID(3) + formatID(2) + "17", position{id: 3, seq: 17}},
		{"", position{}},
		{"garbage", position{}},
		{formatID(3) + formatID(2), position{}},
		{formatID(3) + formatID(2) + "x", position{}},
	} {
		if got := parseState(c.state); got != c.want {
			t.Errorf("parseState(%q) = %+v, want %+v", c.state, got, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	h := header{position: position{id: 5, seq: 1}, prev: 4}
	f.Add(encodeEvents(h, Event{Kind: Key, Namespace: "ns", Name: "k"}, Event{Kind: User, Name: "u", Payload: []byte("p")}))
	f.Add(encode(h, 2, "newer"))
	f.Add("FCB")
	f.Fuzz(func(t *testing.T, msg string) {
		h, events, err := decode(msg, 1)
		if err != nil {
			if events != nil {
				t.Errorf("decode(%q) = %v with error %v", msg, events, err)
			}
			return
		}
		if h.id == 0 || h.seq == 0 {
			t.Errorf("decode(%q) = %+v, which is no place in a chain", msg, h)
		}
		ptrs := make([]*Event, len(events))
		for i := range events {
			ptrs[i] = &events[i]
		}
		origin := testOrigin
		if len(events) > 0 {
			origin = events[0].Origin
		}
		again := encode(h, version, string(appendBody(nil, origin, ptrs)))
		h2, events2, err := decode(again, 1)
		if err != nil || h2 != h || !reflect.DeepEqual(events2, events) {
			t.Errorf("decode of what was decoded = %+v, %+v, %v, want %+v, %+v", h2, events2, err, h, events)
		}
	})
}

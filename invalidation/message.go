package invalidation

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
)

// A message is
//
//	magic "FCB", version (1 byte), id of the previous message (8 bytes), id of
//	this message (8 bytes), sequence number (decimal), "\n", body
//
// The script puts everything before the body. Up to the newline this is the
// same in all versions, so that a message of a newer version still has its
// place in the chain. The body of version 1 is
//
//	origin (16 bytes), number of events (uvarint), and for each event its
//	kind (1 byte), namespace, name, payload (each length as uvarint, bytes)
const (
	magic     = "FCB"
	version   = 1
	head      = magic + "\x01"
	idLen     = 8
	originLen = 16
	maxDigits = 20
	// minEvent is the least number of bytes an event takes.
	minEvent = 4
)

var (
	errMagic   = errors.New("not a message of this bus")
	errVersion = errors.New("message of an unknown version")
	errBody    = errors.New("message with a malformed body")
)

// position is a place in the chain of the messages of a partition. The zero
// position is before the first message.
type position struct {
	id  uint64
	seq uint64
}

// header is what links a message to its predecessor.
type header struct {
	position
	prev uint64
}

// appendBody appends the body of a message.
func appendBody(b []byte, origin string, events []*Event) []byte {
	b = append(b, origin...)
	b = binary.AppendUvarint(b, uint64(len(events)))
	for _, e := range events {
		b = append(b, byte(e.Kind))
		b = appendField(b, e.Namespace)
		b = appendField(b, e.Name)
		b = binary.AppendUvarint(b, uint64(len(e.Payload)))
		b = append(b, e.Payload...)
	}
	return b
}

func appendField(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// parseID reads the 8 bytes of an id.
func parseID(s string) uint64 {
	var v uint64
	for i := range idLen {
		v = v<<8 | uint64(s[i])
	}
	return v
}

// formatID is the reverse of parseID.
func formatID(id uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, id))
}

// parseState reads the state of a partition. Whatever is not of its form counts
// as no state at all, as it does for the script.
func parseState(s string) position {
	if len(s) <= 2*idLen {
		return position{}
	}
	seq, err := strconv.ParseUint(s[2*idLen:], 10, 64)
	if err != nil {
		return position{}
	}
	return position{id: parseID(s), seq: seq}
}

// decode reads a message. With errVersion and errBody the header is valid. The
// events share memory with the message.
func decode(msg string, partition int) (h header, events []Event, err error) {
	const fixed = len(head) + 2*idLen
	if len(msg) <= fixed || msg[:len(magic)] != magic {
		return h, nil, errMagic
	}
	digits, body, ok := strings.Cut(msg[fixed:min(len(msg), fixed+maxDigits+1)], "\n")
	if !ok {
		return h, nil, errMagic
	}
	body = msg[fixed+len(digits)+1:]
	if h.seq, err = strconv.ParseUint(digits, 10, 64); err != nil {
		return h, nil, errMagic
	}
	h.prev = parseID(msg[len(head):])
	h.id = parseID(msg[len(head)+idLen:])
	if h.id == 0 || h.seq == 0 {
		return header{}, nil, errMagic
	}
	if msg[len(magic)] != version {
		return h, nil, errVersion
	}
	if events, ok = decodeBody(body, partition, h.seq); !ok {
		return h, nil, errBody
	}
	return h, events, nil
}

func decodeBody(body string, partition int, seq uint64) (events []Event, ok bool) {
	if len(body) < originLen {
		return nil, false
	}
	r := reader{rest: body[originLen:]}
	n := r.uvarint()
	if r.bad || n > uint64(len(r.rest)/minEvent) {
		return nil, false
	}
	events = make([]Event, n)
	for i := range events {
		e := &events[i]
		e.Partition, e.Seq, e.Origin = partition, seq, body[:originLen]
		e.Kind = Kind(r.byte())
		e.Namespace, e.Name = r.field(), r.field()
		if p := r.field(); p != "" {
			e.Payload = []byte(p)
		}
		// What this version cannot name may be an invalidation all the same.
		if e.Kind < Key || e.Kind > User {
			return nil, false
		}
	}
	return events, !r.bad && r.rest == ""
}

// reader takes a body apart. After a mistake it is bad, and reads nothing.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) byte() byte {
	if r.bad || r.rest == "" {
		r.bad = true
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.bad = true
	return 0
}

func (r *reader) field() string {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

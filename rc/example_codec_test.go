package rc_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// position has an encoding of its own.
type position struct{ x, y uint32 }

func (p position) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, p.x)
	return binary.BigEndian.AppendUint32(b, p.y), nil
}

func (p *position) UnmarshalBinary(b []byte) error {
	if len(b) != 8 {
		return errors.New("position: not 8 bytes")
	}
	p.x, p.y = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return nil
}

// positionCodec is all it takes. For a protobuf message *pb.User the two
// bodies are
//
//	return proto.MarshalOptions{}.MarshalAppend(dst, v)
//	u := new(pb.User); return u, proto.Unmarshal(src, u)
//
// and other formats are no longer.
type positionCodec struct{}

func (positionCodec) Append(dst []byte, v position) ([]byte, error) { return v.AppendBinary(dst) }

func (positionCodec) Decode(src []byte) (v position, err error) {
	err = v.UnmarshalBinary(src)
	return v, err
}

// CodecID is optional: values stored with another codec are misses.
func (positionCodec) CodecID() uint8 { return 16 }

// A codec is two methods, so that any format can be used.
func Example_codec() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	positions, err := rc.New(m, "positions", rc.Config[position]{Codec: positionCodec{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = positions.Set(ctx, "ship", position{3, 4})

	other, err := srv.Open(ctx, rc.Options{}) // another instance decodes it
	if err != nil {
		fmt.Println(err)
		return
	}
	there, err := rc.New(other, "positions", rc.Config[position]{Codec: positionCodec{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, found, err := there.Get(ctx, "ship")
	fmt.Println(p, found, err)
	// Output: {3 4} true <nil>
}

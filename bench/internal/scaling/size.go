package scaling

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/rc"
)

const (
	// sizeIDs is how many values of each size are read.
	sizeIDs = 64
	// most is how many bytes are moved for one figure, so that large values do
	// not take all of the time; least is how many calls it has all the same.
	most  = 32 << 20
	least = 50
)

// valueSize measures against the bytes of a value.
func valueSize(ctx context.Context, c Config, out *findings) (err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	srv, err := start(ctx)
	if err != nil {
		return err
	}
	end.Add(rounds.Quiet(srv.Stop))
	p, err := openPair(ctx, "redis://"+srv.Addr(), &end)
	if err != nil {
		return err
	}
	ch := &chart{
		id: "size", title: "A read, by the size of the value", x: "size of the value (bytes)", y: "time (µs)", noun: "byte", nouns: "bytes", logX: true, logY: true,
		about: "Values of bytes, which take no decoding, with one goroutine. A fill is a read that finds nothing, loads for free and stores.",
	}
	hit, l2, fill := ch.measure("hit in memory", "µs"), ch.measure("hit in Redis", "µs"), ch.measure("fill", "µs")
	out.charts = append(out.charts, ch)
	ids := make([]string, sizeIDs)
	for i := range ids {
		ids[i] = "value:" + strconv.Itoa(i)
	}
	id := func(i int) string { return ids[i%sizeIDs] }
	all := map[int]services[[]byte]{}
	for _, size := range c.Bytes {
		if all[size], err = ofSize(ctx, p, size, ids); err != nil {
			return err
		}
	}
	fresh := 0
	return inTurn(ctx, c.Rounds, c.Bytes, func(size int, count bool) error {
		s, calls := all[size], min(c.Calls, max(least, most/size))
		h, err := s.hits(ctx, hitsPerCall*c.Calls, id)
		if err != nil {
			return err
		}
		r, err := s.reads(ctx, calls, serial, id)
		if err != nil {
			return err
		}
		filled := make([]string, min(calls, sizeIDs*8))
		for i := range filled {
			filled[i] = "fresh:" + strconv.Itoa(fresh)
			fresh++
		}
		f, err := s.fills(ctx, len(filled), valueOf(size), func(i int) string { return filled[i] })
		if err != nil {
			return err
		}
		if count {
			hit.add(size, h)
			l2.add(size, r)
			fill.add(size, f)
		}
		// They would fill Redis, and push what is read out of memory.
		return s.near.DeleteMany(ctx, filled)
	})
}

// ofSize stores values of a size, and reads them into memory.
func ofSize(ctx context.Context, p pair, size int, ids []string) (services[[]byte], error) {
	cfg := config[[]byte](0)
	cfg.Codec = rc.Bytes{}
	s, err := in(p, fmt.Sprint("size-", size), cfg, 10*sizeIDs)
	if err != nil {
		return s, err
	}
	for _, id := range ids {
		if err := s.far.Set(ctx, id, valueOf(size)); err != nil {
			return s, err
		}
	}
	return s, s.warm(ctx, ids)
}

// valueOf returns a value of so many bytes.
func valueOf(size int) []byte { return bytes.Repeat([]byte("v"), size) }

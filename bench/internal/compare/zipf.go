package compare

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

const (
	zipfKeys  = 100_000
	zipfCalls = 1 << 18 // so many, drawn beforehand, are asked for in turn
	zipfSkew  = 1.07
	// writeEach is one in how many calls invalidates what it names.
	writeEach = 20
)

// HitRatio is the unit of the part of the reads that loaded nothing, in percent.
const HitRatio = "hit%"

// A Skewed is a series of identifiers, some of which come much more often than
// others.
type Skewed []string

// NewSkewed draws a series. It is the same in each process.
func NewSkewed() Skewed {
	ids := make([]string, zipfKeys)
	for i := range ids {
		ids[i] = "product:" + strconv.Itoa(i)
	}
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, zipfSkew, 1, zipfKeys-1)
	out := make(Skewed, zipfCalls)
	for i := range out {
		out[i] = ids[z.Uint64()]
	}
	return out
}

// Mix reads, and invalidates with every twentieth call, in one goroutine per
// core. It reports the hit ratio.
func (s Skewed) Mix(c peer.Cache) subject.Bench {
	return func(b *testing.B) error {
		ctx := context.Background()
		var loads, writes atomic.Int64
		load := func(context.Context) (subject.Product, error) {
			loads.Add(1)
			return theProduct, nil
		}
		err := Cores(func(i int) error {
			id := s[i&(zipfCalls-1)]
			if i%writeEach == 0 {
				writes.Add(1)
				return c.Invalidate(ctx, id)
			}
			_, err := c.GetOrLoad(ctx, id, load)
			return err
		})(b)
		if reads := int64(b.N) - writes.Load(); reads > 0 {
			b.ReportMetric(100*(1-float64(loads.Load())/float64(reads)), HitRatio)
		}
		return err
	}
}

// Warm calls once what will be called, without the writes.
func (s Skewed) Warm(ctx context.Context, c peer.Cache) error {
	return each(ctx, s, func(ctx context.Context, i int) error {
		_, err := c.GetOrLoad(ctx, s[i], freeLoad)
		return err
	})
}

// zipf compares what a service does all day.
func zipf(ctx context.Context, l *lab, end *rounds.Closers) error {
	const (
		memoryOnly = "without Redis, neither a read nor an Invalidate leaves the process"
		deaf       = "its memory is not told of changes, and a miss takes no claim"
	)
	s := spec{
		id: "zipf", title: "95 % reads and 5 % invalidations, Zipf over 100,000 keys, one goroutine per core", turn: 200 * time.Millisecond,
		extra: []metric{{HitRatio, "hit %", "%.1f"}, commandsPerOp},
		text: fmt.Sprintf("Skew %.2f, and a load that costs nothing; hits are reads that did not load. "+
			"There is memory for 10,000 values, but rueidis and rueidisaside count bytes, and their default of 128 MiB for each connection holds all of them. "+
			"With a load that costs a query the order is that of the hit ratios.", zipfSkew),
		why: map[string]string{
			"sturdyc": memoryOnly, "otter": memoryOnly, "go-redis/cache": deaf, "gocache": deaf,
			"rueidis DoCache": "a miss takes no claim, and an Invalidate is a plain DEL",
		},
	}
	t, series := l.start(s), NewSkewed()
	for _, name := range []string{ours, "rueidisaside", "rueidis DoCache", "rueidis GET", "go-redis/cache", "rockscache", "gocache", "sturdyc", "otter"} {
		c, err := l.open(ctx, end, name, peer.Settings{})
		if err != nil {
			return err
		}
		if err := series.Warm(ctx, c); err != nil {
			return err
		}
		base := ours
		if name == ours {
			base = ""
		}
		t.Add(name, base, l.on(subject.Anything, series.Mix(c)))
	}
	return l.finish(ctx, t, s)
}

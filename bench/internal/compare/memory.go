package compare

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

const memoryKeys = 1 << 16

// Held is what a peer's memory holds.
type Held struct {
	// Bytes is the heap for each entry, the value included and the identifier not.
	Bytes float64
	// Part is how many of the reads were answered from memory afterwards.
	Part float64
}

// Hold fills the memory of a peer that open opens, and measures it. Nothing else
// may run.
func Hold(ctx context.Context, servers []*localredis.Server, open func(peer.Settings) (peer.Cache, error)) (h Held, err error) {
	ids := make([]string, memoryKeys)
	for i := range ids {
		ids[i] = "memory:" + strconv.Itoa(i)
	}
	before := steadyHeap()
	c, err := open(peer.Settings{L1Size: memoryKeys + memoryKeys/2})
	if err != nil {
		return h, err
	}
	if err := Fill(ctx, c, ids, 0); err != nil {
		return h, err
	}
	// The second pass is what some memories take values with.
	for range 2 {
		if err := Settle(ctx, c, ids); err != nil {
			return h, err
		}
	}
	h.Bytes = (float64(steadyHeap()) - float64(before)) / memoryKeys
	used, err := subject.UsageOf(servers)
	if err != nil {
		return h, err
	}
	if err := Settle(ctx, c, ids); err != nil {
		return h, err
	}
	after, err := subject.UsageOf(servers)
	h.Part = max(0, 1-float64(after.Commands-used.Commands)/memoryKeys)
	runtime.KeepAlive(ids)
	return h, err
}

// steadyHeap returns the live heap once it no longer changes: what was closed
// before ends in the background.
func steadyHeap() uint64 {
	last := subject.Heap()
	for range 50 {
		time.Sleep(20 * time.Millisecond)
		now := subject.Heap()
		if now+16<<10 > last && last+16<<10 > now {
			return now
		}
		last = now
	}
	return last
}

// memory compares what an entry in memory costs.
func memory(ctx context.Context, l *lab, _ *rounds.Closers) error {
	out := record.Table{
		ID: "memory", Title: "Memory for each entry",
		Text: fmt.Sprintf("Live heap for each of %d values, the value included, in a new cache with room for half as many again. "+
			"Decoded values are larger than encoded ones, and need no decoding. \"In memory\" is the part of the reads that Redis saw nothing of.", memoryKeys),
		Columns: []string{"", "bytes", "in memory, %"},
	}
	var mine float64
	for _, name := range []string{ours, "otter", "sturdyc", "go-redis/cache", "gocache", "rueidisaside", "rueidis DoCache"} {
		h, err := l.holdOne(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if name == ours {
			mine = h.Bytes
		}
		r := record.Row{
			Name:   name,
			Cells:  []string{fmt.Sprintf("%.0f", h.Bytes), fmt.Sprintf("%.0f", 100*h.Part)},
			Values: map[string]float64{"bytes": h.Bytes, "in memory, %": 100 * h.Part},
		}
		switch {
		case name == ours:
		case h.Bytes < mine:
			r.Verdict = fmt.Sprintf("fleetcache is behind: it takes %.2f of ours", h.Bytes/mine)
		default:
			r.Verdict = "fleetcache is ahead"
		}
		out.Rows = append(out.Rows, r)
	}
	l.run.Tables = append(l.run.Tables, out)
	l.log(out)
	return nil
}

// holdOne measures one peer and closes it, so that the next one starts alone.
func (l *lab) holdOne(ctx context.Context, name string) (h Held, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	return Hold(ctx, l.cluster.Nodes(), func(s peer.Settings) (peer.Cache, error) { return l.open(ctx, &end, name, s) })
}

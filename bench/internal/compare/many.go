package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

const (
	manyKeys = 1 << 13 // all of which fit into memory
	loop     = "fleetcache, a loop of GetOrSet"
	largest  = 1000
)

// many compares batches with loops, and with the batches of others.
func many(ctx context.Context, l *lab, end *rounds.Closers) error {
	sizes := []int{largest}
	if !l.Quick {
		sizes = []int{1, 100, largest}
	}
	m := &manyLab{lab: l, ids: subject.IDs(manyKeys)}
	if err := m.open(ctx, end); err != nil {
		return err
	}
	for _, n := range sizes {
		t, s := m.kept(n)
		if err := l.finish(ctx, t, s); err != nil {
			return err
		}
		if n == largest {
			l.result("many1000_ratio_vs_mgetcache", t.Ratio(ours, "rueidis DoCache"))
		}
	}
	for _, n := range sizes {
		t, s := m.stored(n)
		if err := l.finish(ctx, t, s); err != nil {
			return err
		}
		if n == largest {
			l.result("many1000_speedup_vs_loop", t.Ratio(loop, ours))
		}
	}
	if l.Quick {
		return nil
	}
	for _, n := range sizes {
		t, s := m.nowhere(n)
		if err := l.finish(ctx, t, s); err != nil {
			return err
		}
	}
	return nil
}

// manyLab has the peers that have batches.
type manyLab struct {
	*lab
	ids           []string
	memory, redis []peer.Batcher // with values in memory, and without memory
}

func (m *manyLab) open(ctx context.Context, end *rounds.Closers) error {
	memory, redis := []string{ours, "rueidis DoCache"}, []string{ours, "rueidis GET"}
	if !m.Quick {
		memory = append(memory, "otter", "sturdyc")
		redis = append(redis, "go-redis+redsync")
	}
	for _, name := range memory {
		c, err := m.lab.open(ctx, end, name, peer.Settings{L1Size: 2 * manyKeys})
		if err != nil {
			return err
		}
		if err := Fill(ctx, c, m.ids, 0); err != nil {
			return err
		}
		if err := Warm(ctx, c, m.ids, m.cluster.Nodes()); err != nil {
			return err
		}
		m.memory = append(m.memory, c.(peer.Batcher))
	}
	for _, name := range redis {
		c, err := m.lab.inRedis(ctx, end, name, m.ids, rc.Off)
		if err != nil {
			return err
		}
		m.redis = append(m.redis, c.(peer.Batcher))
	}
	return nil
}

// turnOf is longer for batches that take longer.
func turnOf(n int) time.Duration {
	if n < largest {
		return 50 * time.Millisecond
	}
	return 100 * time.Millisecond
}

func identifiers(n int) string {
	if n == 1 {
		return "1 identifier"
	}
	return fmt.Sprintf("%d identifiers", n)
}

// contend adds a row for each of the caches, the first of which is ours, and
// one for a loop over single reads of that.
func (m *manyLab) contend(t *rounds.Table, caches []peer.Batcher, want subject.Bounds, batch func(peer.Batcher) Op, single func(peer.Cache) Op) {
	base := ""
	for _, c := range caches {
		t.Add(c.Name(), base, m.on(want, subject.Serial(batch(c))))
		base = ours
	}
	t.Add(loop, ours, m.on(want, subject.Serial(single(caches[0]))))
}

func (m *manyLab) kept(n int) (*rounds.Table, spec) {
	want := subject.Bounds{Least: -1, Most: float64(n) / 50}
	s := spec{
		id: fmt.Sprintf("many-memory-%d", n), title: identifiers(n) + " at once, all in memory", turn: turnOf(n),
		extra: []metric{commandsPerOp},
		text:  "GetOrSetMany, MGetCache and decoding, BulkGet, GetOrFetchBatch: a map of all values. The loop makes no map.",
		why: map[string]string{
			loop:      "a loop makes no map of the results, and no list of what is still to be asked for",
			"otter":   "it is memory and nothing else",
			"sturdyc": "it is memory and nothing else",
		},
	}
	t := m.start(s)
	m.contend(t, m.memory, want,
		func(c peer.Batcher) Op { return HitMany(c, m.ids, n) },
		func(c peer.Cache) Op { return HitLoop(c, m.ids, n) })
	return t, s
}

func (m *manyLab) stored(n int) (*rounds.Table, spec) {
	want := subject.Bounds{Least: 0.8 * min(3, float64(n)), Most: -1} // an MGET for each node, at least
	s := spec{
		id: fmt.Sprintf("many-redis-%d", n), title: identifiers(n) + " at once, all in Redis", turn: turnOf(n),
		extra: []metric{commandsPerOp},
		text:  "Nobody has a memory tier. The loop waits for one round trip after the other. rueidis GET is rueidis.MGet, one MGET for each slot; go-redis+redsync is a pipeline of GET.",
		why: map[string]string{
			"rueidis GET":      "a plain GET brings neither a TTL nor a check that the bytes are those of this key",
			"go-redis+redsync": "a plain GET brings neither a TTL nor a check that the bytes are those of this key",
		},
	}
	t := m.start(s)
	m.contend(t, m.redis, want,
		func(c peer.Batcher) Op { return HitMany(c, m.ids, n) },
		func(c peer.Cache) Op { return HitLoop(c, m.ids, n) })
	return t, s
}

func (m *manyLab) nowhere(n int) (*rounds.Table, spec) {
	want := subject.Bounds{Least: float64(n), Most: -1}
	s := spec{
		id: fmt.Sprintf("many-miss-%d", n), title: identifiers(n) + " at once, all nowhere", turn: turnOf(n),
		extra: []metric{commandsPerOp},
		text:  "With one load that costs nothing. The others take no claim, so that a batch of theirs may store what was invalidated while it was being loaded.",
		why: map[string]string{
			"rueidis GET":      "it takes no claim",
			"go-redis+redsync": "it takes no claim",
		},
	}
	t := m.start(s)
	m.contend(t, m.redis, want,
		func(c peer.Batcher) Op { return MissMany(c, n) },
		func(c peer.Cache) Op { return MissLoop(c, n) })
	return t, s
}

package compare

import (
	"context"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// absents compares reads of what is known not to exist.
func absents(ctx context.Context, l *lab, end *rounds.Closers) error {
	ids := subject.IDs(hitKeys)
	s := spec{
		id: "absent", title: "What is known not to exist, one goroutine", turn: 50 * time.Millisecond, extra: []metric{commandsPerOp},
		text: "Peers that are not here ask the source every time. rockscache has no memory and asks Redis.",
	}
	t := l.start(s)
	for _, name := range []string{ours, "sturdyc", "rueidisaside", "rockscache"} {
		c, err := l.open(ctx, end, name, peer.Settings{NegativeTTL: subject.TTL})
		if err != nil {
			return err
		}
		if err := FillAbsent(ctx, c, ids); err != nil {
			return err
		}
		base, want := ours, subject.InMemory
		switch name {
		case ours:
			base = ""
		case "rockscache":
			want = subject.OnRedis
		}
		if name != "rockscache" {
			err := passes(ids, Absent(c, ids), l.cluster.Nodes(), func(commands int64) bool { return commands <= int64(len(ids)/50+20) })
			if err != nil {
				return err
			}
		}
		t.Add(name, base, l.on(want, subject.Serial(Absent(c, ids))))
	}
	return l.finish(ctx, t, s)
}

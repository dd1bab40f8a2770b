package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// misses compares values that are nowhere, with a load that costs nothing.
func misses(ctx context.Context, l *lab, end *rounds.Closers) error {
	names := []string{ours, "rueidisaside"}
	if !l.Quick {
		names = append(names, "rueidis DoCache", "rueidis GET", "go-redis/cache", "go-redis+redsync", "rockscache", "gocache", "sturdyc+redis")
	}
	caches := map[string]peer.Cache{}
	for _, name := range names {
		c, err := l.open(ctx, end, name, peer.Settings{})
		if err != nil {
			return err
		}
		caches[name] = c
	}
	const unlocked = "nothing keeps others from loading too, nor an old value from being stored after an Invalidate"
	why := map[string]string{
		"rueidisaside":     "its claim is one SET NX GET in the place of the value, ours a script on a key beside it; the scripts are most of what a miss costs the server",
		"rueidis DoCache":  unlocked,
		"rueidis GET":      unlocked,
		"go-redis/cache":   unlocked + ", but within the process",
		"gocache":          unlocked + ", but within the process, and it stores in the background",
		"sturdyc+redis":    unlocked + ", but within the process, and it stores in the background",
		"rockscache":       "it has no memory, and reads and locks with one script",
		"go-redis+redsync": "an old value may be stored after an Invalidate",
	}
	var largest float64
	for _, how := range []struct {
		id, title string
		run       Runner
	}{
		{"miss", "Miss, one goroutine", subject.Serial},
		{"miss-crowd", fmt.Sprintf("Miss, %d goroutines per core", subject.PerCore), Crowd},
	} {
		s := spec{
			id: how.id, title: how.title, turn: 100 * time.Millisecond, why: why,
			extra: []metric{commandsPerOp, {subject.ServerCPU, "server µs", "%.1f"}},
			text:  "An identifier that is nowhere, and a load that costs nothing: what the library itself does to look up, claim, and store.",
		}
		t := l.start(s)
		for _, name := range names {
			base := ours
			if name == ours {
				base = ""
			}
			// Those that store in the background may do so after the run.
			want := subject.Bounds{Least: 1.9, Most: -1}
			if name == "gocache" || name == "sturdyc+redis" {
				want = subject.OnRedis
			}
			t.Add(name, base, l.on(want, how.run(Miss(caches[name]))))
		}
		if err := l.finish(ctx, t, s); err != nil {
			return err
		}
		largest = max(largest, t.Ratio(ours, "rueidisaside"))
	}
	l.result("miss_ratio_vs_rueidisaside", largest)
	return nil
}

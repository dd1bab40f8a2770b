package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// writes compares what replaces and deletes values.
func writes(ctx context.Context, l *lab, end *rounds.Closers) error {
	ids := subject.IDs(hitKeys)
	var caches []peer.Cache
	for _, name := range []string{ours, "rueidis GET", "rueidisaside", "go-redis/cache", "go-redis+redsync", "rockscache", "gocache"} {
		c, err := l.open(ctx, end, name, peer.Settings{})
		if err != nil {
			return err
		}
		caches = append(caches, c)
	}
	for _, how := range []struct {
		id, title string
		run       Runner
	}{
		{"", "one goroutine", subject.Serial},
		{"-crowd", fmt.Sprintf("%d goroutines per core", subject.PerCore), Crowd},
	} {
		set := spec{
			id: "set" + how.id, title: "Set, " + how.title, turn: 80 * time.Millisecond, extra: []metric{commandsPerOp},
			text: "Of a small value over another one. fleetcache also voids loads that are under way, everywhere, with a script.",
			why: map[string]string{
				"rueidis GET": "a plain SET leaves it to loads under way to overwrite it", "go-redis+redsync": "a plain SET leaves it to loads under way to overwrite it",
				"go-redis/cache": "a plain SET leaves it to loads under way to overwrite it", "gocache": "a plain SET leaves it to loads under way to overwrite it",
			},
		}
		del := spec{
			id: "delete" + how.id, title: "Delete, " + how.title, turn: 80 * time.Millisecond, extra: []metric{commandsPerOp},
			text: "Of identifiers most of which have no value. fleetcache and rockscache also void loads that are under way, with a script; the DEL of rueidisaside does so by the claim it deletes.",
			why: map[string]string{
				"rueidis GET": "a plain DEL leaves it to loads under way to store an old value", "go-redis+redsync": "a plain DEL leaves it to loads under way to store an old value",
				"go-redis/cache": "a plain DEL leaves it to loads under way to store an old value", "gocache": "a plain DEL leaves it to loads under way to store an old value",
				"rueidisaside": "its claim is in the place of the value, so that one DEL voids both",
			},
		}
		sets, dels := l.start(set), l.start(del)
		for _, c := range caches {
			base := ours
			if c.Name() == ours {
				base = ""
			}
			if c, ok := c.(peer.Setter); ok {
				sets.Add(c.Name(), base, l.on(subject.OnRedis, how.run(Set(c, ids))))
			}
			dels.Add(c.Name(), base, l.on(subject.OnRedis, how.run(Delete(c, ids))))
		}
		if err := l.finish(ctx, sets, set); err != nil {
			return err
		}
		if err := l.finish(ctx, dels, del); err != nil {
			return err
		}
	}
	return nil
}

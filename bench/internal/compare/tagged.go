package compare

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

// TagsOf returns settings whose values have n tags.
func TagsOf(n int) peer.Settings {
	if n == 0 {
		return peer.Settings{}
	}
	return peer.Settings{Tags: func(_ string, p subject.Product) []string { return subject.TagsOf(p.ID, n) }}
}

// tagged compares hits of values with tags.
func tagged(ctx context.Context, l *lab, end *rounds.Closers) error {
	ids := subject.IDs(hitKeys)
	s := spec{
		id: "tagged", title: "Hit in memory of values with tags, one goroutine", turn: 50 * time.Millisecond, extra: []metric{commandsPerOp},
		text: "fleetcache asks for the token of each tag with every hit; gocache asks for none, since it deletes the values of a tag one by one.",
	}
	t := l.start(s)
	for _, r := range []struct {
		row, name string
		tags      int
	}{
		{"fleetcache, 2 tags", ours, 2}, {"fleetcache, no tag", ours, 0}, {"fleetcache, 16 tags", ours, 16},
		{"gocache, 2 tags", "gocache", 2},
	} {
		c, err := l.open(ctx, end, r.name, TagsOf(r.tags))
		if err != nil {
			return err
		}
		if err := Fill(ctx, c, ids, 0); err != nil {
			return err
		}
		if err := Warm(ctx, c, ids, l.cluster.Nodes()); err != nil {
			return err
		}
		base := "fleetcache, 2 tags"
		if r.row == base {
			base = ""
		}
		t.Add(r.row, base, l.on(subject.InMemory, subject.Serial(Hit(c, ids))))
	}
	s.why = map[string]string{"fleetcache, no tag": "there is no token to ask for but that of the namespace"}
	return l.finish(ctx, t, s)
}

// tagValues is how many values have the tag that is invalidated.
const tagValues = 100

// A TagSetter is a Tagger that can be given values: what it loads, gocache stores
// in the background.
type TagSetter interface {
	peer.Tagger
	peer.Setter
}

// InvalidateTag invalidates a tag of 100 values, all of which are stored anew
// before each call, without that being measured.
func InvalidateTag(c TagSetter) subject.Bench {
	ids := subject.IDs(128)[:tagValues]
	return func(b *testing.B) error {
		ctx := b.Context()
		b.ReportAllocs()
		for range b.N {
			b.StopTimer()
			err := each(ctx, ids, func(ctx context.Context, i int) error { return c.Set(ctx, ids[i], theProduct) })
			if err != nil {
				return err
			}
			b.StartTimer()
			if err := c.InvalidateTag(ctx, oneTag); err != nil {
				return err
			}
		}
		b.StopTimer()
		loads := 0
		_, err := c.GetOrLoad(ctx, ids[0], func(context.Context) (subject.Product, error) {
			loads++
			return theProduct, nil
		})
		if err == nil && loads == 0 {
			err = errors.New("a value is still there after its tag was invalidated")
		}
		return err
	}
}

const oneTag = "all"

// WithOneTag gives all values the tag that [InvalidateTag] invalidates.
func WithOneTag(string, subject.Product) []string { return []string{oneTag} }

// tagInvalidation compares invalidations of a tag.
func tagInvalidation(ctx context.Context, l *lab, end *rounds.Closers) error {
	s := spec{
		id: "tags", title: fmt.Sprintf("InvalidateTag, %d values have the tag", tagValues), turn: 20 * time.Millisecond,
		text: "gocache reads the set of the keys of a tag and deletes them one by one. It has no memory here: what it has there after a read of Redis knows no tags, and stays. fleetcache replaces a token.",
	}
	t := l.start(s)
	for _, name := range []string{ours, "gocache"} {
		settings, base := peer.Settings{Tags: WithOneTag, L1Size: rc.Off}, ours
		if name == ours {
			settings.L1Size, base = 0, ""
		}
		c, err := l.open(ctx, end, name, settings)
		if err != nil {
			return err
		}
		t.Add(name, base, InvalidateTag(c.(TagSetter)))
	}
	return l.finish(ctx, t, s)
}

package bench

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/invalidation"
	"github.com/fleetcache/fleetcache/rc"
)

// BenchmarkTaggedHit is a value in memory, by the number of its tags.
func BenchmarkTaggedHit(b *testing.B) {
	f, ids, ctx := fleet(b, redis(b, "").Addr(), 0), subject.IDs(hitKeys), b.Context()
	for _, c := range []struct {
		name string
		tags int
	}{{"tags=0", 0}, {"tags=1", 1}, {"tags=2", 2}, {"tags=4", 4}, {"tags=16", 16}} {
		g := must(f.Tagged(c.tags))(b)
		ok(b, g.Fill(ctx, ids))
		ok(b, g.Warm(ctx, ids))
		run(b, c.name, g.Hit(ids))
		run(b, "parallel/"+c.name, g.HitParallel(ids))
	}
}

// BenchmarkVerb is one call of each verb, and the SETs it is compared with.
func BenchmarkVerb(b *testing.B) {
	f := fleet(b, redis(b, "").Addr(), 0)
	for _, v := range f.Verbs() {
		run(b, v.Name, subject.Serial(v.Do))
		run(b, "parallel/"+v.Name, subject.Parallel(subject.PerCore, v.Do))
	}
}

// The values whose hits are measured depend on each of their tags, and on no
// other value's.
func TestTaggedValuesHaveTheirTags(t *testing.T) {
	f, ids, ctx := fleet(t, redis(t, "").Addr(), 0), subject.IDs(16), t.Context()
	for _, n := range []int{1, 2, 4, 16} {
		g := must(f.Tagged(n))(t)
		for i := range n {
			ok(t, g.Fill(ctx, ids))
			ok(t, g.Warm(ctx, ids))
			const gone, stays = 3, 8 // share no tag in any of 16 places
			tag := subject.TagsOf(gone, n)[i]
			ok(t, f.Manager.InvalidateTag(ctx, tag))
			if it := must(g.Service.Lookup(ctx, ids[gone]))(t); it.Found {
				t.Errorf("%d tags: a value is found after tag %q was invalidated", n, tag)
			}
			if it := must(g.Service.Lookup(ctx, ids[stays]))(t); it.Source != rc.FromL1 {
				t.Errorf("%d tags: a value without tag %q came from %v, want memory", n, tag, it.Source)
			}
		}
	}
}

// The lag of each verb can be measured, and a verb that does nothing is noticed.
func TestLagIsMeasured(t *testing.T) {
	p := must(subject.OpenPair(t.Context(), "redis://"+redis(t, "").Addr(), rc.Tracking))(t)
	closing(t, p.Close)
	const n = 20
	for _, v := range p.LagVerbs() {
		l := must(p.Measure(t.Context(), v, n))(t)
		if l.Count() != n || l.At(0.5) > l.At(1) || l.Before > n {
			t.Errorf("%s: %d lags, median %v, largest %v, %d at once", v.Name, l.Count(), l.At(0.5), l.At(1), l.Before)
		}
	}
	p.Limit = time.Second
	_, err := p.Measure(t.Context(), subject.Verb{Name: "nothing", Do: func(int) error { return nil }}, 1)
	if err == nil || !strings.Contains(err.Error(), "still has the old value") {
		t.Errorf("Measure of a verb that does nothing = %v, want an error that says so", err)
	}
}

// A crowd counts what all of it has heard.
func TestCrowdHearsAll(t *testing.T) {
	addrs := []string{redis(t, "").Addr()}
	for _, mode := range []invalidation.Mode{invalidation.Sharded, invalidation.Classic} {
		c := must(subject.OpenCrowd(t.Context(), addrs, mode, 3))(t)
		for _, batch := range []int{1, 10} {
			got := must(c.Deliver(t.Context(), 500, batch))(t)
			if got.Gaps != 0 || got.EventsPerSecond <= 0 || math.Abs(got.DeliveriesPerSecond/got.EventsPerSecond-3) > 1e-9 {
				t.Errorf("%v, batches of %d: %+v", mode, batch, got)
			}
		}
		ok(t, c.Close())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := subject.OpenCrowd(ctx, addrs, invalidation.Sharded, 3); err == nil {
		t.Errorf("OpenCrowd with a context that has ended = %v", c.Close())
	}
}

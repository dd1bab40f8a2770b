package scaling

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/rc"
)

// tagIDs is how many values there are of each number of tags.
const tagIDs = 1024

// tags measures against the number of tags of a value.
func tags(ctx context.Context, c Config, out *findings) (err error) {
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
	m := tagMeasures(out)
	ids := subject.IDs(tagIDs)
	all := map[int]services[subject.Product]{}
	for _, n := range c.Tags {
		if all[n], err = withTags(ctx, p, n, ids); err != nil {
			return err
		}
	}
	fresh := 0
	err = inTurn(ctx, c.Rounds, c.Tags, func(n int, count bool) error {
		s := all[n]
		id := func(i int) string { return ids[i%tagIDs] }
		h, err := s.hits(ctx, hitsPerCall*c.Calls, id)
		if err != nil {
			return err
		}
		r, err := s.reads(ctx, c.Calls, serial, id)
		if err != nil {
			return err
		}
		f, err := s.fills(ctx, c.Calls/4, subject.NewProduct(7), func(int) string {
			fresh++
			return "fresh:" + strconv.Itoa(fresh)
		})
		if err != nil {
			return err
		}
		if n > 0 {
			us, err := invalidateTags(ctx, p.far, n, c.Calls/4)
			if err != nil {
				return err
			}
			if count {
				m.invalidate.add(n, us)
			}
		}
		if count {
			m.hit.add(n, h)
			m.l2.add(n, r)
			m.fill.add(n, f)
		}
		return nil
	})
	return errors.Join(err, allDepend(ctx, p.far, all, ids[0]))
}

// allDepend is depends for all numbers of tags.
func allDepend(ctx context.Context, m *rc.Manager, all map[int]services[subject.Product], id string) error {
	for n, s := range all {
		if err := depends(ctx, m, s, n, id); err != nil {
			return err
		}
	}
	return nil
}

// tagged is what is measured against tags.
type tagged struct{ hit, l2, fill, invalidate *measure }

func tagMeasures(out *findings) tagged {
	ch := &chart{
		id: "tags", title: "A call, by tags of the value", x: "tags of a value", y: "time (µs)", noun: "tag", nouns: "tags", logY: true, linear: true,
		about: "One goroutine; 64 tags for each place, whose tokens are in memory. A fill is a read that finds nothing, loads for free and stores, " +
			"InvalidateTag one call with all of the tags.",
	}
	out.charts = append(out.charts, ch)
	return tagged{
		ch.measure("hit in memory", "µs"), ch.measure("hit in Redis", "µs"), ch.measure("fill", "µs"), ch.measure("InvalidateTag", "µs"),
	}
}

// depends fails unless a value is gone once any of its n tags is invalidated:
// values without their tags would be no measure of them.
func depends(ctx context.Context, m *rc.Manager, s services[subject.Product], n int, id string) error {
	v := subject.NewProduct(1)
	for _, tag := range subject.TagsOf(v.ID, n) {
		if err := s.far.Set(ctx, id, v); err != nil {
			return err
		}
		if err := m.InvalidateTag(ctx, tag); err != nil {
			return err
		}
		if _, found, err := s.far.Get(ctx, id); found || err != nil {
			return errors.Join(fmt.Errorf("with %d tags: %s does not depend on %s", n, id, tag), err)
		}
	}
	return nil
}

// withTags stores values with n tags each, and reads them into memory.
func withTags(ctx context.Context, p pair, n int, ids []string) (services[subject.Product], error) {
	cfg := config[subject.Product](0)
	cfg.Tags = func(_ string, v subject.Product) []string { return subject.TagsOf(v.ID, n) }
	s, err := in(p, fmt.Sprint("tags-", n), cfg, 100*tagIDs)
	if err != nil {
		return s, err
	}
	if err := store(ctx, ids, s.far); err != nil {
		return s, err
	}
	return s, s.warm(ctx, ids)
}

// invalidateTags returns the microseconds of a call with n tags, none of which
// any value has.
func invalidateTags(ctx context.Context, m *rc.Manager, n, calls int) (us float64, err error) {
	sets := make([][]string, 64)
	for i := range sets {
		for t := range n {
			sets[i] = append(sets[i], fmt.Sprintf("none:%d:%d", i, t))
		}
	}
	err = expect(m, "marks", marks, n*calls, 1, func() error {
		us, err = serial(calls, func(i int) error { return m.InvalidateTag(ctx, sets[i%len(sets)]...) })
		return err
	})
	return us, err
}

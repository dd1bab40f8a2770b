package subject

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/rc"
)

// A Verb is one way to make values invalid, or what it is compared with.
type Verb struct {
	Name string
	// Base is the name of the verb that it is compared with; "" for none.
	Base string
	Do   func(i int) error
}

// verbTags is how many different tags, and plain keys, the verbs take in turn.
const verbTags = 1024

// PlainSet is the name of the verb that the others are compared with: one SET
// of as many bytes as a token has, over the client of the same Manager.
const PlainSet = "SET"

// PlainOne is the same, always of one key, and so of one node, as the verbs of a
// namespace are.
const PlainOne = "SET, one key"

// The names of the other verbs.
const (
	Invalidate1 = "InvalidateTag, 1 tag"
	Invalidate8 = "InvalidateTag, 8 tags"
	Expire1     = "ExpireTag, 1 tag"
	ClearAll    = "Clear"
	ExpireAll   = "ExpireAll"
	// Delete1 finds nothing to delete.
	Delete1 = "Delete"
	// PlainPair is two SETs of one slot in one pipeline, Plain8 eight SETs of
	// different slots: what the verbs would cost if all they did was that.
	PlainPair = "2 SET, one slot, pipelined"
	Plain8    = "8 SET, pipelined"
)

// Verbs returns what is compared. Nothing is cached and no tag is in memory, so
// that no push is part of it.
func (f *Fleet) Verbs() []Verb {
	ctx, c := context.Background(), f.Manager.Client()
	tags, keys, pairs := names("verb:tag:"), names("verb:plain:"), names("verb:pair:")
	set := func(k string) rueidis.Completed {
		return c.B().Set().Key(k).Value("12345678").Px(TTL).Build()
	}
	multi := func(cmds ...rueidis.Completed) (err error) {
		for _, r := range c.DoMulti(ctx, cmds...) {
			err = errors.Join(err, r.Error())
		}
		return err
	}
	return []Verb{
		{PlainSet, "", func(i int) error { return c.Do(ctx, set(keys[i%verbTags])).Error() }},
		{PlainOne, PlainSet, func(int) error { return c.Do(ctx, set(keys[0])).Error() }},
		{PlainPair, PlainSet, func(i int) error {
			k := pairs[i%verbTags]
			return multi(set("{"+k+"}"), set("{"+k+"}:guard"))
		}},
		{Plain8, PlainSet, func(i int) error {
			cmds := make([]rueidis.Completed, 8)
			for n := range cmds {
				cmds[n] = set(keys[(i+n)%verbTags])
			}
			return multi(cmds...)
		}},
		{Invalidate1, PlainSet, func(i int) error { return f.Manager.InvalidateTag(ctx, tags[i%verbTags]) }},
		{Invalidate8, PlainSet, func(i int) error {
			at := i % (verbTags - 8)
			return f.Manager.InvalidateTag(ctx, tags[at:at+8]...)
		}},
		{Expire1, PlainSet, func(i int) error { return f.Manager.ExpireTag(ctx, tags[i%verbTags]) }},
		{ClearAll, PlainOne, func(int) error { return f.Service.Clear(ctx) }},
		{ExpireAll, PlainOne, func(int) error { return f.Service.ExpireAll(ctx) }},
		{Delete1, PlainSet, func(i int) error { return f.Service.Delete(ctx, tags[i%verbTags]) }},
	}
}

// Marked runs a benchmark of a verb that marks tags or a namespace, perOp at a
// time, and fails if one did not reach Redis.
func (f *Fleet) Marked(perOp int, body Bench) Bench {
	return func(b *testing.B) error {
		before := f.Manager.Stats()
		err := body(b)
		after := f.Manager.Stats()
		if got, want := after.Marks-before.Marks, uint64(b.N*perOp); err == nil && got != want {
			err = fmt.Errorf("%d tags and namespaces were marked, want %d", got, want)
		}
		return err
	}
}

// OpenAll is [OpenFleet] for a deployment of one or several servers.
func OpenAll(ctx context.Context, url string, o rc.Options) (*Fleet, error) {
	o.OpTimeout = OpTimeout
	m, err := rc.Open(ctx, url, o)
	if err != nil {
		return nil, err
	}
	s, err := rc.New(m, "products", rc.Config[Product]{TTL: TTL})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &Fleet{Manager: m, Service: s}, nil
}

func names(prefix string) []string {
	out := make([]string, verbTags)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i)
	}
	return out
}

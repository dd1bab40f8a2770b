package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

const hitKeys = 1024

// tagCounts are the numbers of tags that are measured; countedTags is the one
// that counts.
var tagCounts = []int{0, 1, 2, 4, 16}

const countedTags = 2

type hitResult struct {
	ratio  float64
	allocs int64
}

func tagRow(n int, how string) string {
	switch n {
	case 0:
		return "no tag" + how
	case 1:
		return "1 tag" + how
	}
	return fmt.Sprintf("%d tags", n) + how
}

// taggedHits measures values in memory, by the number of their tags.
func taggedHits(ctx context.Context, least int) (res hitResult, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	srv, err := subject.StartRedis(ctx, "")
	if err != nil {
		return res, err
	}
	end.Add(rounds.Quiet(srv.Stop))
	f, err := subject.OpenFleet(ctx, srv.Addr(), 0)
	if err != nil {
		return res, err
	}
	end.Add(f.Close)
	ids := subject.IDs(hitKeys)
	byTags := map[int]*subject.Fleet{}
	for _, n := range tagCounts {
		g, err := f.Tagged(n)
		if err != nil {
			return res, err
		}
		if err := g.Fill(ctx, ids); err != nil {
			return res, err
		}
		if err := g.Warm(ctx, ids); err != nil {
			return res, err
		}
		byTags[n] = g
	}
	t := &rounds.Table{Title: "GetOrSet in memory by the number of tags, 1024 keys, 64 tags for each place", Turn: 60 * time.Millisecond, Limit: 15 * time.Second}
	ways := []struct {
		how  string
		body func(*subject.Fleet) subject.Bench
	}{
		{"", func(g *subject.Fleet) subject.Bench { return g.Hit(ids) }},
		{", GOMAXPROCS 1", func(g *subject.Fleet) subject.Bench { return subject.OnCores(1, g.Hit(ids)) }},
		{", one goroutine per core", func(g *subject.Fleet) subject.Bench { return g.HitParallel(ids) }},
	}
	for _, w := range ways {
		base := tagRow(0, w.how)
		t.Add(base, "", w.body(byTags[0]))
		for _, n := range tagCounts[1:] {
			t.Add(tagRow(n, w.how), base, w.body(byTags[n]))
		}
	}
	if err := t.Run(ctx, least); err != nil {
		return res, err
	}
	for _, w := range ways {
		res.ratio = max(res.ratio, t.Ratio(tagRow(countedTags, w.how), tagRow(0, w.how)))
		res.allocs = max(res.allocs, t.Row(tagRow(countedTags, w.how)).Allocs())
	}
	return res, nil
}

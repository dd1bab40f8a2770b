package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

type verbResult struct{ invalidate, expire, clear float64 }

// marks is how many tags or namespaces a verb marks with one call; 0 for those
// that mark none.
var marks = map[string]int{
	subject.Invalidate1: 1, subject.Invalidate8: 8, subject.Expire1: 1, subject.ClearAll: 1, subject.ExpireAll: 1,
}

// verbs compares the verbs with SET, on a standalone server and on a cluster.
func verbs(ctx context.Context, least int) (res verbResult, err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	srv, err := subject.StartRedis(ctx, "")
	if err != nil {
		return res, err
	}
	end.Add(rounds.Quiet(srv.Stop))
	c, err := subject.StartCluster(ctx, localredis.Redis, 0)
	if err != nil {
		return res, err
	}
	end.Add(rounds.Quiet(c.Stop))
	for _, d := range []struct {
		name, url string
		onServer  func(subject.Bench) subject.Bench
	}{
		{"standalone", "redis://" + srv.Addr(), func(b subject.Bench) subject.Bench { return subject.OnServer(srv, b) }},
		{"cluster of 3", clusterURL(c), func(b subject.Bench) subject.Bench { return b }},
	} {
		t, err := verbTable(ctx, least, d.name, d.url, d.onServer)
		if err != nil {
			return res, err
		}
		res.invalidate = max(res.invalidate, t.Ratio(subject.Invalidate1, subject.PlainSet))
		res.expire = max(res.expire, t.Ratio(subject.Expire1, subject.PlainSet))
		res.clear = max(res.clear, t.Ratio(subject.ClearAll, subject.PlainOne))
	}
	return res, nil
}

// verbTable measures one deployment: one call after the other, and many at a
// time, where not the round trip counts but the work. It returns the first table.
func verbTable(ctx context.Context, least int, name, url string, onServer func(subject.Bench) subject.Bench) (t *rounds.Table, err error) {
	f, err := subject.OpenAll(ctx, url, rc.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = rounds.Closers{f.Close}.End(err) }()
	t = &rounds.Table{Title: "Verbs, " + name + ", one after the other", Turn: 50 * time.Millisecond, Limit: 8 * time.Second}
	busy := &rounds.Table{Title: fmt.Sprintf("Verbs, %s, %d goroutines per core", name, subject.PerCore), Turn: 50 * time.Millisecond, Limit: 6 * time.Second}
	for _, v := range f.Verbs() {
		one, many := onServer(subject.Serial(v.Do)), onServer(subject.Parallel(subject.PerCore, v.Do))
		if n := marks[v.Name]; n > 0 {
			one, many = f.Marked(n, one), f.Marked(n, many)
		}
		t.Add(v.Name, v.Base, one)
		busy.Add(v.Name, v.Base, many)
	}
	if err := t.Run(ctx, least); err != nil {
		return nil, err
	}
	return t, busy.Run(ctx, least)
}

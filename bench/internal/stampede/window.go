//go:build unix

package stampede

import (
	"cmp"
	"slices"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
)

// All times of this package are nanoseconds of workers.Now.

// A burst is the queries for one key that one expiry has caused.
type burst struct {
	first   int64 // when the first one began
	queries int
}

// bursts groups the beginnings of the queries for one key, which must be in
// order: one that begins within width of the first of a burst is part of it.
func bursts(begins []int64, width int64) (all []burst) {
	for _, t := range begins {
		if n := len(all); n == 0 || t-all[n-1].first > width {
			all = append(all, burst{first: t})
		}
		all[len(all)-1].queries++
	}
	return all
}

// counted adds up the bursts that began within from and to and are whole: the
// next one could not have begun after to.
func counted(all []burst, from, to, width int64) (expiries, loads int) {
	for _, b := range all {
		if b.first >= from && b.first <= to-width {
			expiries++
			loads += b.queries
		}
	}
	return expiries, loads
}

// A span is a time in which a value was missing.
type span struct{ From, To int64 }

// spans returns the times in which a request meets the expiry of a key: from
// the beginning of each query for it, for some time. They are in order and do
// not overlap.
func spans(begins []int64, length int64) (all []span) {
	for _, t := range begins {
		if n := len(all); n > 0 && t <= all[n-1].To {
			all[n-1].To = t + length
			continue
		}
		all = append(all, span{t, t + length})
	}
	return all
}

// meets reports whether a request met an expiry: it began within a span, or
// was under way when one began, as the request is that has to load.
func meets(all []span, began, took int64) bool {
	i, _ := slices.BinarySearchFunc(all, began, func(s span, t int64) int { return cmp.Compare(s.To, t) })
	return i < len(all) && all[i].From <= began+took
}

// begins returns when the queries for each key began, in order.
func begins(queries []origin.Query) map[string][]int64 {
	m := map[string][]int64{}
	for _, q := range queries {
		m[q.ID] = append(m[q.ID], q.Begin)
	}
	for _, b := range m {
		slices.Sort(b)
	}
	return m
}

// peak returns the largest number of queries under way at a time within from
// and to, those included that waited for a connection.
func peak(queries []origin.Query, from, to int64) (most int) {
	type edge struct {
		at    int64
		delta int
	}
	var edges []edge
	for _, q := range queries {
		if q.End < from || q.Begin > to {
			continue
		}
		edges = append(edges, edge{q.Begin, 1}, edge{q.End, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { // an end before a beginning at the same time
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.delta, b.delta))
	})
	under := 0
	for _, e := range edges {
		under += e.delta
		most = max(most, under)
	}
	return most
}

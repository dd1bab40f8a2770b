package scaling

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// manyIDs is the size of a batch, shardIDs how many values there are.
const (
	manyIDs  = 100
	shardIDs = 4096
)

// deployment is a cluster with some primaries.
type deployment struct {
	pair
	values services[subject.Product]
	// cleared is a namespace of its own: what is read must stay valid.
	cleared *rc.CacheService[subject.Product]
	ids     []string
}

// shards measures against the number of primaries.
func shards(ctx context.Context, c Config, out *findings) (err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	all := map[int]*deployment{}
	for _, n := range c.Shards {
		if all[n], err = deploy(ctx, n, &end); err != nil {
			return fmt.Errorf("%d primaries: %w", n, err)
		}
	}
	const x = "primaries"
	about := fmt.Sprintf("Clusters of so many primaries without replicas, on %d cores that they share with the client.", runtime.NumCPU())
	throughput := &chart{
		id: "shards-throughput", title: "Reads of Redis, by primaries", x: x, y: "hits in Redis (thousands per second)", noun: "primary", nouns: "primaries", logX: true,
		about: about + fmt.Sprintf(" %d goroutines, nothing in memory.", callers),
	}
	calls := &chart{
		id: "shards-calls", title: "Calls that reach several keys, by primaries", x: x, y: "time (µs)", noun: "primary", nouns: "primaries", logX: true, logY: true,
		about: about + fmt.Sprintf(" One goroutine. GetOrSetMany of %d finds all of them in Redis.", manyIDs),
	}
	rate := throughput.measure("hits in Redis", "thousand/s")
	rate.aside = true
	many, clear, tag := calls.measure(fmt.Sprintf("GetOrSetMany of %d", manyIDs), "µs"), calls.measure("Clear", "µs"), calls.measure("InvalidateTag", "µs")
	out.charts = append(out.charts, throughput, calls)
	return inTurn(ctx, c.Rounds, c.Shards, func(n int, count bool) error {
		d := all[n]
		us, err := d.values.reads(ctx, 10*c.Calls, parallel, func(i int) string { return d.ids[i*7919%shardIDs] })
		if err != nil {
			return err
		}
		m, err := d.many(ctx, max(1, c.Calls/10))
		if err != nil {
			return err
		}
		cl, err := d.marked(c.Calls/2, func(int) error { return d.cleared.Clear(ctx) })
		if err != nil {
			return err
		}
		t, err := d.marked(c.Calls/2, func(i int) error { return d.far.InvalidateTag(ctx, "tag:"+strconv.Itoa(i%1024)) })
		if err == nil && count {
			rate.add(n, 1e3/us)
			many.add(n, m)
			clear.add(n, cl)
			tag.add(n, t)
		}
		return err
	})
}

// deploy starts a cluster and stores the values.
func deploy(ctx context.Context, primaries int, end *rounds.Closers) (*deployment, error) {
	c, err := localredis.StartCluster(ctx, localredis.ClusterConfig{Primaries: primaries, Args: serverArgs()})
	if err != nil {
		return nil, err
	}
	end.Add(rounds.Quiet(c.Stop))
	d := &deployment{ids: make([]string, shardIDs)}
	if d.pair, err = openPair(ctx, "redis://"+strings.Join(c.Addrs(), ","), end); err != nil {
		return nil, err
	}
	if d.values, err = in(d.pair, "shards", config[subject.Product](0), 0); err != nil {
		return nil, err
	}
	if d.cleared, err = rc.New(d.far, "cleared", config[subject.Product](rc.Off)); err != nil {
		return nil, err
	}
	for i := range d.ids {
		d.ids[i] = "product:" + strconv.Itoa(i)
	}
	if err := store(ctx, d.ids, d.values.far); err != nil {
		return nil, err
	}
	return d, spread(ctx, c)
}

// spread fails unless every primary has its share of the values, more or less.
func spread(ctx context.Context, c *localredis.Cluster) error {
	nodes := c.Nodes()
	for _, s := range nodes {
		reply, err := s.Do(ctx, "DBSIZE")
		if err != nil {
			return err
		}
		if n, _ := reply.(int64); n < shardIDs/int64(2*len(nodes)) {
			return fmt.Errorf("%v has %v keys of %d", s, reply, shardIDs)
		}
	}
	return nil
}

// many returns the microseconds of a batch that is in Redis.
func (d *deployment) many(ctx context.Context, n int) (us float64, err error) {
	load := func(context.Context, []string) (map[string]subject.Product, error) { return nil, errLoaded }
	err = expect(d.values.far, "hits in Redis", l2Hits, n*manyIDs, 1, func() error {
		us, err = serial(n, func(i int) error {
			at := i * manyIDs % (shardIDs - manyIDs)
			got, err := d.values.far.GetOrSetMany(ctx, d.ids[at:at+manyIDs], load)
			if err == nil && len(got) != manyIDs {
				err = fmt.Errorf("%d of %d values", len(got), manyIDs)
			}
			return err
		})
		return err
	})
	return us, err
}

// marked returns the microseconds of a call that invalidates one tag or
// namespace.
func (d *deployment) marked(n int, call func(int) error) (us float64, err error) {
	err = expect(d.far, "marks", marks, n, 1, func() error {
		us, err = serial(n, call)
		return err
	})
	return us, err
}

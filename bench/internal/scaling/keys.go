package scaling

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// hitsPerCall is how many hits in memory are timed where one call to Redis is:
// they take a thousandth of the time.
const hitsPerCall = 100

// population is a number of values, all of them in memory and in Redis.
type population struct {
	ids      []string
	services services[subject.Product]
	plain    map[string]*subject.Product
}

// lookUp returns the microseconds of one lookup in a map: how much of what a
// hit takes is waiting for memory.
func (p *population) lookUp(n int, id func(i int) string) (float64, error) {
	return serial(n, func(i int) error {
		id := id(i)
		if v := p.plain[id]; v.SKU == "" {
			return fmt.Errorf("the map has another value for %s", id)
		}
		return nil
	})
}

// keys measures against the number of values.
func keys(ctx context.Context, c Config, out *findings) (err error) {
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
	const x = "values (keys)"
	latency := &chart{
		id: "keys", title: "A read, by keys", x: x, y: "time (µs)", noun: "key", nouns: "keys", logX: true, logY: true,
		about: fmt.Sprintf("Random keys of so many; in memory with one goroutine, in Redis with %d goroutines. "+
			"A lookup in a plain Go map of pointers to as many values, of the same keys, shows what the processor's caches have to do with it.", callers),
	}
	bytes := &chart{
		id: "memory", title: "Memory of a value, by keys", x: x, y: "bytes for each value", noun: "key", nouns: "keys", logX: true,
		about: "All values are in the memory of one process, as structs of some 250 bytes of JSON. What the process has is the live heap, with the value.",
	}
	hit, l2, plain := latency.measure("hit in memory", "µs"), latency.measure("hit in Redis", "µs"), latency.measure("lookup in a map", "µs")
	plain.aside = true
	out.processBytes, out.redisBytes = bytes.measure("process", "bytes"), bytes.measure("Redis", "bytes")
	out.trackedBytes = bytes.measure("Redis, with who has read it", "bytes")
	out.charts = append(out.charts, latency, bytes)
	all := map[int]*population{}
	for _, n := range c.Keys {
		if all[n], err = populate(ctx, p, srv, n, out); err != nil {
			return fmt.Errorf("%d values: %w", n, err)
		}
	}
	c.log("keys: %v values are in memory", c.Keys)
	random := rand.New(rand.NewPCG(1, 2))
	err = inTurn(ctx, c.Rounds, c.Keys, func(n int, count bool) error {
		pop := all[n]
		id := func(int) string { return pop.ids[random.IntN(n)] }
		us, err := pop.services.hits(ctx, hitsPerCall*c.Calls, id)
		if err != nil {
			return err
		}
		looked, err := pop.lookUp(hitsPerCall*c.Calls, id)
		if err != nil {
			return err
		}
		at := random.IntN(n)
		redis, err := pop.services.reads(ctx, 10*c.Calls, parallel, func(i int) string { return pop.ids[(at+i*7919)%n] })
		if err == nil && count {
			hit.add(n, us)
			plain.add(n, looked)
			l2.add(n, redis)
		}
		return err
	})
	out.add("process_bytes_per_entry", "%.0f", out.processBytes.median(c.Keys[len(c.Keys)-1]))
	out.add("redis_bytes_per_entry", "%.0f", out.redisBytes.median(c.Keys[len(c.Keys)-1]))
	return err
}

// populate stores n values, reads them into memory, and measures what they take.
func populate(ctx context.Context, p pair, srv *localredis.Server, n int, out *findings) (*population, error) {
	pop := &population{ids: make([]string, n), plain: make(map[string]*subject.Product, n)}
	for i := range pop.ids {
		pop.ids[i] = "product:" + strconv.Itoa(i)
		v := subject.NewProduct(int64(i))
		pop.plain[pop.ids[i]] = &v
	}
	var err error
	if pop.services, err = in(p, fmt.Sprint("keys-", n), config[subject.Product](0), n+n/2+1000); err != nil {
		return nil, err
	}
	empty, err := memory(ctx, srv)
	if err != nil {
		return nil, err
	}
	if err := store(ctx, pop.ids, pop.services.far); err != nil {
		return nil, err
	}
	full, err := memory(ctx, srv)
	if err != nil {
		return nil, err
	}
	heap := subject.Heap()
	if err := pop.services.warm(ctx, pop.ids); err != nil {
		return nil, err
	}
	held, err := memory(ctx, srv)
	if err != nil {
		return nil, err
	}
	out.processBytes.add(n, (float64(subject.Heap())-float64(heap))/float64(n))
	out.redisBytes.add(n, (full-empty)/float64(n))
	out.trackedBytes.add(n, (held-empty)/float64(n))
	return pop, nil
}

// store sets a value for each of ids.
func store(ctx context.Context, ids []string, s *rc.CacheService[subject.Product]) error {
	const batch = 512
	for from := 0; from < len(ids); from += batch {
		values := map[string]subject.Product{}
		for i, id := range ids[from:min(from+batch, len(ids))] {
			values[id] = subject.NewProduct(int64(from + i))
		}
		if err := s.SetMany(ctx, values); err != nil {
			return err
		}
	}
	return nil
}

package scaling

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// The load of the instances.
const (
	mixKeys     = 1000
	mixWrites   = 0.01
	expireAfter = 400 * time.Millisecond
	expireLoad  = 10 * time.Millisecond
	expireEach  = 8 // callers in each instance
)

// fleetRun measures against the number of instances.
type fleetRun struct {
	Config
	crew   *crew
	server *localredis.Server
	number int // of the value that was stored last
	out    *findings

	reply, evicted                map[string]*measure // by verb
	cpu, bytes                    map[string]*measure
	commands, traffic             *measure
	redisCPU, fleetCPU            *measure
	loads, slowest                *measure
	busyFleet, busyRedis, resided []float64 // shares at the largest number
	rates                         []float64
}

// instances measures against the number of processes.
func instances(ctx context.Context, c Config, out *findings) (err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	srv, err := start(ctx)
	if err != nil {
		return err
	}
	end.Add(rounds.Quiet(srv.Stop))
	crew, err := newCrew(slices.Max(c.Instances), srv.Addr())
	if err != nil {
		return err
	}
	end.Add(crew.close)
	f := &fleetRun{Config: c, crew: crew, server: srv, out: out}
	f.charts()
	if err := inTurn(ctx, c.Rounds, c.Instances, func(n int, count bool) error { return f.visit(ctx, n, count) }); err != nil {
		return err
	}
	return f.summarize()
}

// charts makes the charts and their measures.
func (f *fleetRun) charts() {
	const x = "instances (processes)"
	chart := func(id, title, y, about string, logY bool) *chart {
		c := &chart{id: id, title: title, y: y, about: about, x: x, noun: "instance", nouns: "instances", logX: true, logY: logY}
		f.out.charts = append(f.out.charts, c)
		return c
	}
	f.reply, f.evicted, f.cpu, f.bytes = map[string]*measure{}, map[string]*measure{}, map[string]*measure{}, map[string]*measure{}
	lag := chart("invalidation", "An invalidation, by instances", "time (µs)",
		"All processes hold the value in memory; one invalidates it. Until the call has returned, and until the first read of the last of the others "+
			"that does not find it. The processes and Redis share the cores.", true)
	cpu := chart("fan-out", "What an invalidation costs Redis, by instances", "processor time of Redis (µs)",
		"The same, many in a row, until all processes have been told.", true)
	wire := chart("fan-out-bytes", "What an invalidation sends, by instances", "bytes in and out of Redis",
		"The same, in bytes that Redis received and sent.", true)
	for _, verb := range []string{verbDelete, verbTag} {
		f.reply[verb] = lag.measure(verb+", until the reply", "µs")
		f.evicted[verb] = lag.measure(verb+", until all have evicted it", "µs")
		f.cpu[verb], f.bytes[verb] = cpu.measure(verb, "µs"), wire.measure(verb, "bytes")
	}
	f.out.deleteCPU, f.out.deleteBytes = f.cpu[verbDelete], f.bytes[verbDelete]
	mix := fmt.Sprintf("Each process makes %s requests as fast as it can, %.0f %% of them GetOrSet and %.0f %% Delete, of %s keys (zipf, s = %.1f), with a free loader.",
		thousands(float64(f.Requests)), 100*(1-mixWrites), 100*mixWrites, thousands(mixKeys), zipf)
	f.commands = chart("commands", "Redis commands of a request, by instances", "commands for one request", mix+
		" Commands as INFO counts them.", false).measure("commands", "commands")
	f.traffic = chart("bytes", "Bytes of a request, by instances", "bytes in and out of Redis for one request", "The same requests.", false).measure("bytes", "bytes")
	busy := chart("processor", "Processor time of a request, by instances", "processor time for one request (µs)", "The same requests.", false)
	f.fleetCPU, f.redisCPU = busy.measure("all processes together", "µs"), busy.measure("Redis", "µs")
	f.out.redisCPU = f.redisCPU
	f.loads = chart("loads", "Loads of a value whose time has ended, by instances", "loads for one expiry", fmt.Sprintf(
		"All processes hold a value in memory. When its time has ended, %d callers of each ask for it at once; a load takes %v.", expireEach, expireLoad), false).measure("loads", "loads")
	f.slowest = chart("wait", "The slowest caller at an expiry, by instances", "time (ms)", "The same expiries, the time of the last caller of all.", false).measure("slowest caller", "ms")
}

// visit measures everything with n instances.
func (f *fleetRun) visit(ctx context.Context, n int, count bool) error {
	if err := f.crew.size(ctx, n); err != nil {
		return err
	}
	for _, verb := range []string{verbDelete, verbTag} {
		if err := f.lag(ctx, verb, n, count); err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		if err := f.fanOut(ctx, verb, n, count); err != nil {
			return fmt.Errorf("many %s: %w", verb, err)
		}
	}
	if err := f.mix(ctx, n, count); err != nil {
		return fmt.Errorf("requests: %w", err)
	}
	for range f.Expiries {
		if err := f.expiry(ctx, n, count); err != nil {
			return fmt.Errorf("expiry: %w", err)
		}
	}
	return nil
}

// hold stores values by the first instance, and gets them into the memory of
// all.
func (f *fleetRun) hold(ctx context.Context, n int, a setArgs) error {
	f.number++
	a.N = int64(f.number)
	if _, err := call[nothing](ctx, f.crew, 0, opSet, a); err != nil {
		return err
	}
	return each(ctx, f.crew, 0, n, opHold, valueArgs{a.IDs, a.N})
}

// lag times single invalidations. The first instance makes them, the others
// watch.
func (f *fleetRun) lag(ctx context.Context, verb string, n int, count bool) error {
	ids := []string{"lag"}
	for range f.Events {
		if err := f.hold(ctx, n, setArgs{IDs: ids}); err != nil {
			return err
		}
		if err := each(ctx, f.crew, 1, n, opWatch, valueArgs{ids, int64(f.number)}); err != nil {
			return err
		}
		s, err := call[span](ctx, f.crew, 0, opInvalidate, invalidateArgs{verb, ids})
		if err != nil {
			return err
		}
		gone, err := all[seen](ctx, f.crew, 1, n, opGone, func(int) any { return nil })
		if err != nil {
			return err
		}
		if !count {
			continue
		}
		f.reply[verb].add(n, float64(s.Ended-s.Began)/1e3)
		if n > 1 {
			last := slices.MaxFunc(gone, func(a, b seen) int { return int(a.At - b.At) })
			f.evicted[verb].add(n, float64(last.At-s.Began)/1e3)
		}
	}
	return nil
}

// fanOut measures what invalidations cost Redis, many in a row, until each
// instance has been told of each.
func (f *fleetRun) fanOut(ctx context.Context, verb string, n int, count bool) error {
	ids := make([]string, 5*f.Events)
	for i := range ids {
		ids[i] = fmt.Sprint("fan-out:", i)
	}
	if err := f.hold(ctx, n, setArgs{IDs: ids}); err != nil {
		return err
	}
	pushes := func() ([]uint64, error) {
		return all[uint64](ctx, f.crew, 1, n, opPushes, func(int) any { return nil })
	}
	before, err := pushes()
	if err != nil {
		return err
	}
	m, err := between(ctx, []*localredis.Server{f.server}, func() error {
		if _, err := call[span](ctx, f.crew, 0, opInvalidate, invalidateArgs{verb, ids}); err != nil {
			return err
		}
		return await(ctx, "all instances have been told", func() (bool, error) {
			now, err := pushes()
			if err != nil {
				return false, err
			}
			for i := range now {
				if now[i]-before[i] < uint64(len(ids)) {
					return false, nil
				}
			}
			return true, nil
		})
	})
	if err != nil || !count {
		return err
	}
	f.cpu[verb].add(n, m.cpu/float64(len(ids)))
	f.bytes[verb].add(n, m.bytes/float64(len(ids)))
	return nil
}

// mix lets all instances make requests, some of them first to warm up.
func (f *fleetRun) mix(ctx context.Context, n int, count bool) error {
	requests := func(share int, warm bool) ([]mixed, error) {
		return all[mixed](ctx, f.crew, 0, n, opMix, func(i int) any {
			f.number++
			return mixArgs{Seed: uint64(f.number), Requests: f.Requests / share, Keys: mixKeys, Writes: mixWrites, Warm: warm}
		})
	}
	if _, err := requests(2, true); err != nil {
		return err
	}
	var got []mixed
	m, err := between(ctx, []*localredis.Server{f.server}, func() (err error) {
		got, err = requests(1, false)
		return err
	})
	if err != nil {
		return err
	}
	var made, cpu, resident float64
	began, ended := got[0].Began, got[0].Ended
	for i, g := range got {
		if g.Reads+g.Writes != f.Requests || g.L1+g.L2 > uint64(g.Reads) || g.L1 == 0 {
			return fmt.Errorf("instance %d made %+v, want %d requests, some of them hits in memory", i, g, f.Requests)
		}
		made, cpu, resident = made+float64(f.Requests), cpu+g.CPU, resident+g.Resident
		began, ended = min(began, g.Began), max(ended, g.Ended)
	}
	if !count {
		return nil
	}
	f.commands.add(n, m.commands/made)
	f.traffic.add(n, m.bytes/made)
	f.redisCPU.add(n, m.cpu/made)
	f.fleetCPU.add(n, cpu/made)
	if n == slices.Max(f.Instances) {
		wall := float64(ended-began) / 1e3
		f.busyFleet = append(f.busyFleet, cpu/wall/float64(runtime.NumCPU()))
		f.busyRedis = append(f.busyRedis, m.cpu/wall)
		f.resided = append(f.resided, resident)
		f.rates = append(f.rates, made/wall*1e6)
	}
	return nil
}

// expiry lets the time of a value end that all hold.
func (f *fleetRun) expiry(ctx context.Context, n int, count bool) error {
	ttl, ended := expireAfter, int64(0)
	id := ""
	for try := 0; ; try++ { // on a busy machine the value may end before all hold it
		id = fmt.Sprint("expiry:", f.number)
		err := f.hold(ctx, n, setArgs{IDs: []string{id}, TTL: int64(ttl)})
		if err == nil {
			ended = workers.Now() + int64(ttl)
			break
		}
		if try == 3 || !strings.Contains(err.Error(), errGone.Error()) {
			return err
		}
		ttl *= 2
	}
	got, err := all[expired](ctx, f.crew, 0, n, opExpire, func(int) any {
		return expireArgs{ID: id, N: int64(f.number), At: ended + int64(20*time.Millisecond), Callers: expireEach, Load: int64(expireLoad)}
	})
	if err != nil {
		return err
	}
	loads, slowest := 0, int64(0)
	for _, g := range got {
		loads, slowest = loads+g.Loads, max(slowest, g.Slowest)
	}
	if loads == 0 {
		return errors.New("nobody has loaded the value again")
	}
	if count {
		f.loads.add(n, float64(loads))
		f.slowest.add(n, float64(slowest)/1e6)
	}
	return nil
}

// summarize says what was used up, and the figures of the RESULT line.
func (f *fleetRun) summarize() error {
	most := slices.Max(f.Instances)
	f.out.instances, f.out.rate = most, rounds.Median(f.rates)
	f.out.limits = []limit{
		{"the processor time of the processes", "the processes used %.0f %% of the cores", rounds.Median(f.busyFleet)},
		{"the processor time of Redis", "Redis used %.0f %% of the one core that it can", rounds.Median(f.busyRedis)},
	}
	if total, ok := machineMemory(); ok {
		f.out.limits = append(f.out.limits, limit{"the memory of the processes", "the processes had %.1f %% of the memory of the machine", rounds.Median(f.resided) / total})
	}
	fewest := slices.Min(f.Instances)
	f.out.add("delete_us", "%.0f", f.reply[verbDelete].median(most))
	f.out.add("delete_all_evicted_us", "%.0f", f.evicted[verbDelete].median(most))
	f.out.add("tag_all_evicted_us", "%.0f", f.evicted[verbTag].median(most))
	f.out.add("delete_redis_us_each", "%.2f", f.cpu[verbDelete].slope())
	f.out.add("commands_per_request", "%.2f-%.2f", f.commands.median(fewest), f.commands.median(most))
	f.out.add("loads_per_expiry_max", "%.0f", slices.Max(f.loads.at[most]))
	return nil
}

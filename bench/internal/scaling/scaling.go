package scaling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// Config says how much is measured.
type Config struct {
	// Rounds is how often each size is measured, after a round that warms up: a round
	// of Full takes two minutes.
	Rounds int
	// The sizes, ascending. Tags may begin with 0.
	Instances, Keys, Bytes, Shards, Tags []int
	// Events is how many invalidations of each verb are timed for a number of
	// instances in a round, and how many more are made for what they cost Redis.
	Events int
	// Requests is how many requests each instance makes in a round.
	Requests int
	// Expiries is how many values expire for a number of instances in a round.
	Expiries int
	// Calls is how many calls to Redis are timed for any other size in a round,
	// fewer of those that are large.
	Calls int
	// Log, if not nil, is told how far it is.
	Log func(format string, args ...any)
}

// Full is what the report is made of, and takes some 5 minutes.
var Full = Config{
	Rounds: 3, Instances: []int{1, 2, 4, 8, 16}, Keys: []int{1e3, 1e4, 1e5, 1e6},
	Bytes: []int{100, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10}, Shards: []int{1, 3, 6}, Tags: []int{0, 1, 2, 4, 8, 16},
	Events: 20, Requests: 4000, Expiries: 2, Calls: 2000,
}

// Quick is for tests, and to see whether it works.
var Quick = Config{
	Rounds: 2, Instances: []int{1, 2, 4}, Keys: []int{1e3, 1e4},
	Bytes: []int{100, 4 << 10, 64 << 10}, Shards: []int{1, 3}, Tags: []int{0, 2, 8},
	Events: 3, Requests: 500, Expiries: 1, Calls: 200,
}

// part is what is measured against one size.
type part struct {
	name    string
	measure func(ctx context.Context, c Config, out *findings) error
}

// Run measures everything. The program that calls it must call [Main] first: it
// is run again as the instances.
func Run(ctx context.Context, c Config) (*record.Run, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	run := record.New("scaling", "How cost grows", "go run -C bench ./cmd/scaling")
	for _, p := range []string{"github.com/redis/rueidis", "github.com/maypok86/otter/v2"} {
		run.Versions[p] = rounds.Version(p[len("github.com/"):])
	}
	var err error
	if run.Server, err = version(ctx); err != nil {
		return nil, err
	}
	out := &findings{}
	for _, p := range []part{
		{"instances", instances}, {"keys", keys}, {"value size", valueSize}, {"shards", shards}, {"tags", tags},
	} {
		began := time.Now()
		if err := p.measure(ctx, c, out); err != nil {
			return nil, fmt.Errorf("scaling: %s: %w", p.name, err)
		}
		c.log("%s: %v", p.name, time.Since(began).Round(100*time.Millisecond))
	}
	return run, out.write(run)
}

func (c Config) log(format string, args ...any) {
	if c.Log != nil {
		c.Log(format, args...)
	}
}

// check returns what a Config lacks: a law needs two sizes.
func (c Config) check() error {
	for name, s := range map[string]struct {
		sizes []int
		above int // what has to be measured at two sizes is there only above that
	}{
		"Instances": {c.Instances, 1}, "Keys": {c.Keys, 0}, "Bytes": {c.Bytes, 0}, "Shards": {c.Shards, 0}, "Tags": {c.Tags, 0},
	} {
		large := slices.DeleteFunc(slices.Clone(s.sizes), func(n int) bool { return n <= s.above })
		if len(large) < 2 || !slices.IsSorted(s.sizes) {
			return fmt.Errorf("scaling: %s are %v, want two above %d at least, ascending", name, s.sizes, s.above)
		}
	}
	for name, n := range map[string]int{
		"Rounds": c.Rounds, "Events": c.Events, "Requests": c.Requests, "Expiries": c.Expiries, "Calls": c.Calls,
	} {
		if n <= 0 {
			return fmt.Errorf("scaling: %s is %d, want at least 1", name, n)
		}
	}
	return nil
}

// inTurn measures all sizes in each round, and in the opposite order in the
// next. The first round does not count.
func inTurn(ctx context.Context, rounds int, sizes []int, visit func(size int, count bool) error) error {
	order := slices.Clone(sizes)
	for n := range rounds + 1 {
		for _, size := range order {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := visit(size, n > 0); err != nil {
				return fmt.Errorf("%d: %w", size, err)
			}
		}
		slices.Reverse(order)
	}
	return nil
}

// version returns what server is measured.
func version(ctx context.Context) (string, error) {
	s, err := start(ctx)
	if err != nil {
		return "", err
	}
	defer s.Stop()
	v, err := text(ctx, s, "server", "redis_version")
	return "Redis " + v, err
}

// start runs a server that keeps nothing on disk, and remembers who has read a
// key for as many keys as there are.
func start(ctx context.Context) (*localredis.Server, error) {
	return localredis.Start(ctx, localredis.Config{Args: serverArgs()})
}

func serverArgs() []string {
	return []string{"--appendonly", "no", "--save", "", "--tracking-table-max-keys", "0"}
}

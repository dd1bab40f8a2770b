package locks

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// Config says how much is measured.
type Config struct {
	// Rounds is how often each contender has its turn, at least 1.
	Rounds int
	// Lasts is how long processes fight for a lock in one turn.
	Lasts time.Duration
	// Log gets the tables.
	Log io.Writer
}

// Run measures all contenders on one cluster of three primaries.
func Run(ctx context.Context, cfg Config) (*record.Run, error) {
	cluster, err := subject.StartCluster(ctx, localredis.Redis, 0)
	if err != nil {
		return nil, err
	}
	defer cluster.Stop()
	// A node of Redlock abstains until it has run for a TTL.
	time.Sleep(ttl)
	r := record.New("lock", "Locks", "make bench-lock")
	for _, m := range []string{"redis/rueidis", "go-redsync/redsync/v4", "redis/go-redis/v9", "bsm/redislock"} {
		r.Versions[m] = rounds.Version(m)
	}
	if r.Server, err = server(ctx, cluster.Nodes()[0]); err != nil {
		return nil, err
	}
	a, err := alone(ctx, cluster.Addrs(), max(8, cfg.Rounds), 200)
	if err != nil {
		return nil, err
	}
	h, err := fights(ctx, cluster, cfg)
	if err != nil {
		return nil, err
	}
	r.Tables = append(r.Tables, aloneTable(a), fightTable(h))
	r.Text = []string{
		"A lease is one script in the slot of its name; Redlock asks three shards side by side. The others are what services use: redsync with one pool, as with a cluster it has to be, and bsm/redislock.",
		"rueidislock was to be here. No version of it could be had from the module proxy when this was measured.",
	}
	byName := map[string]Handover{}
	for _, h := range h {
		byName[h.Contender] = h
	}
	lease := byName[Lease]
	r.Add("lease_us", "%.1f", us(row(a, Lease).Took))
	r.Add("redlock3_us", "%.1f", us(row(a, Redlock).Took))
	r.Add("handover_p50_us", "%.1f", us(lease.P50))
	r.Add("redsync_handover_p50_us", "%.1f", us(byName[Redsync].P50))
	r.Add("rueidislock_handover_p50_us", "%s", "unavailable")
	r.Add("commands_per_handover", "%.1f", lease.Commands)
	r.Add("lease_ratio", "%.2f", row(a, Lease).Ratio)
	r.Add("redlock3_ratio", "%.2f", row(a, Redlock).Ratio)
	r.Add("lease_ratio_to_its_calls", "%.2f", float64(row(a, Lease).Took)/float64(a[1].Took))
	r.Add("redlock3_ratio_to_three_scripts", "%.2f", float64(row(a, Redlock).Took)/float64(a[2].Took))
	r.Add("handover_rtts", "%.2f", float64(lease.P50)/float64(lease.RTT))
	r.Add("redislock_handover_p50_us", "%.1f", us(byName[Bsm].P50))
	r.Print(cfg.Log)
	return r, nil
}

// fights lets contenders take turns, and returns the medians of their turns.
func fights(ctx context.Context, cluster *localredis.Cluster, cfg Config) ([]Handover, error) {
	turns := map[string][]Handover{}
	for r := range max(1, cfg.Rounds) {
		for i := range Names() {
			name := Names()[i]
			if r%2 == 1 {
				name = Names()[len(Names())-1-i]
			}
			h, err := handOver(ctx, cluster, name, load{processes: 4, waiters: 16, hold: time.Millisecond, pause: 10 * time.Millisecond, lasts: cfg.Lasts})
			if err != nil {
				return nil, err
			}
			turns[name] = append(turns[name], h)
		}
	}
	var out []Handover
	for _, name := range Names() {
		out = append(out, middle(turns[name]))
	}
	return out, nil
}

// middle returns the medians of several turns.
func middle(turns []Handover) Handover {
	of := func(f func(Handover) time.Duration) time.Duration {
		v := make([]time.Duration, len(turns))
		for i, t := range turns {
			v[i] = f(t)
		}
		return median(v)
	}
	h := Handover{Contender: turns[0].Contender}
	h.P50 = of(func(h Handover) time.Duration { return h.P50 })
	h.P99 = of(func(h Handover) time.Duration { return h.P99 })
	h.RTT = of(func(h Handover) time.Duration { return h.RTT })
	h.Longest = of(func(h Handover) time.Duration { return h.Longest })
	for _, t := range turns {
		h.Max = max(h.Max, t.Max)
		h.Locks += t.Locks
		h.Commands += t.Commands * float64(t.Locks)
	}
	h.Commands /= float64(h.Locks)
	return h
}

// server says what the cluster is made of.
func server(ctx context.Context, s *localredis.Server) (string, error) {
	v, err := s.Do(ctx, "INFO", "server")
	if err != nil {
		return "", err
	}
	text, _ := v.(string)
	_, text, _ = strings.Cut(text, "redis_version:")
	text, _, _ = strings.Cut(text, "\r")
	return "Redis " + text + ", a cluster of 3 primaries", nil
}

func row(a []Alone, name string) Alone {
	for _, x := range a {
		if x.Name == name {
			return x
		}
	}
	panic("locks: no row " + name)
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func aloneTable(a []Alone) record.Table {
	t := record.Table{
		ID: "alone", Title: "A lock nobody else wants",
		Text:    "Time to take it; giving it back is not measured. The ratio is to a script that sets a key if it is not there: one round trip, in the same rounds. The target is 1.1 for a lease, 1.5 for Redlock over 3 shards.",
		Columns: []string{"", "µs", "ratio", "quartiles"},
	}
	for _, x := range a {
		t.Rows = append(t.Rows, record.Row{
			Name:   x.Name,
			Cells:  []string{fmt.Sprintf("%.1f", us(x.Took)), fmt.Sprintf("%.2f", x.Ratio), fmt.Sprintf("%.2f–%.2f", x.Low, x.High)},
			Values: map[string]float64{"µs": us(x.Took), "ratio": x.Ratio},
		})
	}
	return t
}

func fightTable(hs []Handover) record.Table {
	t := record.Table{
		ID: "handover", Title: "64 waiters in 4 processes",
		Text:    "Each holds the lock for a millisecond, and waits again ten later. From before Release is called until Acquire returns in the next holder. Commands are those of all clients for one holder: to wait, take and give back. “Passed over” is the longest time in which one of the processes had no turn.",
		Columns: []string{"", "p50 µs", "p99 µs", "max ms", "round trips", "commands", "passed over ms", "locks"},
	}
	for _, h := range hs {
		t.Rows = append(t.Rows, record.Row{
			Name: h.Contender,
			Cells: []string{
				fmt.Sprintf("%.0f", us(h.P50)), fmt.Sprintf("%.0f", us(h.P99)), fmt.Sprintf("%.1f", us(h.Max)/1000),
				fmt.Sprintf("%.2f", float64(h.P50)/float64(h.RTT)), fmt.Sprintf("%.1f", h.Commands),
				fmt.Sprintf("%.0f", us(h.Longest)/1000), fmt.Sprint(h.Locks),
			},
			Values: map[string]float64{"p50 µs": us(h.P50), "commands": h.Commands},
		})
	}
	return t
}

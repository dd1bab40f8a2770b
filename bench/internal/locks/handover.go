package locks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/redis/rueidis"
)

// A Handover is what it cost to pass a lock on.
type Handover struct {
	Contender string
	// Locks is how often the lock was taken.
	Locks int
	// P50, P99 and Max are from before Release was called by one holder until
	// Acquire returned in the next. Kept is the share of locks that the holder
	// before took again himself, which is no hand-over and does not count.
	Kept          float64
	P50, P99, Max time.Duration
	// RTT is the median of a script's round trip meanwhile.
	RTT time.Duration
	// Commands is how many commands all clients sent for one holder: to wait,
	// to take the lock, and to give it back.
	Commands float64
	// Longest is the longest time in which one process had no turn.
	Longest time.Duration
}

// load is how a lock is fought for.
type load struct {
	processes, waiters int
	hold, pause, lasts time.Duration
}

// handOver lets processes fight for one lock. It is an error if two held it at a
// time.
func handOver(ctx context.Context, cluster *localredis.Cluster, contender string, l load) (h Handover, err error) {
	h.Contender = contender
	o := orders{
		Contender: contender, Addrs: cluster.Addrs(), Waiters: l.waiters, Hold: l.hold, Pause: l.pause,
		Name: "bench:" + strconv.FormatInt(now(), 36),
	}
	o.Begin = now() + int64(time.Second) // time to start
	o.End = o.Begin + int64(l.lasts)
	c, err := Open(ctx, contender, o.Addrs) // for what it sends
	if err != nil {
		return h, err
	}
	defer c.Close()
	before, err := sent(ctx, cluster, c.sends)
	if err != nil {
		return h, err
	}
	all := make([][]stay, l.processes)
	errs := make([]error, l.processes)
	var wg sync.WaitGroup // ends with the children
	for i := range all {
		wg.Go(func() { all[i], errs[i] = runChild(ctx, o) })
	}
	h.RTT, err = roundTrips(ctx, o)
	wg.Wait()
	for _, e := range append(errs, err) {
		if e != nil {
			return h, fmt.Errorf("locks: %s: %w", contender, e)
		}
	}
	after, err := sent(ctx, cluster, c.sends)
	if err != nil {
		return h, err
	}
	if err := h.judge(all); err != nil {
		return h, err
	}
	h.Commands = float64(after-before) / float64(h.Locks)
	return h, nil
}

func runChild(ctx context.Context, o orders) (stays []stay, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), Env+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return stays, json.Unmarshal(out, &stays)
}

// judge computes the hand-overs of a run.
func (h *Handover) judge(all [][]stay) error {
	type owned struct {
		stay
		process int
	}
	var stays []owned
	for i, s := range all {
		for _, s := range s {
			stays = append(stays, owned{s, i})
		}
	}
	slices.SortFunc(stays, func(a, b owned) int { return cmp.Compare(a.Enter, b.Enter) })
	h.Locks = len(stays)
	if h.Locks < 10 {
		return fmt.Errorf("locks: %s: %d hand-overs only", h.Contender, h.Locks)
	}
	took := make([]int64, 0, len(stays))
	last := map[int]int64{}
	for i, s := range stays {
		if t, ok := last[s.process]; ok {
			h.Longest = max(h.Longest, time.Duration(s.Enter-t))
		}
		last[s.process] = s.Enter
		if i == 0 {
			continue
		}
		d := s.Enter - stays[i-1].Leave
		if d < 0 {
			return fmt.Errorf("locks: %s: two holders for %v", h.Contender, time.Duration(-d))
		}
		if b := stays[i-1]; b.process == s.process && b.Waiter == s.Waiter {
			h.Kept++
			continue
		}
		took = append(took, d)
	}
	if len(took) == 0 {
		return fmt.Errorf("locks: %s: one waiter took the lock every time", h.Contender)
	}
	h.Kept /= float64(len(stays))
	slices.Sort(took)
	at := func(q float64) time.Duration { return time.Duration(took[int(q*float64(len(took)-1))]) }
	h.P50, h.P99, h.Max = at(0.5), at(0.99), at(1)
	return nil
}

// roundTrips measures a script now and then while a run lasts.
func roundTrips(ctx context.Context, o orders) (time.Duration, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: o.Addrs, DisableCache: true, PipelineMultiplex: -1, AlwaysPipelining: true})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var took []time.Duration
	for now() < o.End {
		began := time.Now()
		if err := pingScript.Exec(ctx, c, []string{o.Name}, nil).Error(); err != nil {
			return 0, err
		}
		if now() > o.Begin {
			took = append(took, time.Since(began))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return median(took), nil
}

var pingScript = rueidis.NewLuaScript(`return redis.call('TTL', KEYS[1])`)

func median(v []time.Duration) time.Duration {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// sent counts the calls of some commands on all nodes of a cluster.
func sent(ctx context.Context, cluster *localredis.Cluster, commands []string) (n int64, err error) {
	for _, s := range cluster.Nodes() {
		v, err := s.Do(ctx, "INFO", "commandstats")
		if err != nil {
			return 0, err
		}
		text, _ := v.(string)
		for _, c := range commands {
			_, rest, ok := strings.Cut(text, "cmdstat_"+c+":calls=")
			if !ok {
				continue
			}
			digits, _, _ := strings.Cut(rest, ",")
			calls, err := strconv.ParseInt(digits, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("locks: INFO commandstats: %w", err)
			}
			n += calls
		}
	}
	return n, nil
}
